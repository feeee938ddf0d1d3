"""Negative control: the winner compared with itself, which must show no difference.

Two disjoint sets of the winner's seeds are treated as two levels and compared like the levels of a factor. A difference
found here would be a false positive.
"""

import pandas as pd

from analysis.confirmed.answers import ALPHA, BETTER_A, BETTER_B, LIKELY, margin, verdict
from analysis.confirmed.settings import Setting, groups, winner
from analysis.layout.page import Section
from analysis.layout.text import points
from analysis.statistics.inference import MIN_SEEDS, compare
from study.results import Results

TITLE = "Negative control"
NEEDED = 2 * MIN_SEEDS


def negative_control(results: Results, confirmed: list[Setting]) -> dict | None:
    """Compare the winner with itself on disjoint seeds: seeds_a, seeds_b, difference, low, high, p, verdict, passed.

    The second set is a second confirmation (control.parquet) if there is one, else the later half of the seeds. None if
    either set has fewer than three tested seeds. Unlike the answers, a control with fewer than five seeds can claim a
    difference: otherwise a small control could never fail.
    """
    best = winner(confirmed)
    if best is None:
        return None
    first, second = _halves(results, best)
    if len(first) < MIN_SEEDS or first.isna().to_numpy().any() or second.isna().to_numpy().any() or first.shape[1] < 2:
        return None
    estimate = compare(first, second, groups(results, first.columns))
    low, high = estimate.interval()
    passed, claimed = estimate.p_value >= ALPHA, BETTER_A if estimate.mean > 0 else BETTER_B
    return {
        "seeds_a": first.index.tolist(),
        "seeds_b": second.index.tolist(),
        "difference": estimate.mean,
        "low": low,
        "high": high,
        "p": estimate.p_value,
        "verdict": verdict(estimate, estimate.p_value, margin(results)) if passed else claimed,
        "passed": passed,
    }


def _halves(results: Results, best: Setting) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return correctness (seeds, test items) of two equally large sets of seeds."""
    first = best.correct.set_axis(best.seeds)
    again = results.control[results.control["arm"] == best.arm]
    if again.empty:
        size = len(first) // 2
        return first.iloc[:size], first.iloc[size : 2 * size]
    right = again.drop_duplicates(["seed", "item"]).assign(right=(again["label"] == again["predicted"]).astype(float))
    second = right.pivot(index="seed", columns="item", values="right").reindex(columns=first.columns)
    second = second.set_axis(second.index.astype(int))[~second.index.isin(first.index)]
    size = min(len(first), len(second))
    return first.iloc[:size], second.iloc[:size]


def control_sentence(results: Results, confirmed: list[Setting]) -> str:
    """Return the outcome of the control as a sentence; empty if nothing has been tested yet."""
    best = winner(confirmed)
    if best is None or not best.tested:
        return ""
    control = negative_control(results, confirmed)
    if control is None and best.models > 1:
        return (
            "No negative control: with test folds it compares one half of the winner's seeds with the other, which "
            f"takes {NEEDED} seeds; the winner has {len(best.seeds)}."
        )
    if control is None:
        way_out = "Its second confirmation is missing or incomplete."
        if results.study.get("control") is False:
            way_out = f"Use --seeds {NEEDED}."
        elif len(best.seeds) < MIN_SEEDS:
            way_out = f"With --seeds {MIN_SEEDS} or more, a study confirms its winner twice."
        return (
            f"No negative control: comparing the winner with itself takes {NEEDED} seeds, {MIN_SEEDS} against "
            f"{MIN_SEEDS}; it has {len(best.seeds)}. {way_out}"
        )
    seeds_a, seeds_b = (" ".join(map(str, control[half])) for half in ("seeds_a", "seeds_b"))
    measured = (
        f"seeds {seeds_a} minus seeds {seeds_b}: "
        f"{points(control['difference'])} points, {LIKELY} {points(control['low'])} to {points(control['high'])}"
    )
    compared = "The winner was compared with itself, treating two disjoint sets of its seeds as two levels"
    if control["passed"]:
        return f"{compared}: no difference was found, as expected ({measured})."
    return (
        f"{compared}, and a difference was found where there is none ({measured}). By chance this happens in one of "
        "twenty studies; if it happens again, do not trust the answers."
    )


def control_section(results: Results, confirmed: list[Setting]) -> Section | None:
    sentence = control_sentence(results, confirmed)
    return Section(TITLE, [sentence]) if sentence else None
