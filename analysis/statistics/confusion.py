"""Large confusion matrices made readable: an order of the classes, and blocks of classes confused with one another.

A confusion is a frame of counts, rows the true class, columns the predicted one, over the same classes.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

# A group of classes is a block where the mean pair across its last division is confused as often as this, and as this
# many times the mean pair of the whole matrix: where all classes are confused alike, no block stands out.
BLOCK_SHARE, BLOCK_TIMES = 0.02, 3.0


def arranged(confusion: pd.DataFrame) -> tuple[pd.DataFrame, list[range]]:
    """Reorder a confusion matrix so that confused classes are neighbors.

    The order is that of average linkage on the mutual confusions, with optimal leaf ordering.

    Returns:
        The matrix, unchanged if no class is confused with another, and the positions of its blocks.
    """
    mutual = _mutual(confusion)
    if len(confusion) < 3 or not mutual.any():
        return confusion, []
    tree = hierarchy.linkage(squareform(1 - mutual, checks=False), "average", optimal_ordering=True)
    order = hierarchy.leaves_list(tree)
    least = max(BLOCK_SHARE, BLOCK_TIMES * mutual.sum() / (len(mutual) * (len(mutual) - 1)))
    numbers = hierarchy.fcluster(tree, 1 - least, criterion="distance")[order]
    starts = np.flatnonzero(np.diff(numbers, prepend=-1))
    ends = np.append(starts[1:], len(order))
    blocks = [range(start, end) for start, end in zip(starts.tolist(), ends.tolist(), strict=True) if end - start > 1]
    return confusion.iloc[list(order), list(order)], blocks


def block_table(confusion: pd.DataFrame, blocks: list[range], names: pd.Series) -> pd.DataFrame:
    """Return the blocks of an arranged matrix, those with most errors inside first.

    Columns block (a number from 1), label (its classes), first (its position), size, right (accuracy on its images),
    inside (errors that stay in the block) and share (`inside` of all its errors).
    """
    counts = confusion.to_numpy()
    rows = []
    for block in blocks:
        own = counts[block.start : block.stop]
        within = own[:, block.start : block.stop]
        right = np.trace(within)
        label = ", ".join(map(str, names.reindex(confusion.index[block.start : block.stop])))
        inside, wrong = within.sum() - right, own.sum() - right
        rows.append((label, block.start, len(block), right / max(own.sum(), 1), inside, inside / max(wrong, 1)))
    table = pd.DataFrame(rows, columns=["label", "first", "size", "right", "inside", "share"])
    table = table.sort_values(["inside", "share"], ascending=False, kind="stable").reset_index(drop=True)
    table.insert(0, "block", np.arange(1, len(table) + 1))
    return table


def _mutual(confusion: pd.DataFrame) -> NDArray[np.float64]:
    """For each pair of classes, the mean share of one predicted as the other; 0 on the diagonal; shape (K, K)."""
    counts = confusion.to_numpy(float)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    np.fill_diagonal(shares, 0)
    return (shares + shares.T) / 2
