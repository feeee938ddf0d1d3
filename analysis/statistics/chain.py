"""Means of cells at the last of several checkpoints, where many trials were stopped on the way there.

A trial is stopped for what it had reached, so those that go on are a selection and their means mislead. But what
it had reached is known, and given that, stopping says no more about how it would have gone on (missing at random).
So the way is walked checkpoint by checkpoint: all trials give the cells' means at the first; those alive at the
next one, stopping or not having been the others' lot, give how it follows from the one before; the means are carried
along that line. This is the maximum-likelihood estimate for monotone gaps (Anderson, JASA 52:200, 1957).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Means:
    """Estimates of shape (cells,), how they vary together, and which of them the design tells apart."""

    values: Array
    covariance: Array  # heteroscedasticity-consistent (HC3), through all checkpoints
    df: float  # of the checkpoint with the fewest trials to spare
    told_apart: Array  # (cells, columns of the design): a contrast c can be estimated where c @ told_apart == c


def cell_means(values: Array, design: Array, cells: int, reductions: Sequence[Array]) -> Means | None:
    """Means of the first `cells` columns of `design`, indicators that sum to one, with the others at zero.

    `values` (trials, checkpoints) may have gaps from some checkpoint on, none at the first. `reductions` are
    matrices (columns, fewer columns) of ever simpler models, for checkpoints that few trials reach: what such a
    model leaves out is taken to go on as before. None where even the simplest cannot be fitted.
    """
    first = _fit(design, values[:, 0])
    if first.spare < 2:
        return None
    means, influence, spare = first.coefficients, first.influence, first.spare
    every = np.arange(len(values))
    for before, now in zip(values.T[:-1], values.T[1:], strict=True):
        alive = every[np.isfinite(now)]
        found = _step(design[alive], before[alive], now[alive], reductions)
        if found is None:
            return None
        reduction, step = found
        slope = step.coefficients[-1]
        influence = slope * influence
        influence[alive] += step.influence[:, :-1] @ reduction.T + np.outer(step.influence[:, -1], means)
        means, spare = reduction @ step.coefficients[:-1] + slope * means, min(spare, step.spare)
    covariance = influence[:, :cells].T @ influence[:, :cells]
    return Means(means[:cells], covariance, float(spare), first.told_apart[:cells])


@dataclass(frozen=True)
class _Fit:
    coefficients: Array
    influence: Array  # (rows, columns): what each row moves them by, HC3's (MacKinnon and White 1985)
    spare: int  # rows beyond the columns that are told apart
    told_apart: Array  # projector on the row space: the identity where all columns are

    @property
    def whole(self) -> bool:
        return len(self.influence) - self.spare == self.influence.shape[1]


def _step(design: Array, before: Array, now: Array, reductions: Sequence[Array]) -> tuple[Array, _Fit] | None:
    """How a checkpoint follows from the one before, by the richest model that its trials bear.

    A model must leave at least as many trials as it has coefficients, and all its columns must be told apart.
    """
    for reduction in reductions:
        width = reduction.shape[1] + 1
        if len(now) >= max(2 * width, width + 3):
            step = _fit(np.column_stack([design @ reduction, before]), now)
            if step.whole:
                return reduction, step
    return None


def _fit(design: Array, values: Array) -> _Fit:
    """Least squares through the normal equations: columns are few and of size one."""
    square = design.T @ design
    inverse = np.linalg.pinv(square, rcond=1e-10, hermitian=True)
    reach = design @ inverse
    coefficients = reach.T @ values
    leverage = np.clip((reach * design).sum(axis=1), 0, 1 - 1e-6)
    moved = (values - design @ coefficients) / (1 - leverage)
    told_apart = inverse @ square
    return _Fit(coefficients, reach * moved[:, None], len(values) - round(float(told_apart.trace())), told_apart)
