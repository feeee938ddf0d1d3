"""Uncertainty of the winner's test accuracy: its sources, what would reduce it, the smallest detectable difference."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from analysis.confirmed.objective import merit
from analysis.confirmed.outputs import VAL
from analysis.confirmed.settings import Setting, groups, having, on_common_seeds, winner
from analysis.declared import budget, is_number
from analysis.layout.page import Cell, Section, Table, table
from analysis.layout.text import number, percent, points
from analysis.statistics.inference import MIN_SEEDS, Estimate, compare, crossed_mean, smallest_effect
from study.results import Results
from study.writing import count

MORE_PICTURES = 500
NOW, ONE_SEED, TWICE = "as measured", "one more seed", "twice the seeds"
PICTURES_MORE = f"{MORE_PICTURES} more test images"
REPEAT, PICTURES = "the repeat", "the test images"
VALIDATED, TUNED = "which images validate", "which rates and strengths were tried"


def estimated(results: Results, setting: Setting | None) -> Estimate | None:
    """Return the test accuracy of a setting with the parts of its variance; None if the data cannot separate them."""
    if setting is None or not setting.tested or len(setting.seeds) < MIN_SEEDS:
        return None
    clusters = groups(results, setting.correct.columns)
    if len(np.unique(clusters)) < 2:
        return None
    return crossed_mean(setting.correct.to_numpy(), clusters, setting.folds)


def sources(results: Results, best: Setting) -> pd.DataFrame:
    """Return one row for each source of variance, with its standard deviation in accuracy.

    `share`, for the first two only, is of the variance of the winner's mean test accuracy. The standard deviation of
    the repeat is of one seed's test accuracy and includes how seeds disagree on single images.
    """
    estimate = estimated(results, best)
    if estimate is None:
        return pd.DataFrame(columns=["source", "standard_deviation", "share", "n"])
    total = estimate.standard_error**2
    of_items = estimate.item_variance / total if total else np.nan
    luck, tried = _tuning_luck(results, best)
    on_test = (
        estimate.seeds * estimate.seed_variance
    )  # variance of one seed; on validation, each seed also has other images
    beyond = max(float(best.by_seed(best.trials["val_accuracy"]).var(ddof=1)) - on_test, 0.0)
    rows = [
        (REPEAT, np.sqrt(on_test), 1 - of_items, estimate.seeds),
        (PICTURES, np.sqrt(estimate.item_variance), of_items, estimate.items),
        (VALIDATED, np.sqrt(beyond), np.nan, estimate.seeds),
        (TUNED, luck, np.nan, tried),
    ]
    return pd.DataFrame(rows, columns=["source", "standard_deviation", "share", "n"]).astype({"n": "Int64"})


def renewed(results: Results, best: Setting) -> bool:
    """Whether the winner's repeats validated on different images, judged by their predictions."""
    predictions = results.predictions
    validated = predictions[(predictions["fold"] == VAL) & predictions["trial"].isin(best.trials["trial"])]
    return len({frozenset(items) for _, items in validated.groupby("trial")["item"]}) > 1


def _tuning_luck(results: Results, best: Setting) -> tuple[float, int]:
    """Return the standard deviation of the best tried point (mean over folds if several) and their number."""
    trials = results.trials
    completed = trials[(trials["phase"] == "refine") & (trials["status"] == "completed")]
    tried = having(best.levels, completed).dropna(subset=["val_accuracy"])
    scores = merit(results)[tried.index].dropna()
    repeats = [rows.index for _, rows in tried.loc[scores.index].groupby("seed", dropna=False)]
    spreads = [best_of(scores[index], tried["val_accuracy"][index])[1] for index in repeats]
    return (float(np.mean(spreads)) if spreads else np.nan), max(map(len, repeats), default=0)


def best_of(ranked: ArrayLike, values: ArrayLike) -> tuple[float, float]:
    """Return mean and standard deviation of the best point's value when n points are resampled.

    This is the exact bootstrap: the best of n draws is among the k worst with probability (k / n)^n.
    """
    ranked, values = np.asarray(ranked, float), np.asarray(values, float)
    n = len(values)
    if n < 2:
        return np.nan, np.nan
    weights = np.diff((np.arange(n + 1) / n) ** n)
    ordered = values[np.argsort(ranked, kind="stable")]
    mean = float(weights @ ordered)
    return mean, float(np.sqrt(weights @ (ordered - mean) ** 2))


