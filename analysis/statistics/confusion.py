"""Readable large confusion matrices: an order of the classes, and blocks of confused classes.

A confusion matrix is a frame of counts, true class (rows) by predicted class (columns), over the same classes.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

# A group of classes is a block if the mean confusion of pairs across its last split is at least this share and at
# least this many times the mean of all pairs: if all classes are confused equally, no block stands out.
BLOCK_SHARE, BLOCK_TIMES = 0.02, 3.0


def arranged(confusion: pd.DataFrame) -> tuple[pd.DataFrame, list[range]]:
    """Reorder a confusion matrix so that confused classes are neighbors.

    The order comes from average linkage on the mutual confusions, with optimal leaf ordering.

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
    """Return the blocks of an arranged matrix, the block with the most inside errors first.

    Columns block (a number from 1), label (its classes), first (its position), size, right (accuracy on its images),
    inside (errors whose predicted class is in the block) and share (`inside` divided by all its errors).
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
    """Return the mean share of images predicted as the other class for each pair, shape (K, K); 0 on the diagonal."""
    counts = confusion.to_numpy(float)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    np.fill_diagonal(shares, 0)
    return (shares + shares.T) / 2
