"""The recommendation: for each factor the cheapest of the levels that are as good as the best.

The rule:

1. `best` is the winner's level. The winner is the setting with the best mean over seeds on validation. If other levels
   beat the winner's level on test, `best` is the level that beats it by most.
2. `best` and the levels whose verdict against it is "equivalent" (on test, within the study's margin) count as equally
   good, unless another level beats them. A level that is merely not shown to be worse is open, not equally good.
3. The cheapest of the equally good levels is recommended: the level with the least time per trial, the median over the
   completed refinement and confirmation trials of its setting. Times within a tenth of the least count as equal; then
   the level that trains the fewest parameters is recommended, and `best` if that is equal too.
"""

import json
import math
from typing import Any

import pandas as pd

from analysis.confirmed import tables
from analysis.confirmed.answers import BETTER_A, BETTER_B, EQUIVALENT, REFUSED, Answer, pairs_of, rivals
from analysis.confirmed.settings import Setting, winner
from analysis.confirmed.tables import SIZES
from study.results import Results

BETTER = "better"  # beats at least one other level and is as good as the rest
EQUALLY_GOOD = "equally good"  # all levels are
UNDECIDED = "not decided; best on validation"  # some pair is open or refused
ABSENT = "absent"  # the factor does not exist in the winner, and no level beats another where it does
NOTHING_YET = "nothing yet"  # no winner to start from

# Times that differ by less than a tenth count as equal: trials share the machine.
CHEAPER = 0.9
COLUMNS = ("factor", "recommended", "decision", "winner", "best", "against", "gain", "low", "high", "seeds", "items")
COLUMNS += ("seeds_needed", "open", "as_good", "trial_seconds", "best_seconds", "cheaper_by", "faster")
# and the sizes of the recommended level
COLUMNS += ("faster_seconds", "faster_val_accuracy", "val_accuracy", "test_accuracy")
TIME, TRAINED = "time", "trained parameters"  # the saving of a recommended level that is not `best`


def recommendations(results: Results, confirmed: list[Setting], answered: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each factor.

    `winner`: the winner's level. `best`, `as_good` (a JSON list, `best` first), `recommended`: see the module.
    `cheaper_by`: the saving of the recommended level over `best`, TIME or TRAINED, missing if it is `best`.
    `gain`, `low`, `high`: the gain of the recommended level over its closest rival, `against`. `open`: the number of
    levels that may still be as good or better. `seeds_needed` decides all of them; it is missing if no number of seeds
    does or if a pair was refused. `faster`: the fastest open level, if it is faster than the recommended level by more
    than a tenth. `val_accuracy`, `test_accuracy`: the accuracies of the recommended level in its comparison.
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
    kept = setting.levels[factor]
    best = _best(compared["level"].tolist(), pairs, kept)
    if best is None:
        return {"decision": ABSENT, "winner": kept}
    equal = [pair["level_b"] for pair in rivals(pairs, best) if pair["verdict"] == EQUIVALENT]
    settled, beaten = (BETTER_A, BETTER_B, EQUIVALENT), _beaten(pairs)
    unbeaten = [pair for pair in rivals(pairs, best) if pair["level_b"] not in beaten]
    open_pairs = [pair for pair in unbeaten if pair["verdict"] not in settled]
    needed = [pair["seeds_needed"] for pair in open_pairs]
    costs = compared.drop_duplicates("level").set_index("level")
    as_good = [best, *(level for level in equal if level not in beaten)]
    level, saves = _cheapest(costs, as_good)
    decided = BETTER if _lead(pairs, best, None) > 0 else EQUALLY_GOOD
    return {
        "recommended": level,
        "decision": UNDECIDED if open_pairs or not pairs else decided,
        "winner": kept,
        "best": best,
        "open": len(open_pairs),
        "seeds_needed": None if not needed or pd.isna(needed).any() else int(max(needed)),
        "as_good": json.dumps(as_good, ensure_ascii=False),
        "trial_seconds": costs["trial_seconds"].get(level),
        "best_seconds": costs["trial_seconds"].get(best),
        "cheaper_by": saves,
        **_faster(costs, level, [pair["level_b"] for pair in open_pairs]),
        "val_accuracy": costs["val_accuracy"].get(level),
        "test_accuracy": costs["test_accuracy"].get(level),
        **{column: costs[column].get(level) for column in SIZES if column in costs},
        **_gain(pairs, level),
    }


def _best(levels: list[str], pairs: list[Answer], kept: str) -> str | None:
    """Return the winner's level unless another beats it; if the winner has none, a level that beats others."""
    beaten = _beaten(pairs)
    if kept in levels and kept not in beaten:
        return kept
    unbeaten = [level for level in levels if level not in beaten]
    over = {level: _lead(pairs, level, kept if kept in levels else None) for level in unbeaten}
    ahead = {level: lead for level, lead in over.items() if lead > 0}
    if ahead:
        return max(ahead, key=ahead.__getitem__)
    return kept if kept in levels else None


def _lead(pairs: list[Answer], level: str, over: str | None) -> float:
    """Return by how much a level beats `over`, or beats any level at most; 0 if it beats none."""
    wins = [pair for pair in rivals(pairs, level) if pair["verdict"] == BETTER_A and over in (None, pair["level_b"])]
    return max((pair["difference"] for pair in wins), default=0.0)


def _beaten(pairs: list[Answer]) -> set[str]:
    loser = {BETTER_A: "level_b", BETTER_B: "level_a"}
    return {pair[loser[pair["verdict"]]] for pair in pairs if pair["verdict"] in loser}


def _cheapest(costs: pd.DataFrame, as_good: list[str]) -> tuple[str, str | None]:
    """Return the cheapest of the equally good levels and its saving over the first of them, `best`."""
    seconds = _seconds(costs, as_good)
    about_as_fast = [level for level in as_good if seconds[level] * CHEAPER <= seconds.min()]
    if "trained_parameters" in costs:
        trained = costs["trained_parameters"].reindex(about_as_fast).fillna(math.inf)
    else:
        trained = dict.fromkeys(about_as_fast, 0.0)
    level = min(about_as_fast, key=lambda level: trained[level])  # the first if several are equal
    if level == as_good[0]:
        return level, None
    return level, TRAINED if as_good[0] in about_as_fast else TIME


def _faster(costs: pd.DataFrame, recommended: str, still_open: list[str]) -> dict[str, Any]:
    seconds = _seconds(costs, [recommended, *still_open])
    faster = [level for level in still_open if seconds[level] < CHEAPER * seconds[recommended]]
    return {
        "faster": (level := min(faster, key=lambda level: seconds[level], default=None)),
        "faster_seconds": costs["trial_seconds"].get(level),
        "faster_val_accuracy": costs["val_accuracy"].get(level),
    }


def _seconds(costs: pd.DataFrame, levels: list[str]) -> pd.Series:
    return costs["trial_seconds"].reindex(levels).fillna(math.inf)


def _gain(pairs: list[Answer], level: str) -> dict[str, Any]:
    """Return the gain over the closest rival; empty if no pair was compared."""
    compared = [pair for pair in rivals(pairs, level) if not pair["verdict"].startswith(REFUSED)]
    if not compared:
        return {}
    closest = min(compared, key=lambda pair: pair["difference"])
    evidence = {key: closest[key] for key in ("low", "high", "seeds", "items")}
    return {"against": closest["level_b"], "gain": closest["difference"]} | evidence
