"""Answer the question of each factor: compare every pair of levels on the test fold, or refuse to.

Confirmed levels are compared with all other factors held fixed, on the same seeds and the same test images. P values
are corrected within each factor by Holm's method before the verdict.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Final, Literal, TypedDict, cast

import pandas as pd

from analysis.confirmed.refusals import level_texts, refusal
from analysis.confirmed.settings import Setting, groups, on_common_seeds, settings
from analysis.layout.text import number, points
from analysis.statistics.inference import (
    SEEDS_FOR_A_CLAIM,
    Estimate,
    compare,
    holm,
    items_needed,
    probability_better,
    seeds_needed,
)
from study.results import ANSWERS_COLUMNS, Results
from study.writing import count

ALPHA = 0.05
MARGIN = 0.01  # of accuracy; smaller differences count as none, unless the study declares another margin
Verdict = Literal["a", "b", "equivalent", "no evidence", "too few seeds"]
BETTER_A: Final = "a"
BETTER_B: Final = "b"
EQUIVALENT: Final = "equivalent"
NO_EVIDENCE: Final = "no evidence"
TOO_FEW: Final = "too few seeds"  # for a claim
REFUSED: Final = "refused: "  # followed by the reason, in place of a verdict


class Answer(TypedDict):
    """A row of answers.csv; numbers that do not exist are NaN."""

    factor: str
    level_a: str
    level_b: str
    difference: float
    low: float
    high: float
    probability_a_better: float
    seeds: float
    items: float
    verdict: str  # a Verdict, or REFUSED and the reason
    p_holm: float
    seeds_needed: float
    items_needed: float
    companions: str


@dataclass(frozen=True)
class _Comparison:
    estimate: Estimate
    probability_a_better: float
    companions: str


def answers(results: Results) -> pd.DataFrame:
    """Return one row for each pair of levels of each factor, in the order the study lists them."""
    confirmed, texts = settings(results), level_texts(results)
    rows = [row for factor in results.factors for row in _answer(results, confirmed, texts, factor)]
    counts = {"seeds": "Int64", "items": "Int64", "seeds_needed": "Int64", "items_needed": "Int64"}
    return pd.DataFrame(rows, columns=list(ANSWERS_COLUMNS)).astype(counts)


def margin(results: Results) -> float:
    """Return the difference in accuracy below which two levels count as equally good."""
    declared = results.study.get("margin")
    return float(declared) if isinstance(declared, int | float) else MARGIN


def _answer(results: Results, confirmed: list[Setting], texts: pd.DataFrame, factor: str) -> list[dict]:
    pairs = combinations(results.factors[factor], 2)
    outcomes = {(a, b): _compare(results, confirmed, texts, factor, a, b) for a, b in pairs}
    compared = {pair: outcome for pair, outcome in outcomes.items() if isinstance(outcome, _Comparison)}
    adjusted = holm([outcome.estimate.p_value for outcome in compared.values()])
    p_holm = dict(zip(compared, adjusted.tolist(), strict=True))
    allowed = margin(results)
    strictest = ALPHA / max(len(compared), 1)  # Holm's first step, so `seeds_needed` suffices at any step
    rows = {pair: {"verdict": REFUSED + outcome} for pair, outcome in outcomes.items() if isinstance(outcome, str)}
    rows |= {pair: _row(compared[pair], p_holm[pair], allowed, strictest) for pair in compared}
    return [{"factor": factor, "level_a": a, "level_b": b} | rows[a, b] for a, b in outcomes]


def _row(comparison: _Comparison, p_holm: float, allowed: float, alpha: float) -> dict:
    estimate = comparison.estimate
    low, high = estimate.interval()
    reached = verdict(estimate, p_holm, allowed)
    is_open = reached in (NO_EVIDENCE, TOO_FEW)
    needed = seeds_needed(estimate, alpha) if is_open else None
    images = items_needed(estimate, alpha) if is_open and needed is None else None
    return {
        "difference": estimate.mean,
        "low": low,
        "high": high,
        "probability_a_better": comparison.probability_a_better,
        "seeds": estimate.seeds,
        "items": estimate.items,
        "verdict": reached,
        "p_holm": p_holm,
        "seeds_needed": None if needed is None else max(needed, SEEDS_FOR_A_CLAIM),
        "items_needed": images,
        "companions": comparison.companions,
    }


def verdict(estimate: Estimate, p_holm: float, allowed: float) -> Verdict:
    """Test for a difference, then for equivalence: the 90% interval within the margin equals two tests at 5% each."""
    if estimate.seeds < SEEDS_FOR_A_CLAIM:
        return TOO_FEW
    if p_holm < ALPHA:
        return BETTER_A if estimate.mean > 0 else BETTER_B
    low, high = estimate.interval(0.90)
    return EQUIVALENT if -allowed < low and high < allowed else NO_EVIDENCE


def _compare(
    results: Results, confirmed: list[Setting], texts: pd.DataFrame, factor: str, a: str, b: str
) -> _Comparison | str:
    """Return the comparison of two levels, or the reason for refusing it."""
    if results.study.get("goal") == "best":
        return "the search looked for the best setting, not for a fair comparison"
    by_level = {level: [s for s in confirmed if (factor, level) in s.stands_for] for level in (a, b)}
    for level, candidates in by_level.items():
        if len(candidates) != 1:
            return f"{'no confirmed trial' if not candidates else 'several settings confirmed'} for {level}"
    setting_a, setting_b = on_common_seeds(results, [by_level[a][0], by_level[b][0]])
    if reason := refusal(results, texts, setting_a, setting_b, factor):
        return reason
    shared = {f: level or setting_b.levels[f] for f, level in setting_a.levels.items()}  # "": does not exist
    right_a, right_b = setting_a.correct.to_numpy(), setting_b.correct[setting_a.correct.columns].to_numpy()
    return _Comparison(
        estimate=compare(right_a, right_b, groups(results, setting_a.correct.columns), setting_a.folds),
        probability_a_better=probability_better(right_a.mean(axis=1) - right_b.mean(axis=1)),
        companions=", ".join(f"{f}={level}" for f, level in shared.items() if level and f != factor),
    )


_TURNED = {BETTER_A: BETTER_B, BETTER_B: BETTER_A}
_TURNABLE = ("difference", "low", "high", "probability_a_better")


def pairs_of(answered: pd.DataFrame, factor: str) -> list[Answer]:
    """Return the rows of answers.csv for one factor; numbers that a refused pair lacks are NaN, never None."""
    rows = answered[answered["factor"] == factor]
    return cast("list[Answer]", rows.astype(dict.fromkeys(_TURNABLE, float)).to_dict("records"))


def rivals(pairs: list[Answer], level: str) -> Iterator[Answer]:
    """Yield the rows of answers.csv that compare `level`, with its sides swapped where needed to make it `level_a`."""
    for pair in pairs:
        if pair["level_a"] == level:
            yield pair
        elif pair["level_b"] == level:
            turned = pair | {
                "level_a": pair["level_b"],
                "level_b": pair["level_a"],
                "difference": 0.0 - pair["difference"],  # no negative zero
                "low": 0.0 - pair["high"],
                "high": 0.0 - pair["low"],
                "probability_a_better": 1 - pair["probability_a_better"],
                "verdict": _TURNED.get(pair["verdict"], pair["verdict"]),
            }
            yield cast("Answer", turned)


LIKELY = "95% CI"


def answer_sentence(answer: Answer, allowed: float, pairs: int) -> str:
    """Return one row of answers.csv as a sentence; `pairs` is how many pairs of levels of its factor were compared."""
    a, b = answer["level_a"] or "none", answer["level_b"] or "none"
    if answer["verdict"].startswith(REFUSED):
        return f"{a} and {b} were not compared: {answer['verdict'].removeprefix(REFUSED)}."
    if answer["verdict"] in (BETTER_A, BETTER_B):
        return _better(answer, a, b)
    interval = f"{points(answer['low'])} to {points(answer['high'])}"
    measured = f"{a} minus {b}: {points(answer['difference'])} points, {LIKELY} {interval}"
    if answer["verdict"] == EQUIVALENT:
        return f"{a} and {b} are equivalent: the 90% CI lies within the margin of {margin_text(allowed)} ({measured})."
    if answer["verdict"] == TOO_FEW:
        return _too_few(answer, a, b, measured)
    if answer["low"] <= 0 <= answer["high"]:
        return f"No evidence that {a} and {b} differ ({measured}). {_more(answer)}"
    ahead, behind = (a, b) if answer["difference"] > 0 else (b, a)
    return (
        f"{ahead} was clearly ahead of {behind} ({measured}), but the difference is not significant after Holm's "
        f"correction for {pairs} comparisons. {_more(answer)}"
    )


def _too_few(answer: Answer, a: str, b: str, measured: str) -> str:
    """Say who is ahead, and how many seeds it takes to claim it."""
    needed = SEEDS_FOR_A_CLAIM if pd.isna(answer["seeds_needed"]) else int(answer["seeds_needed"])
    way_out = f"Nothing is claimed below {SEEDS_FOR_A_CLAIM} seeds: run again with --resume --seeds {needed}."
    if pd.notna(answer.get("items_needed")):
        way_out = f"{way_out} {_more(answer)}"
    if answer["low"] <= 0 <= answer["high"]:
        return f"{a} and {b}: too few seeds for a claim, and no clear lead ({measured}). {way_out}"
    ahead, behind = (a, b) if answer["difference"] > 0 else (b, a)
    return f"{ahead} is ahead of {behind}, too few seeds for a claim ({measured}). {way_out}"


def _better(answer: Answer, a: str, b: str) -> str:
    """Name the better level first, so that the difference reads as a gain."""
    sign, chance = 1, answer["probability_a_better"]
    low, high = answer["low"], answer["high"]
    if answer["verdict"] == BETTER_B:
        a, b, sign, chance, low, high = b, a, -1, 1 - chance, -high, -low
    return (
        f"{a} beats {b} by {points(sign * answer['difference'])} points "
        f"({LIKELY} {points(low)} to {points(high)}). "
        f"A new seed of {a} would beat a new seed of {b} with probability "
        f"{'over 0.99' if chance > 0.99 else f'{chance:.2f}'}."
    )


def margin_text(allowed: float) -> str:
    return "1 point" if allowed == 0.01 else f"{100 * allowed:.3g} points"


def _more(answer: Answer) -> str:
    """Return how many seeds or test images would decide an open pair."""
    if answer["difference"] == 0:
        return "The measured difference is zero, so there is no effect to plan for."
    needed, images = answer["seeds_needed"], answer.get("items_needed")
    if pd.notna(needed):
        return f"If the difference is real, about {count(int(needed), 'seed')} would show it."
    if pd.isna(images):
        return "If the difference is real, showing it takes many more seeds and many more test images."
    few = answer["seeds"] < SEEDS_FOR_A_CLAIM
    with_seeds = f" with {SEEDS_FOR_A_CLAIM} seeds" if few else ""
    return (
        f"If the difference is real, about {number(images)} test images{with_seeds} would show it (now "
        f"{number(answer['items'])}); more seeds alone would not."
    )
