"""The recommendation: the winner's levels, and how sure the test fold is of each.

The winner is one setting that was run as a whole. The study chose it on validation: the best confirmed setting, or the
cheapest levels that do as well, combined and confirmed like the others. The test fold selects nothing. A level stays
even if another one beats it on test, because the accuracy of a setting that was chosen by its test images is too high.

Levels that are equivalent to the winner's level on test, within the study's margin, and that no level beats count as
equally good. A level that is merely not shown to be worse is open.
"""

import json
from collections.abc import Iterable
from typing import Any

import pandas as pd

from analysis.confirmed import tables
from analysis.confirmed.answers import BETTER_A, BETTER_B, EQUIVALENT, REFUSED, Answer, pairs_of, rivals
from analysis.confirmed.settings import Setting, winner
from analysis.confirmed.tables import SIZES
from study.results import CHEAPER, Results

BETTER = "better"  # beats at least one other level and is as good as the rest
EQUALLY_GOOD = "equally good"  # all levels are
BEATEN = "beaten on test"
UNDECIDED = "not decided; chosen on validation"  # some pair is open or refused
ABSENT = "absent"  # the factor does not exist in the winner
NOTHING_YET = "nothing yet"  # no winner

COLUMNS = ("factor", "recommended", "decision", "best", "against", "gain", "low", "high", "seeds", "items")
COLUMNS += ("seeds_needed", "open", "as_good", "trial_seconds", "cheaper", "cheaper_seconds", "faster")
# and the sizes of the recommended level
COLUMNS += ("faster_seconds", "faster_val_accuracy", "val_accuracy", "test_accuracy")


def recommendations(results: Results, confirmed: list[Setting], answered: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each factor.

    `recommended`: the winner's level, missing if the factor does not exist in the winner. `best`: the level that beats
    it by most on test, else the winner's; without one a level that beats others, if there is any. `as_good`: a JSON
    list of the recommended and the equally good levels. `gain`, `low`, `high`: the gain of the recommended level
    (missing: of `best`) over its closest rival, `against`. `open`: the number of levels that may still be as good or
    better. `seeds_needed` decides all of them; it is missing if no number of seeds does or if a pair was refused.
    `cheaper`, `faster`: the fastest of the equally good and of the open levels, if it clearly takes less time. A
    level's accuracies and `trial_seconds`, the median over completed refinement and confirmation trials, are those in
    its comparison.
    """
    best = winner(confirmed)
    rows = []
    for factor in results.factors:
        pairs = pairs_of(answered, factor)
        rows.append({"factor": factor} | _recommend(tables.comparison(results, confirmed, factor), pairs, best, factor))
    counts = {"seeds": "Int64", "items": "Int64", "seeds_needed": "Int64", "open": "Int64"}
    recorded = [column for column in SIZES if column in results.trials]
    return pd.DataFrame(rows, columns=[*COLUMNS, *recorded]).astype(counts)


def _recommend(compared: pd.DataFrame, pairs: list[Answer], setting: Setting | None, factor: str) -> dict[str, Any]:
    if setting is None:
        return {"decision": NOTHING_YET}
    level, levels = setting.levels[factor], compared["level"].tolist()
    if level not in levels:
        best = _best_of_others(levels, pairs)
        return {"decision": ABSENT, "best": best} | ({} if best is None else _gain(pairs, best))
    over, beaten = _beaten_by(pairs, level), _beaten(pairs)
    unbeaten = [pair for pair in rivals(pairs, level) if pair["level_b"] not in beaten]
    equal = [pair["level_b"] for pair in unbeaten if pair["verdict"] == EQUIVALENT]
    open_pairs = [pair for pair in unbeaten if pair["verdict"] not in (BETTER_A, BETTER_B, EQUIVALENT)]
    needed = [pair["seeds_needed"] for pair in open_pairs]
    costs = compared.drop_duplicates("level").set_index("level")
    cheaper, faster = (_fastest(costs, level, others) for others in (equal, [pair["level_b"] for pair in open_pairs]))
    return {
        "recommended": level,
        "decision": _decision(pairs, level, open_pairs),
        "best": max(over, key=over.__getitem__, default=level),
        "open": len(open_pairs),
        "seeds_needed": None if not needed or pd.isna(needed).any() else int(max(needed)),
        "as_good": json.dumps([level, *equal], ensure_ascii=False),
        "trial_seconds": costs["trial_seconds"].get(level),
        "cheaper": cheaper,
        "cheaper_seconds": costs["trial_seconds"].get(cheaper),
        "faster": faster,
        "faster_seconds": costs["trial_seconds"].get(faster),
        "faster_val_accuracy": costs["val_accuracy"].get(faster),
        "val_accuracy": costs["val_accuracy"].get(level),
        "test_accuracy": costs["test_accuracy"].get(level),
        **{column: costs[column].get(level) for column in SIZES if column in costs},
        **_gain(pairs, level),
    }


def _decision(pairs: list[Answer], level: str, open_pairs: list[Answer]) -> str:
    if _beaten_by(pairs, level):
        return BEATEN
    if open_pairs or not pairs:
        return UNDECIDED
    return BETTER if _lead(pairs, level) > 0 else EQUALLY_GOOD


def _beaten_by(pairs: list[Answer], level: str) -> dict[str, float]:
    """Return the levels that beat `level` on test, and by how much."""
    return {pair["level_b"]: -pair["difference"] for pair in rivals(pairs, level) if pair["verdict"] == BETTER_B}


def _best_of_others(levels: list[str], pairs: list[Answer]) -> str | None:
    """Return the unbeaten level that beats another by most; None if none does."""
    beaten = _beaten(pairs)
    leads = {level: lead for level in levels if level not in beaten and (lead := _lead(pairs, level)) > 0}
    return max(leads, key=leads.__getitem__, default=None)


def _lead(pairs: list[Answer], level: str) -> float:
    """Return by how much a level beats any other at most; 0 if it beats none."""
    wins = (pair["difference"] for pair in rivals(pairs, level) if pair["verdict"] == BETTER_A)
    return max(wins, default=0.0)


def _beaten(pairs: list[Answer]) -> set[str]:
    loser = {BETTER_A: "level_b", BETTER_B: "level_a"}
    return {pair[loser[pair["verdict"]]] for pair in pairs if pair["verdict"] in loser}


def _fastest(costs: pd.DataFrame, level: str, others: Iterable[str]) -> str | None:
    """Return the fastest of other levels that take less time than `level` by more than a tenth.

    Equal work takes twice as long while the machine is busy. So three quarters of its trials must be faster than three
    quarters of the trials of `level`.
    """
    slow, fast = costs["slow_seconds"], costs["fast_seconds"]
    return min(
        (other for other in others if slow[other] < CHEAPER * fast[level]),
        key=lambda other: costs["trial_seconds"][other],
        default=None,
    )


def _gain(pairs: list[Answer], level: str) -> dict[str, Any]:
    """Return the gain over the closest rival; empty if no pair was compared."""
    compared = [pair for pair in rivals(pairs, level) if not pair["verdict"].startswith(REFUSED)]
    if not compared:
        return {}
    closest = min(compared, key=lambda pair: pair["difference"])
    evidence = {key: closest[key] for key in ("low", "high", "seeds", "items")}
    return {"against": closest["level_b"], "gain": closest["difference"]} | evidence
