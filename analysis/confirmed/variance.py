"""Where the doubt about the winner's accuracy comes from, what would lessen it, and what stays unresolved."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from analysis.confirmed.objective import merit
from analysis.confirmed.outputs import VAL
from analysis.confirmed.settings import Setting, groups, winner
from analysis.statistics.inference import MIN_SEEDS, Estimate, compare, crossed_mean, smallest_effect
from study.results import Results, level_text

MORE_PICTURES = 500
NOW, ONE_SEED, TWICE = "as measured", "one more seed", "twice the seeds"
PICTURES_MORE = f"{MORE_PICTURES} more test images"

REPEAT, PICTURES = "the repeat", "the test images"
VALIDATED, TUNED = "which images validate", "which rates and strengths were tried"


def estimated(results: Results, setting: Setting | None) -> Estimate | None:
    """The accuracy of a setting on test with the parts of its variance; None where the data do not separate them."""
    if setting is None or not setting.tested or len(setting.seeds) < MIN_SEEDS:
        return None
    clusters = groups(results, setting.correct.columns)
    if len(np.unique(clusters)) < 2:
        return None
    return crossed_mean(setting.correct.to_numpy(), clusters, setting.folds)


def sources(results: Results, best: Setting) -> pd.DataFrame:
    """One row for each source of luck that can be told: its standard deviation in accuracy.

    Of the first two `share`, of the variance of the winner's mean accuracy on test. The repeat: of one model's
    accuracy, with what a repeat's models do to single images.
    """
    estimate = estimated(results, best)
    if estimate is None:
        return pd.DataFrame(columns=["source", "standard_deviation", "share", "n"])
    whole = estimate.standard_error**2
    of_items = estimate.item_variance / whole if whole else np.nan
    luck, points = _tuning_luck(results, best)
    rows = [
        (REPEAT, np.sqrt(estimate.seeds * estimate.seed_variance), 1 - of_items, estimate.seeds),
        (PICTURES, np.sqrt(estimate.item_variance), of_items, estimate.items),
        (VALIDATED, _validation_luck(best, estimate), np.nan, estimate.seeds),
        (TUNED, luck, np.nan, points),
    ]
    return pd.DataFrame(rows, columns=["source", "standard_deviation", "share", "n"]).astype({"n": "Int64"})


def _validation_luck(best: Setting, estimate: Estimate) -> float:
    """What is left of the spread on validation, which has other images each time, beyond that on test."""
    on_validation = float(best.by_seed(best.trials["val_accuracy"]).var(ddof=1))
    return float(np.sqrt(max(on_validation - estimate.seeds * estimate.seed_variance, 0.0)))


def renewed(results: Results, best: Setting) -> bool:
    """Whether the winner's repeats validated on different images, as far as their predictions tell."""
    seen = results.predictions
    mine = seen[(seen["fold"] == VAL) & seen["trial"].isin(best.trials["trial"])]
    return len({frozenset(items) for _, items in mine.groupby("trial")["item"]}) > 1


def _refined(results: Results, best: Setting) -> pd.DataFrame:
    """The completed refine trials of the winner's setting, one for each nuisance point."""
    trials = results.trials
    mine = trials[(trials["phase"] == "refine") & (trials["status"] == "completed")]
    for factor, level in best.levels.items():
        mine = mine[mine[factor].map(level_text) == level]
    return mine.dropna(subset=["val_accuracy"])


def _tuning_luck(results: Results, best: Setting) -> tuple[float, int]:
    """The standard deviation of the best of the points, and how many; with test folds the mean over the refinings."""
    tried = _refined(results, best)
    ranked = merit(results)[tried.index].dropna()
    repeats = [one.index for _, one in tried.loc[ranked.index].groupby("seed", dropna=False)]
    each = [best_of(ranked[mine], tried["val_accuracy"][mine])[1] for mine in repeats]
    return (float(np.mean(each)) if each else np.nan), max(map(len, repeats), default=0)


def best_of(ranked: ArrayLike, values: ArrayLike) -> tuple[float, float]:
    """Mean and standard deviation of the value of the best of n points, drawn again from these n.

    The bootstrap without its simulation: the best of n draws is among the k worst with probability (k / n)^n.
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
    """What is to be expected of `seeds` and `items` more that vary as these did."""
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
    """Half the width of the 95 % interval as it is, and as more seeds or more test images would make it.

    Never more than as it is: with less doubt from the images Hillis' degrees of freedom fall, by which more
    images could seem to harm. `narrower`: whether the number that is said is below the present one.
    """
    plans = {
        NOW: estimate,
        ONE_SEED: with_more(estimate, seeds=1),
        TWICE: with_more(estimate, seeds=estimate.seeds),
        PICTURES_MORE: with_more(estimate, items=MORE_PICTURES),
    }
    now = _half_width(estimate)
    rows = [(what, each.seeds, each.items, min(_half_width(each), now)) for what, each in plans.items()]
    table = pd.DataFrame(rows, columns=["what", "seeds", "items", "half_width"])
    said = [round(100 * width, 2) for width in table["half_width"]]  # as the report says it, in points
    return table.assign(narrower=[one < said[0] for one in said])


def _half_width(estimate: Estimate) -> float:
    low, high = estimate.interval()
    return (high - low) / 2


@dataclass(frozen=True)
class Resolution:
    """The true difference between two settings that is found with 80 % power, at the 5 % level without correction."""

    median: float
    least: float
    most: float
    pairs: int
    seeds: int
    items: int


def resolution(results: Results, found: list[Setting]) -> Resolution | None:
    """From the winner's paired differences to every setting with its seeds and test images."""
    best = winner(found)
    estimate = estimated(results, best)
    if best is None or estimate is None:
        return None
    clusters = groups(results, best.correct.columns)
    effects = [
        smallest_effect(compare(best.correct, other.correct[best.correct.columns], clusters, best.folds))
        for other in found
        if other is not best
        and other.seeds == best.seeds
        and other.tested
        and set(other.correct.columns) == set(best.correct.columns)
    ]
    if not effects:
        return None
    middle = float(np.median(effects))
    return Resolution(middle, min(effects), max(effects), len(effects), estimate.seeds, estimate.items)