def with_more(estimate: Estimate, seeds: int = 0, items: int = 0) -> Estimate:
    """Return the estimate expected with `seeds` and `items` more that vary like these."""
    fewer_seeds, fewer_items = estimate.seeds / (estimate.seeds + seeds), estimate.items / (estimate.items + items)
    return replace(
        estimate,
        seed_variance=estimate.seed_variance * fewer_seeds,
        item_variance=estimate.item_variance * fewer_items,
        least_seed_variance=estimate.least_seed_variance * fewer_seeds * fewer_items,
        seeds=estimate.seeds + seeds,
        items=estimate.items + items,
    )


def precision(estimate: Estimate) -> pd.DataFrame:
    """Return the half-width of the 95% interval as measured, and with more seeds or more test images.

    It is capped at the measured half-width: with less variance from the images, Hillis' degrees of freedom fall, so
    more images could seem to widen the interval. `narrower`: whether the half-width as reported (rounded) is smaller.
    """
    plans = {
        NOW: estimate,
        ONE_SEED: with_more(estimate, seeds=1),
        TWICE: with_more(estimate, seeds=estimate.seeds),
        PICTURES_MORE: with_more(estimate, items=MORE_PICTURES),
    }
    half_widths = {what: float(np.diff(plan.interval())[0]) / 2 for what, plan in plans.items()}
    rows = [(what, plan.seeds, plan.items, min(half_widths[what], half_widths[NOW])) for what, plan in plans.items()]
    table = pd.DataFrame(rows, columns=["what", "seeds", "items", "half_width"])
    rounded = [round(100 * width, 2) for width in table["half_width"]]  # as the report gives it, in points
    return table.assign(narrower=[width < rounded[0] for width in rounded])


@dataclass(frozen=True)
class Resolution:
    """The true difference between two settings that 80% power detects, at the 5% level without correction."""

    median: float
    least: float
    most: float
    pairs: int
    seeds: int
    items: int


def resolution(results: Results, confirmed: list[Setting]) -> Resolution | None:
    """Return the resolution, from paired differences between the winner and settings with its seeds and test images."""
    best = winner(confirmed)
    if best is None or estimated(results, best) is None:
        return None
    items = best.correct.columns
    clusters = groups(results, items)
    tested = [s for s in confirmed if s is not best and s.tested and set(s.correct.columns) == set(items)]
    pairs = [on_common_seeds(results, [best, other]) for other in tested]
    estimates = [
        compare(a.correct, b.correct[items], clusters, a.folds)
        for a, b in pairs
        if a.seeds == b.seeds and len(a.seeds) >= MIN_SEEDS
    ]
    if not estimates:
        return None
    effects = [smallest_effect(estimate) for estimate in estimates]
    fewest = min(estimate.seeds for estimate in estimates)
    return Resolution(float(np.median(effects)), min(effects), max(effects), len(effects), fewest, len(items))


FEW_PICTURES = 1000  # on test; fewer cannot detect most differences between good settings


def doubt_section(results: Results, confirmed: list[Setting]) -> Section | None:
    """Return the section on sources of variance, narrower intervals and detectable differences; None without any."""
    best = winner(confirmed)
    estimate, unresolved = estimated(results, best), _unresolved(results, resolution(results, confirmed))
    if best is None or estimate is None:
        return Section("Uncertainty", unresolved) if unresolved else None
    luck, more = sources(results, best), precision(estimate)
    return Section(
        "Uncertainty",
        [_narrowed(luck, more), _renewed_together(results, best, luck), *unresolved],
        tables=[_luck(luck), _more(more)],
    )


def _narrowed(luck: pd.DataFrame, more: pd.DataFrame) -> str:
    """Return the sources of uncertainty and the half-width with more seeds or images, as sentences."""
    shares, plans = luck.set_index("source")["share"], more.set_index("what")
    narrower = plans["narrower"]
    if shares[[REPEAT, PICTURES]].isna().any():
        return "The winner's test accuracy varies neither between seeds nor between images."
    names = {PICTURES: "test images", REPEAT: "seeds"}
    larger, smaller = sorted(names, key=lambda source: shares[source], reverse=True)
    most = (
        f"Most of the uncertainty ({percent(shares[larger])} of the variance) comes from the {names[larger]}, "
        f"{percent(shares[smaller])} from the {names[smaller]}."
    )
    half_widths = {plan: f"±{100 * width:.2f}" for plan, width in plans["half_width"].items()}
    interval = f"The 95% CI is {half_widths[NOW]} points"
    plan_names = {PICTURES_MORE: PICTURES_MORE, ONE_SEED: "one more seed", TWICE: "twice as many seeds"}
    helpful = [f"{plan_names[plan]} would narrow it to {half_widths[plan]}" for plan in plan_names if narrower[plan]]
    idle = [plan_names[plan] for plan in plan_names if not narrower[plan]]
    if not helpful:
        return f"{most} {interval}; narrowing it takes many more {names[larger]}."
    rest = f"; {' and '.join(idle)} would not narrow it" if idle else ""
    return f"{most} {interval}: {', '.join(helpful)}{rest}."


