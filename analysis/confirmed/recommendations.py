"""What to choose: for each factor the cheapest level that does as well as the best, as far as the answers go."""

import math
from collections.abc import Iterator
from typing import Any

import pandas as pd

from analysis.confirmed import tables
from analysis.confirmed.answers import BETTER_A, BETTER_B, EQUIVALENT, REFUSED
from analysis.confirmed.settings import Setting, winner
from analysis.confirmed.sizes import SIZES
from study.results import Results

BETTER = "better"  # than at least one other level, and as good as the rest
EQUALLY_GOOD = "equally good"  # as every other level
UNDECIDED = "kept, undecided"  # the winner's level, for want of evidence
ABSENT = "absent"  # the winner's setting has no level of this factor, and nothing was found where there is one
NOTHING_YET = "nothing yet"  # no winner to start from

_TURNED = {BETTER_A: BETTER_B, BETTER_B: BETTER_A}

_TURNABLE = ("difference", "low", "high", "probability_a_better")

# Seconds that differ by less than a tenth do not tell two levels apart: trials share the machine.
CHEAPER = 0.9

COLUMNS = ("factor", "recommended", "decision", "winner", "best", "against", "gain", "low", "high", "seeds", "items")
COLUMNS += ("seeds_needed", "open", "trial_seconds", "best_seconds")  # and the recommended level's sizes


def recommendations(results: Results, found: list[Setting], answered: pd.DataFrame) -> pd.DataFrame:
    """One row for each factor.

    `winner`: the winner's level. `best`: that level, or one that beats it in the answers. `recommended`: the cheapest
    of those equivalent to `best`. `gain`, `low`, `high`: of the recommended level over its closest rival, `against`.
    `open`: how many levels may still be as good or better; `seeds_needed` would settle all of them, missing where no
    number of seeds would or where a pair was refused.
    """
    best = winner(found)
    rows = []
    for factor in results.factors:
        pairs = pairs_of(answered, factor)
        rows.append({"factor": factor} | _recommend(tables.comparison(results, found, factor), pairs, best, factor))
    counts = {"seeds": "Int64", "items": "Int64", "seeds_needed": "Int64", "open": "Int64"}
    recorded = [column for column in SIZES if column in results.trials]
    return pd.DataFrame(rows, columns=[*COLUMNS, *recorded]).astype(counts)


def _recommend(compared: pd.DataFrame, pairs: list[dict], chosen: Setting | None, factor: str) -> dict[str, Any]:
    if chosen is None:
        return {"decision": NOTHING_YET}
    kept = chosen.levels[factor]
    best = _best(compared["level"].tolist(), pairs, kept)
    if best is None:
        return {"decision": ABSENT, "winner": kept}
    equal = [pair["level_b"] for pair in rivals(pairs, best) if pair["verdict"] == EQUIVALENT]
    open_pairs = _open(pairs, best)
    costs = compared.drop_duplicates("level").set_index("level")
    level = _cheapest(costs, best, [one for one in equal if one not in _beaten(pairs)])
    return {
        "recommended": level,
        "decision": _decision(pairs, best, open_pairs),
        "winner": kept,
        "best": best,
        "open": len(open_pairs),
        "seeds_needed": _seeds_needed(open_pairs),
        "trial_seconds": costs["trial_seconds"].get(level),
        "best_seconds": costs["trial_seconds"].get(best),
        **{column: costs[column].get(level) for column in SIZES if column in costs},
        **_gain(pairs, level),
    }


def pairs_of(answered: pd.DataFrame, factor: str) -> list[dict]:
    """The rows of answers.csv about one factor; what a refused pair lacks is NaN, never None."""
    rows = answered[answered["factor"] == factor]
    return rows.astype(dict.fromkeys(_TURNABLE, float)).to_dict("records")


def rivals(pairs: list[dict], level: str) -> Iterator[dict]:
    """The rows of answers.csv that a level is in, turned so that it is `level_a`."""
    for pair in pairs:
        if pair["level_a"] == level:
            yield pair
        elif pair["level_b"] == level:
            yield pair | {
                "level_a": pair["level_b"],
                "level_b": pair["level_a"],
                "difference": 0.0 - pair["difference"],  # no negative zero
                "low": 0.0 - pair["high"],
                "high": 0.0 - pair["low"],
                "probability_a_better": 1 - pair["probability_a_better"],
                "verdict": _TURNED.get(pair["verdict"], pair["verdict"]),
            }


def _best(levels: list[str], pairs: list[dict], kept: str) -> str | None:
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


def _lead(pairs: list[dict], level: str, over: str | None) -> float:
    """By how much a level beats another, or the one it beats by most; 0 where it beats none."""
    wins = [
        pair["difference"]
        for pair in rivals(pairs, level)
        if pair["verdict"] == BETTER_A and over in (None, pair["level_b"])
    ]
    return max(wins, default=0.0)


def _beaten(pairs: list[dict]) -> set[str]:
    loser = {BETTER_A: "level_b", BETTER_B: "level_a"}
    return {pair[loser[pair["verdict"]]] for pair in pairs if pair["verdict"] in loser}


def _open(pairs: list[dict], best: str) -> list[dict]:
    """The pairs of the best level that nothing settles, with levels that nothing beat."""
    settled, beaten = (BETTER_A, BETTER_B, EQUIVALENT), _beaten(pairs)
    unbeaten = [pair for pair in rivals(pairs, best) if pair["level_b"] not in beaten]
    return [pair for pair in unbeaten if pair["verdict"] not in settled]


def _seeds_needed(open_pairs: list[dict]) -> int | None:
    needed = [pair["seeds_needed"] for pair in open_pairs]
    return None if not needed or any(pd.isna(one) for one in needed) else int(max(needed))


def _decision(pairs: list[dict], best: str, open_pairs: list[dict]) -> str:
    if open_pairs or not pairs:
        return UNDECIDED
    return BETTER if _lead(pairs, best, None) > 0 else EQUALLY_GOOD


def _cheapest(costs: pd.DataFrame, best: str, equal: list[str]) -> str:
    """Of the best level and its equals the fastest; of those about as fast the one that trains least, else the best."""
    candidates = [best, *equal]
    seconds = costs["trial_seconds"].reindex(candidates).fillna(math.inf)
    about_as_fast = [level for level in candidates if seconds[level] * CHEAPER <= seconds.min()]
    if "trained_parameters" not in costs:
        return about_as_fast[0]
    trained = costs["trained_parameters"].reindex(about_as_fast).fillna(math.inf)
    return min(about_as_fast, key=lambda level: trained[level])  # of equals the first


def _gain(pairs: list[dict], level: str) -> dict[str, Any]:
    """Over the rival that comes closest; nothing where no pair was compared."""
    compared = [pair for pair in rivals(pairs, level) if not pair["verdict"].startswith(REFUSED)]
    if not compared:
        return {}
    closest = min(compared, key=lambda pair: pair["difference"])
    same = {key: closest[key] for key in ("low", "high", "seeds", "items")}
    return {"against": closest["level_b"], "gain": closest["difference"]} | same
