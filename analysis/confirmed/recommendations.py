"""What to choose: for each factor the cheapest of the levels that are as good as the best.

The rule, and the numbers it goes by:

1. `best` is the winner's level: that of the setting with the best mean over seeds on validation. Where the answers,
   which are from the test fold, say that other levels beat it, it is the one that beats it by most.
2. As good are `best` and the levels whose verdict against it is "equivalent" (on test, within the study's margin),
   unless any level beats them. A level that is merely not shown to be worse is not as good: it is open.
3. Of those as good the cheapest is recommended: the one with the least time a trial, the median over the completed
   refining and confirming trials of its setting. Times within a tenth of the least count as equal; of these it is the
   one that trains fewest parameters, and of equals `best`.
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

BETTER = "better"  # than at least one other level, and as good as the rest
EQUALLY_GOOD = "equally good"  # as every other level
UNDECIDED = "not decided; best on validation"  # the winner's level, for want of evidence
ABSENT = "absent"  # the winner's setting has no level of this factor, and nothing was found where there is one
NOTHING_YET = "nothing yet"  # no winner to start from

# Seconds that differ by less than a tenth do not tell two levels apart: trials share the machine.
CHEAPER = 0.9
COLUMNS = ("factor", "recommended", "decision", "winner", "best", "against", "gain", "low", "high", "seeds", "items")
COLUMNS += ("seeds_needed", "open", "as_good", "trial_seconds", "best_seconds", "cheaper_by", "faster")
# and the recommended level's sizes
COLUMNS += ("faster_seconds", "faster_val_accuracy", "val_accuracy", "test_accuracy")
TIME, TRAINED = "time", "trained parameters"  # what a recommended level that is not `best` saves


def recommendations(results: Results, found: list[Setting], answered: pd.DataFrame) -> pd.DataFrame:
    """One row for each factor.

    `winner`: the winner's level. `best`, `as_good` (a JSON list, `best` first), `recommended`: see the module.
    `cheaper_by`: what the recommended level saves against `best`, TIME or TRAINED, missing where it is `best`.
    `gain`, `low`, `high`: of the recommended level over its closest rival, `against`. `open`: how many levels may
    still be as good or better; `seeds_needed` would settle all of them, missing where no number of seeds would or
    where a pair was refused. `faster`: of the open levels the fastest, where it is faster than the recommended one by
    more than a tenth. `val_accuracy`, `test_accuracy`: of the recommended level as it was compared.
    """
    best = winner(found)
    rows = []
    for factor in results.factors:
        pairs = pairs_of(answered, factor)
        rows.append({"factor": factor} | _recommend(tables.comparison(results, found, factor), pairs, best, factor))
    counts = {"seeds": "Int64", "items": "Int64", "seeds_needed": "Int64", "open": "Int64"}
    recorded = [column for column in SIZES if column in results.trials]
    return pd.DataFrame(rows, columns=[*COLUMNS, *recorded]).astype(counts)


def _recommend(compared: pd.DataFrame, pairs: list[Answer], chosen: Setting | None, factor: str) -> dict[str, Any]:
    if chosen is None:
        return {"decision": NOTHING_YET}
    kept = chosen.levels[factor]
    best = _best(compared["level"].tolist(), pairs, kept)
    if best is None:
        return {"decision": ABSENT, "winner": kept}
    equal = [pair["level_b"] for pair in rivals(pairs, best) if pair["verdict"] == EQUIVALENT]
    settled, beaten = (BETTER_A, BETTER_B, EQUIVALENT), _beaten(pairs)
    open_pairs = [
        pair for pair in rivals(pairs, best) if pair["level_b"] not in beaten and pair["verdict"] not in settled
    ]
    needed = [pair["seeds_needed"] for pair in open_pairs]
    costs = compared.drop_duplicates("level").set_index("level")
    as_good = [best, *(one for one in equal if one not in beaten)]
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
    """The winner's level unless another beats it; where the winner has none, a level that beats others."""
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
    """By how much a level beats another, or the one it beats by most; 0 where it beats none."""
    wins = [
        pair["difference"]
        for pair in rivals(pairs, level)
        if pair["verdict"] == BETTER_A and over in (None, pair["level_b"])
    ]
    return max(wins, default=0.0)


def _beaten(pairs: list[Answer]) -> set[str]:
    loser = {BETTER_A: "level_b", BETTER_B: "level_a"}
    return {pair[loser[pair["verdict"]]] for pair in pairs if pair["verdict"] in loser}


def _cheapest(costs: pd.DataFrame, as_good: list[str]) -> tuple[str, str | None]:
    """The cheapest of the levels that are as good, of which the first is the best; and what it saves against that."""
    seconds = _seconds(costs, as_good)
    about_as_fast = [level for level in as_good if seconds[level] * CHEAPER <= seconds.min()]
    if "trained_parameters" in costs:
        trained = costs["trained_parameters"].reindex(about_as_fast).fillna(math.inf)
    else:
        trained = dict.fromkeys(about_as_fast, 0.0)
    level = min(about_as_fast, key=lambda level: trained[level])  # of equals the first
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
    """Over the rival that comes closest; nothing where no pair was compared."""
    compared = [pair for pair in rivals(pairs, level) if not pair["verdict"].startswith(REFUSED)]
    if not compared:
        return {}
    closest = min(compared, key=lambda pair: pair["difference"])
    same = {key: closest[key] for key in ("low", "high", "seeds", "items")}
    return {"against": closest["level_b"], "gain": closest["difference"]} | same
