"""Which trials beat which, without a model: two trials are compared at the last checkpoint that both reached.

A trial that was stopped is not compared at an epoch it never saw, nor left out; a failed one loses to all others.
The same comparison of pairs is Gehan's for censored data (Biometrika 52:203, 1965).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.statistics.contrasts import interval

Array = NDArray[np.float64]

MOST_COMPARED = 2000  # trials; of more, as many are drawn, always the same ones


@dataclass(frozen=True)
class Wins:
    """Wins minus losses of each trial against those of each cell, as a share: (trials, cells) from -1 to 1."""

    share: Array
    cells: NDArray[np.int64]  # (trials,)


def compared(n: int) -> NDArray[np.int64]:
    """Which of n trials are compared in pairs."""
    if n <= MOST_COMPARED:
        return np.arange(n)
    return np.sort(np.random.default_rng(0).permutation(n)[:MOST_COMPARED])


def beats(values: Array, failed: NDArray[np.bool_]) -> NDArray[np.float32]:
    """1 where the trial of the row beats that of the column, -1 where it loses; `values` (trials, checkpoints)."""
    last = np.where(failed, -1, np.isfinite(values).sum(axis=1) - 1)  # gaps come last
    won = np.zeros((len(values), len(values)), np.float32)
    for checkpoint, column in enumerate(values.T):
        here, both = np.flatnonzero(last == checkpoint), np.flatnonzero(last >= checkpoint)
        mine, theirs = column[here][:, None], column[both][None]
        sign = (mine > theirs).astype(np.float32) - (mine < theirs)
        won[np.ix_(here, both)] = sign
        won[np.ix_(both, here)] = -sign.T
    won[np.ix_(~failed, failed)], won[np.ix_(failed, ~failed)] = 1, -1
    return won


def against(won: NDArray[np.float32], cells: NDArray[np.int64], count: int) -> Wins:
    """`cells` numbers each trial's cell; a cell without trials is neither beaten nor beats."""
    member = (cells[:, None] == np.arange(count)).astype(np.float32)
    share = won @ member / np.maximum(member.sum(axis=0), 1)
    return Wins(share.astype(float), cells)


def contrasts(wins: Wins, at: NDArray[np.int64], weights: Array) -> tuple[Array, Array, Array]:
    """Estimate, low and high of weighted means of cell against cell, each of shape (contrasts,).

    Contrast k concerns the cells `at[k]`, (contrasts, m); `weights` (contrasts, m, m) are antisymmetric: w at (p, q)
    and -w at (q, p) weigh p's wins over q by w. The variance is DeLong's (Biometrics 44:837, 1988), the degrees of
    freedom Welch and Satterthwaite's. One tie against everybody is added to each cell, or cells that never lose
    would seem to be known exactly.
    """
    count = wins.share.shape[1]
    sizes = np.bincount(wins.cells, minlength=count) + 1.0
    means, spread = np.zeros((count, count)), np.zeros((count, count, count))
    for cell in range(count):
        mine = wins.share[wins.cells == cell]
        means[cell] = mine.sum(axis=0) / sizes[cell]
        spread[cell] = mine.T @ mine / sizes[cell] - np.outer(means[cell], means[cell])
    row, column, other = at[:, :, None, None], at[:, None, :, None], at[:, None, None, :]
    estimate = (weights * means[row[..., 0], column[..., 0]]).sum(axis=(1, 2)) / 2
    spare = sizes[at] - 1
    parts = np.einsum("kcq,kcqr,kcr->kc", weights, spread[row, column, other], weights) / np.maximum(spare, 1)
    parts = np.maximum(parts, 0)
    variance, weighed = parts.sum(axis=1), (parts**2 / np.maximum(spare, 1)).sum(axis=1)
    df = np.divide(variance**2, weighed, out=np.ones_like(variance), where=weighed > 0)
    low, high = interval(estimate, np.sqrt(variance), np.maximum(df, 1))
    return estimate, np.maximum(low, -1), np.minimum(high, 1)