def _renewed_together(results: Results, best: Setting, luck: pd.DataFrame) -> str:
    spread = luck.set_index("source")["standard_deviation"].map(points)
    changed = (
        "initialization, data order, views and the train/validation partition together (Bouthillier et al. 2021)"
        if renewed(results, best)
        else "initialization, data order and views together, but not the validation images"
    )
    folds = _folds(results, best)
    shared = f" Every {folds} seeds are the folds of one partition." if folds else ""
    if best.models > 1:
        shared = f" Here a seed is a round of {best.models} models and also changes which model tests which image."
    return (
        f"A seed changes {changed}; this study cannot separate their contributions.{shared} Between seeds, test "
        f"accuracy has a standard deviation of {spread[REPEAT]} points."
    )


def _folds(results: Results, best: Setting) -> int | None:
    """Return the number of folds in the winner's trials; if they do not record it, the number in the budget."""
    if "folds" in best.trials:
        ran = pd.to_numeric(best.trials["folds"], errors="coerce").dropna().unique()
        return int(ran[0]) if len(ran) == 1 else None
    return budget(results, "folds")


def _luck(luck: pd.DataFrame) -> Table:
    named = {
        REPEAT: "seed: everything it changes",
        PICTURES: "choice of test images",
        VALIDATED: "choice of validation images: spread on validation beyond that on test",
        TUNED: "choice of nuisance points, on validation",
    }
    unit = {REPEAT: "seed", PICTURES: "image", VALIDATED: "seed", TUNED: "point"}
    shown: dict[str, Cell] = {
        "what varies": lambda row: named[row.source],
        "standard deviation in points": lambda row: (
            points(row.standard_deviation) if pd.notna(row.standard_deviation) else "unknown"
        ),
        "share of the variance": "share",
        "estimated from": lambda row: count(int(row.n), unit[row.source]),
    }
    caption = (
        "Sources of variance. Share: of the variance of the winner's mean test accuracy. Nuisance points: bootstrap "
        "of the best of the points tried for the winner's setting"
    )
    return table("variance", caption, luck, shown)


def _more(more: pd.DataFrame) -> Table:
    shown = {
        "plan": "what",
        "seeds": "seeds",
        "test images": "items",
        "± points": lambda row: (
            f"{100 * row.half_width:.2f}{'' if row.narrower or row.what == NOW else ' (no narrower)'}"
        ),
    }
    caption = (
        "Half-width of the 95% CI of the winner's test accuracy with more seeds or more test images that vary like "
        "these (Hillis' degrees of freedom)"
    )
    return table("precision", caption, more, shown)


def _unresolved(results: Results, resolved: Resolution | None) -> list[str]:
    """Return the smallest detectable difference as sentences: the planned one, then the measured one."""
    planned = results.study.get("resolution")
    known = planned if isinstance(planned, Mapping) else {}
    difference, seeds, items = (known.get(name) for name in ("difference", "seeds", "items"))
    sentences = []
    if is_number(difference) and is_number(seeds) and is_number(items):
        sentences.append(
            f"Planned: {number(seeds)} seeds and {number(items)} test images to detect differences of about "
            f"{points(difference)} points between two settings (80% power)."
        )
    if resolved is None:
        return sentences
    reach = f", {points(resolved.least)} to {points(resolved.most)}" if resolved.pairs > 1 else ""
    sentences.append(
        f"Measured: {count(resolved.seeds, 'seed')} and {count(resolved.items, 'test image')} detect a difference of "
        f"{points(resolved.median)} points with 80% power (median of {count(resolved.pairs, 'pair')} with the "
        f"winner{reach}; 5% level, uncorrected)."
    )
    if resolved.items < FEW_PICTURES:
        sentences.append(
            f"With fewer than {number(FEW_PICTURES)} test images, smaller differences cannot be detected: not finding "
            "one does not mean there is none."
        )
    return sentences
