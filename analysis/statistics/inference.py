"""Intervals, paired comparisons and corrections for multiple testing, on plain arrays.

Correctness is an array of shape (seeds, items): 1 if the seed's model classifies the image correctly, else 0. Row s of
two settings is the same repeat, column i the same image. Seeds and items are random samples of possible runs and
possible images. They are crossed, like readers and cases in radiology.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from study.results import MIN_SEEDS, SEEDS_FOR_A_CLAIM

Interval = tuple[float, float]

POWER = 0.8
MOST_SEEDS = 1000  # beyond this nobody adds seeds
MOST_ITEMS = 1_000_000  # nobody labels more images


@dataclass(frozen=True)
class Estimate:
    """A mean over crossed seeds and items, with the two parts of its variance."""

    mean: float
    seed_variance: float  # part of the variance of the mean that shrinks with more seeds, from the seeds' means
    item_variance: float  # part that shrinks only with more images
    seeds: int
    items: int
    least_seed_variance: float = 0.0  # lower bound of `seed_variance`, because seeds disagree on single images

    @property
    def standard_error(self) -> float:
        return math.sqrt(max(self.seed_variance, self.least_seed_variance) + self.item_variance)

    @property
    def df(self) -> float:
        """The degrees of freedom of the standard error; only the number of seeds limits them."""
        return float(_degrees_of_freedom(self.seed_variance, self.least_seed_variance, self.item_variance, self.seeds))

    def interval(self, confidence: float = 0.95) -> Interval:
        half = float(stats.t.ppf((1 + confidence) / 2, self.df)) * self.standard_error
        return self.mean - half, self.mean + half

    @property
    def p_value(self) -> float:
        """Two-sided p value for the null hypothesis of a zero mean."""
        if self.standard_error == 0:
            return float(self.mean == 0)
        return float(2 * stats.t.sf(abs(self.mean) / self.standard_error, self.df))


def _degrees_of_freedom(seed: ArrayLike, least: ArrayLike, item: ArrayLike, seeds: ArrayLike) -> NDArray[np.float64]:
    """Return Hillis' degrees of freedom (Statistics in Medicine 26:596, 2007), at a larger variance between seeds.

    They grow as the share of the seeds in the variance falls. If few seeds lie close together by chance, the standard
    error is too small and the degrees of freedom are too many at the same time. So the variance between seeds counts
    one of its standard errors larger than measured: the relative error of a sample variance is sqrt(2 / (S - 1)).
    """
    before = np.asarray(seeds) - 1
    likely = (1 + np.sqrt(2 / before)) * np.asarray(seed)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.where(likely > 0, before * ((np.maximum(likely, least) + np.asarray(item)) / likely) ** 2, np.inf)


def crossed_mean(values: ArrayLike, groups: ArrayLike, folds: ArrayLike | None = None) -> Estimate:
    """Estimate the mean of `values` (seeds, items) for new seeds and new items, clustered by `groups` (items,).

    With `folds` (seeds, items), a seed is a round of k-fold cross-validation, and `folds` is the number of the model
    that produced each value (see `_overlap`).

    Obuchowski and Rockette (Communications in Statistics 24:285, 1995) with seeds as readers and items as
    cases. For one difference their F test reduces to: variance = s2 / S + max(c, 0), where s2 is the sample
    variance of the S seed means and c the mean covariance, through shared items, of two seeds' means
    (c = 2 (Cov2 - Cov3) in their notation).

    The means of three seeds may be close by chance, which makes the interval too narrow: its coverage was 92 to 94%.
    But s2 estimates v - c plus the true variance between seeds, where v is the mean variance of a seed's mean over
    items. The true variance is at least zero, so the variance used is max(s2, v - c) / S + max(c, 0). See
    docs/calibration.md for the coverage.

    Raises:
        ValueError: fewer than 2 seeds or 2 groups.
    """
    values = np.asarray(values, dtype=float)
    seeds, items = values.shape
    codes = np.unique(np.asarray(groups), return_inverse=True)[1]
    clusters = int(codes.max()) + 1
    if seeds < 2 or clusters < 2:
        raise ValueError(f"At least 2 seeds and 2 groups of items are needed, but got ({seeds=}, {clusters=}).")
    means = values.mean(axis=1)
    sums = np.stack([np.bincount(codes, weights=row, minlength=clusters) for row in values - means[:, None]])
    covariance = sums @ sums.T * clusters / (clusters - 1) / items**2
    shared = max((covariance.sum() - covariance.trace()) / (seeds * (seeds - 1)), 0.0)
    own = max(covariance.trace() / seeds - shared, 0.0)
    return Estimate(
        mean=float(means.mean()),
        seed_variance=float(means.var(ddof=1) / seeds),
        item_variance=float(shared) + (0.0 if folds is None else _overlap(values, codes, np.asarray(folds))),
        seeds=seeds,
        items=items,
        least_seed_variance=float(own / seeds),
    )


def _overlap(values: NDArray[np.float64], codes: NDArray[np.int64], folds: NDArray) -> float:
    """Return the additional variance of a k-fold mean, whose models share training images.

    Nadeau and Bengio (Machine Learning 52:239, 2003): means of test folds correlate by about n_test / n, which adds
    n_test / n_train, here 1 / (k - 1), times their variance. Test images are not shared, so only the variance between
    the models of a round beyond the variance due to their test images counts.
    """
    excess = []
    for row, numbers in zip(values, folds, strict=True):
        members = [numbers == number for number in np.unique(numbers)]
        means = [row[member].mean() for member in members]
        excess.append(np.var(means, ddof=1) - np.mean([_cluster_variance(row[m], codes[m]) for m in members]))
    return float(max(np.mean(excess), 0.0) / (len(np.unique(folds)) - 1))


def _cluster_variance(values: NDArray[np.float64], codes: NDArray[np.int64]) -> float:
    """Return the variance of a mean over clusters of items; infinite for a single cluster."""
    clusters = len(np.unique(codes))
    sums = np.bincount(codes, weights=values - values.mean())
    return math.inf if clusters < 2 else float((sums**2).sum() * clusters / (clusters - 1) / len(values) ** 2)


def compare(a: ArrayLike, b: ArrayLike, groups: ArrayLike, folds: ArrayLike | None = None) -> Estimate:
    """Estimate the accuracy of a minus the accuracy of b, from correctness (seeds, items) paired by seed and item.

    `folds` is shared by both, see `crossed_mean`.

    Raises:
        ValueError: the shapes differ, or there are fewer than `MIN_SEEDS` seeds.
    """
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if a.shape != b.shape:
        raise ValueError(f"`a.shape == b.shape` must hold, but got ({a.shape=}, {b.shape=}).")
    if len(a) < MIN_SEEDS:
        raise ValueError(f"`seeds >= {MIN_SEEDS}` must hold, but got (seeds={len(a)}).")
    return crossed_mean(a - b, groups, folds)


def probability_better(differences: ArrayLike) -> float:
    """Return the probability that a new seed of a beats the same seed of b, from paired differences (seeds,).

    From the predictive distribution of one more normal draw: (d - mean) / (s sqrt(1 + 1/S)) is t with S - 1
    degrees of freedom, so P(d > 0) = T(mean / (s sqrt(1 + 1/S))). One half if no seed differs.
    """
    differences = np.asarray(differences, dtype=float)
    seeds = len(differences)
    mean, spread = differences.mean(), differences.std(ddof=1) * math.sqrt(1 + 1 / seeds)
    if spread == 0:
        return float((np.sign(mean) + 1) / 2)
    return float(stats.t.cdf(mean / spread, seeds - 1))


def seeds_needed(estimate: Estimate, alpha: float = 0.05) -> int | None:
    """Return the number of seeds that detects a true difference as large as the observed one with 80% power.

    None if no number of seeds suffices, because the images alone leave too much uncertainty. The criterion is
    |mean| >= (t_(1 - alpha/2) + t_power) * standard error, with Hillis' degrees of freedom at each count.
    """
    seeds = np.arange(MIN_SEEDS, MOST_SEEDS + 1)
    return _first_enough(seeds, estimate, seeds, estimate.items, alpha)


def items_needed(estimate: Estimate, alpha: float = 0.05) -> int | None:
    """Return the number of items, to two digits, that detects the difference with at least `SEEDS_FOR_A_CLAIM` seeds.

    None if no number of items suffices, because the seeds alone leave too much uncertainty. See `seeds_needed`.
    """
    seeds = max(estimate.seeds, SEEDS_FOR_A_CLAIM)
    steps = np.outer(10 ** np.arange(6), np.arange(10, 101)).ravel()
    items = np.unique(steps[(steps > estimate.items) & (steps <= MOST_ITEMS)])
    return _first_enough(items, estimate, seeds, items, alpha)


def _first_enough(
    counts: NDArray[np.int64], estimate: Estimate, seeds: ArrayLike, items: ArrayLike, alpha: float
) -> int | None:
    """Return the first of `counts` that detects the observed difference with 80% power, with `seeds` and `items`."""
    fewer_seeds, fewer_items = estimate.seeds / np.asarray(seeds), estimate.items / np.asarray(items)
    seed_variance = estimate.seed_variance * fewer_seeds
    least = estimate.least_seed_variance * fewer_seeds * fewer_items
    variance = np.maximum(seed_variance, least) + estimate.item_variance * fewer_items
    df = _degrees_of_freedom(seed_variance, least, estimate.item_variance * fewer_items, seeds)
    enough = counts[(abs(estimate.mean) >= _detectable(variance, df, alpha)) & (estimate.mean != 0)]
    return int(enough[0]) if len(enough) else None


def smallest_effect(estimate: Estimate, alpha: float = 0.05) -> float:
    """Return the true difference detected with 80% power by as many seeds and items with the same variances."""
    return float(_detectable(estimate.standard_error**2, estimate.df, alpha))


def _detectable(variance: ArrayLike, df: ArrayLike, alpha: float) -> NDArray[np.float64]:
    return (stats.t.ppf(1 - alpha / 2, df) + stats.t.ppf(POWER, df)) * np.sqrt(variance)


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Return Holm's step-down adjusted p values, in the given order (Scand. J. Statistics 6:65, 1979)."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted


def wilson(successes: float, n: int, confidence: float = 0.95) -> Interval:
    """Return the interval of a proportion (Wilson, JASA 22:209, 1927)."""
    z = float(stats.norm.ppf((1 + confidence) / 2))
    share = successes / n
    center = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return max(center - half, 0.0), min(center + half, 1.0)


def accuracy_interval(correct: ArrayLike, groups: ArrayLike, folds: ArrayLike | None = None) -> Interval:
    """Return the 95% CI of the mean of `correct` (seeds, items); see `crossed_mean` for `folds`.

    With three seeds or more, it is for new seeds and new images. With fewer, or if neither seeds nor images vary, it is
    Wilson's interval, for these models on new images; a group of duplicates counts once.
    """
    correct = np.asarray(correct, dtype=float)
    clusters = len(np.unique(np.asarray(groups)))
    if len(correct) >= MIN_SEEDS and clusters >= 2:
        estimate = crossed_mean(correct, groups, folds)
        if estimate.standard_error > 0:
            low, high = estimate.interval()
            return max(low, 0.0), min(high, 1.0)
    return wilson(float(correct.mean()) * clusters, clusters)


def bootstrap_interval(differences: ArrayLike, groups: ArrayLike, resamples: int = 10_000) -> Interval:
    """Return the 95% bootstrap interval of the mean of paired `differences` (items,), for these models on new images.

    Whole groups are resampled with replacement. Groups of equal sum and size are drawn together from a multinomial,
    which has the same distribution without an array of shape (resamples, groups).
    """
    differences = np.asarray(differences, dtype=float)
    codes = np.unique(np.asarray(groups), return_inverse=True)[1]
    sums, sizes = np.bincount(codes, weights=differences), np.bincount(codes)
    kinds, counts = np.unique(np.stack([sums.round(9), sizes], axis=1), axis=0, return_counts=True)
    drawn = np.random.default_rng(0).multinomial(len(sums), counts / len(sums), size=resamples)
    means = (drawn @ kinds[:, 0]) / (drawn @ kinds[:, 1])
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def mean_interval(values: ArrayLike) -> Interval:
    """Return the 95% t interval of the mean of `values` (seeds,); NaN for fewer than three."""
    values = np.asarray(values, dtype=float)
    if len(values) < MIN_SEEDS:
        return math.nan, math.nan
    half = float(stats.t.ppf(0.975, len(values) - 1)) * values.std(ddof=1) / math.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)
