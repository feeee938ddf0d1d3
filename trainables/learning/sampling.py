"""Draw the images of an epoch, in order. Draws are keyed, and use no global random state."""

import numpy as np
from numpy.typing import NDArray

from trainables.keyed import key, order

Items = NDArray[np.int64]


def uniform_draws(stream: int, items: Items, count: int) -> tuple[Items, Items]:
    """Draw `count` items in keyed passes over all of them.

    Returns:
        The items (count,) and the number of the pass that drew each (count,), which is its occurrence in the epoch.
    """
    passes = -(-count // len(items))
    drawn = np.concatenate([order(key("pass", stream, i), items) for i in range(passes)])
    return drawn[:count], np.repeat(np.arange(passes), len(items))[:count]


def class_balanced_draws(stream: int, items: Items, labels: Items, count: int) -> tuple[Items, Items]:
    """Draw `count` items, with equal counts per class, plus or minus one; `labels` (n,) belong to `items` (n,).

    Images of a small class repeat within the epoch. Every repetition is a new occurrence, and so a new view.

    Returns:
        The items (count,) and their occurrences in the epoch (count,).
    """
    classes = order(key("classes", stream), np.unique(labels))
    drawn, occurrence = [], []
    for i, label in enumerate(classes.tolist()):
        share = count // len(classes) + (i < count % len(classes))
        if share:
            of_class, passes = uniform_draws(key("class", stream, label), items[labels == label], share)
            drawn.append(of_class)
            occurrence.append(passes)
    shuffled = order(key("mixed classes", stream), np.arange(count))
    return np.concatenate(drawn)[shuffled], np.concatenate(occurrence)[shuffled]
