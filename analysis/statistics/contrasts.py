"""What one choice changes, and whether another choice changes that: contrasts of the cells of a two-way table."""

from collections.abc import Sequence
from itertools import combinations, product

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]

CORNERS = ["level_a1", "level_a2", "level_b1", "level_b2"]
SIGNS = np.array([1.0, -1.0, -1.0, 1.0])  # of (a1, b1), (a2, b1), (a1, b2), (a2, b2)


def corners(cells: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """Every two-by-two table of the (level of a, level of b) in `cells` that is complete.

    Index: the positions in `cells` of its corners, in the order of `SIGNS`. Levels are paired as they appear.
    """
    at = {pair: row for row, pair in enumerate(cells)}
    levels_a, levels_b = (list(dict.fromkeys(pair[side] for pair in cells)) for side in (0, 1))
    named, where = [], []
    for (a1, a2), (b1, b2) in product(combinations(levels_a, 2), combinations(levels_b, 2)):
        four = [at.get(pair) for pair in ((a1, b1), (a2, b1), (a1, b2), (a2, b2))]
        if None not in four:
            named.append((a1, a2, b1, b2))
            where.append(four)
    index = pd.MultiIndex.from_arrays(np.array(where, dtype=np.int64).reshape(-1, 4).T, names=range(4))
    return pd.DataFrame(named, columns=CORNERS, index=index)


def positions(tables: pd.DataFrame) -> NDArray[np.int64]:
    """The corners of each table of `corners` as an array of shape (tables, 4)."""
    return np.array(list(tables.index), dtype=np.int64).reshape(-1, 4)


def difference_weights(tables: pd.DataFrame, cells: int) -> Array:
    weights = np.zeros((len(tables), cells))
    np.put_along_axis(weights, positions(tables), SIGNS[None], axis=1)
    return weights


def differences_of_differences(tables: pd.DataFrame, cells: Array) -> pd.DataFrame:
    """The tables of `corners` with what `cells`, a value for each cell, say of them.

    `effect_b1` is what a2 has over a1 under b1, `effect_b2` the same under b2, `contrast` the second minus the
    first, and `reverses` says that they differ in sign: which level of a is better depends on b.
    """
    a1_b1, a2_b1, a1_b2, a2_b2 = cells[positions(tables)].T
    effect_b1, effect_b2 = a2_b1 - a1_b1, a2_b2 - a1_b2
    return tables.assign(
        effect_b1=effect_b1, effect_b2=effect_b2, contrast=effect_b2 - effect_b1, reverses=effect_b1 * effect_b2 < 0
    )


def standard_errors(weights: Array, covariance: Array) -> Array:
    return np.sqrt(np.maximum(((weights @ covariance) * weights).sum(axis=1), 0))


def interval(centre: Array, error: Array, df: float | Array) -> tuple[Array, Array]:
    """The 95 % t interval of each estimate."""
    half = stats.t.ppf(0.975, df) * error
    return centre - half, centre + half


def joint_p_value(centre: Array, covariance: Array, df: float) -> float:
    """That all of `centre` are zero, by Hotelling's T squared; 1 where too few trials are to spare for the question."""
    rank = int(np.linalg.matrix_rank(covariance, hermitian=True))
    if rank == 0 or df - rank + 1 < 1:
        return 1.0
    squared = float(centre @ np.linalg.pinv(covariance, hermitian=True, rcond=1e-10) @ centre)
    return float(stats.f.sf(squared * (df - rank + 1) / (df * rank), rank, df - rank + 1))
