"""The images that an epoch draws, and their order. Draws are keyed and use no global random state."""

import numpy as np
from numpy.typing import NDArray

from trainables.keyed import key, order

Items = NDArray[np.int64]


def uniform_draws(stream: int, items: Items, count: int) -> tuple[Items, Items]:
    """Draw `count` items in keyed passes over all of them.

    Returns:
        The items (count,) and the pass that each belongs to (count,): its occurrence in the epoch.
    """
    passes = -(-count // len(items))
    drawn = np.concatenate([order(key("pass", stream, i), items) for i in range(passes)])
    return drawn[:count], np.repeat(np.arange(passes), len(items))[:count]


def class_balanced_draws(stream: int, items: Items, labels: Items, count: int) -> tuple[Items, Items]:
    """Draw `count` items, every class equally often to plus or minus one; `labels` are those of `items`.

    Images of a small class repeat within the epoch. Every repetition is another occurrence, so it is another view.

    Returns:
        The items (count,) and their occurrences in the epoch (count,).
    """
    classes = order(key("classes", stream), np.unique(labels))
    drawn, occurrence = [], []
    for place, label in enumerate(classes.tolist()):
        share = count // len(classes) + (place < count % len(classes))
        if share:
            own, passes = uniform_draws(key("class", stream, label), items[labels == label], share)
            drawn.append(own)
            occurrence.append(passes)
    mixed = order(key("mixed classes", stream), np.arange(count))
    return np.concatenate(drawn)[mixed], np.concatenate(occurrence)[mixed]
