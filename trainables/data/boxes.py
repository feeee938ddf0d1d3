"""Annotated boxes: where in an image the thing lies that its label names."""

from typing import NamedTuple


class Box(NamedTuple):
    """Edges in pixels as they were annotated: from 0 or from 1, which is less than annotators differ by."""

    left: int
    top: int
    right: int
    bottom: int


def fit(box: Box | None, width: int, height: int, turned: bool) -> Box | None:
    """The box clipped to its decoded image; None where nothing of it is left.

    An image that is stored turned loses its box: which way up its annotator saw it is not known.
    """
    if box is None or turned:
        return None
    clipped = Box(max(box.left, 0), max(box.top, 0), min(box.right, width), min(box.bottom, height))
    return clipped if clipped.left < clipped.right and clipped.top < clipped.bottom else None
