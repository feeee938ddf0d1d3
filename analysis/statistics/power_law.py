"""Test error as a power law of the number of training images, with intervals for its predictions.

error(n) = a (n / n_max)^-b + c, fitted by least squares on the logarithm of the error, so all sizes have equal weight.
The law fails for very few images and far beyond the largest size (Jain et al., arXiv 2303.01598), so predictions end at
twice the largest. `wrong` has shape (sizes, seeds, items): 1 where a model misclassifies an image.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize

from analysis.statistics.inference import Interval, crossed_mean

MIN_SIZES = 4
REACH = 2.0  # times the largest fitted size
_ROUNDING = 1.05  # groups of duplicates are never split, so half of a class is approximate
_STEEPEST = 5.0
_STEP = 1e-3  # of the numerical derivative, relative to the error


@dataclass(frozen=True)
class PowerLaw:
    a: float  # the part of the error at the largest size that more images would remove
    b: float
    c: float  # the irreducible part
    largest: float

    def error(self, pictures: ArrayLike) -> NDArray[np.float64]:
        """Return the error expected after training on `pictures` images each.

        Raises:
            ValueError: a size is out of reach of the law.
        """
        n = np.asarray(pictures, dtype=float)
        if not within_reach(n.max(), self.largest):
            raise ValueError(f"`pictures <= {REACH * self.largest:g}` must hold, but got ({n.max()=}).")
        return _law(n / self.largest, self.a, self.b, self.c)


@dataclass(frozen=True)
class Check:
    """The error at the largest size: predicted from the smaller sizes, and measured."""

    predicted: float
    measured: float
    low: float  # 95% CI of predicted - measured
    high: float

    @property
    def miss(self) -> float:
        return self.predicted - self.measured

    def holds(self, margin: float) -> bool:
        """Whether the miss is compatible with zero or within `margin`."""
        return self.low <= 0 <= self.high or abs(self.miss) <= margin


def within_reach(pictures: float, largest: float) -> bool:
    """Whether a law fitted on at most `largest` images may predict the error for `pictures` images."""
    return pictures <= REACH * largest * _ROUNDING


def has_floor(sizes: int) -> bool:
    """Whether the floor `c` can be fitted: even without the largest size, there must be more sizes than parameters."""
    return sizes > MIN_SIZES


def fit(pictures: ArrayLike, errors: ArrayLike, floor: bool) -> PowerLaw:
    """Fit the law to `errors` above 0; without a `floor`, c is 0 and two parameters are fitted instead of three."""
    n, errors = np.asarray(pictures, dtype=float), np.asarray(errors, dtype=float)
    x, least = n / n.max(), float(errors.min())
    slope, level = np.polyfit(np.log(x), np.log(errors), 1)
    start = [float(np.exp(level)), float(np.clip(-slope, 1e-6, _STEEPEST - 1e-6))]
    low, high = [1e-12, 0.0], [np.inf, _STEEPEST]
    if floor:
        start, low, high = [*start, 0.1 * least], [*low, 0.0], [*high, 0.999 * least]
    fitted, _ = optimize.curve_fit(
        lambda x, a, b, c=0.0: np.log(_law(x, a, b, c)),
        x,
        np.log(errors),
        start,
        bounds=(low, high),
        xtol=1e-12,
        ftol=1e-12,
        gtol=1e-12,
    )
    a, b, c = (*fitted.tolist(), 0.0)[:3]
    return PowerLaw(a, b, c, float(n.max()))


def check(pictures: ArrayLike, wrong: NDArray[np.float64], groups: ArrayLike) -> Check:
    """Fit all sizes but the largest, and compare its predicted error with the measured one.

    Args:
        pictures: Training images of each size, ascending, shape (sizes,).
        wrong: Errors, shape (sizes, seeds, items), with the same seeds and items for all sizes.
        groups: Cluster of each item, shape (items,).

    Raises:
        ValueError: the largest size is out of reach of the next.
    """
    n, errors, floor = np.asarray(pictures, dtype=float), wrong.mean(axis=(1, 2)), has_floor(len(wrong))
    if not within_reach(n[-1], n[-2]):
        raise ValueError(f"The largest size must be at most {REACH:g} times the next, but got {n[-2]:g} and {n[-1]:g}.")
    predicted = float(fit(n[:-1], errors[:-1], floor).error(n[-1]))
    weights = _derivatives(n[:-1], errors[:-1], n[-1:], floor)[0]
    miss = np.tensordot(np.append(weights, -1.0), wrong, axes=1)
    half = _half(miss, groups)
    measured = float(errors[-1])
    return Check(predicted, measured, predicted - measured - half, predicted - measured + half)


def predict(
    pictures: ArrayLike, wrong: NDArray[np.float64], groups: ArrayLike, at: ArrayLike
) -> list[tuple[float, Interval]]:
    """Predict the error after training on `at` images each, with a 95% CI for new seeds and new test images.

    The interval assumes the law; it follows from the intervals of the measured errors by the delta method.
    """
    n, errors, floor = np.asarray(pictures, dtype=float), wrong.mean(axis=(1, 2)), has_floor(len(wrong))
    expected = fit(n, errors, floor).error(at)
    weights = _derivatives(n, errors, np.asarray(at, dtype=float), floor)
    halves = [_half(np.asarray(np.tensordot(weight, wrong, axes=1), dtype=float), groups) for weight in weights]
    pairs = zip(expected.tolist(), halves, strict=True)
    return [(error, (max(error - half, 0.0), min(error + half, 1.0))) for error, half in pairs]


def _law(x: NDArray[np.float64], a: float, b: float, c: float) -> NDArray[np.float64]:
    return a * x**-b + c


def _half(values: NDArray[np.float64], groups: ArrayLike) -> float:
    low, high = crossed_mean(values, groups).interval()
    return (high - low) / 2


def _derivatives(
    n: NDArray[np.float64], errors: NDArray[np.float64], at: NDArray[np.float64], floor: bool
) -> NDArray[np.float64]:
    """Return the derivatives of the fitted errors at `at` with respect to the measured errors, shape (at, sizes)."""
    columns = []
    for i, error in enumerate(errors):
        up, down = errors.copy(), errors.copy()
        up[i], down[i] = error * (1 + _STEP), error * (1 - _STEP)
        columns.append((fit(n, up, floor).error(at) - fit(n, down, floor).error(at)) / (2 * _STEP * error))
    return np.stack(columns, axis=1)
