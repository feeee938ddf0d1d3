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
    if len(values) < 3 or len(values) - np.linalg.matrix_rank(design) < 2:
        return None
    means, influence, spare = _fit(design, values[:, 0])
    every = np.arange(len(values))
    for previous, now in zip(values.T[:-1], values.T[1:], strict=True):
        alive = every[np.isfinite(now)]
        step = _step(design[alive], previous[alive], now[alive], reductions)
        if step is None:
            return None
        change, moves, slope, slope_moves, left = step
        grown = slope * influence
        grown[alive] += moves + np.outer(slope_moves, means)
        means, influence, spare = change + slope * means, grown, min(spare, left)
    row_space = np.linalg.pinv(design) @ design
    covariance = influence[:, :cells].T @ influence[:, :cells]
    return Means(means[:cells], covariance, float(spare), row_space[:cells])


def _step(design: Array, before: Array, now: Array, reductions: Sequence[Array]) -> tuple | None:
    """How a checkpoint follows from the one before, by the richest model that its trials bear.

    A model must leave twice as many trials as it has coefficients, and its columns must stay distinguishable.
    """
    for reduction in reductions:
        columns = np.column_stack([design @ reduction, before])
        width = columns.shape[1]
        if len(now) >= max(2 * width, width + 3) and np.linalg.matrix_rank(columns) == width:
            coefficients, influence, spare = _fit(columns, now)
            change, moves = reduction @ coefficients[:-1], influence[:, :-1] @ reduction.T
            return change, moves, coefficients[-1], influence[:, -1], spare
    return None


def _fit(design: Array, values: Array) -> tuple[Array, Array, int]:
    """Least squares: coefficients, what each trial moves them by (HC3's, MacKinnon and White 1985), and spare rows."""
    inverse = np.linalg.pinv(design.T @ design)
    reach = design @ inverse
    coefficients = reach.T @ values
    leverage = np.clip((reach * design).sum(axis=1), 0, 1 - 1e-6)
    residual = values - design @ coefficients
    spare = len(values) - int(np.linalg.matrix_rank(design))
    return coefficients, reach * (residual / (1 - leverage))[:, None], spare
