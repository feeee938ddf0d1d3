"""Annotated bounding boxes of the labeled objects."""

from typing import NamedTuple


class Box(NamedTuple):
    """Edges in pixels as annotated, from 0 or from 1: annotators disagree by more than one pixel anyway."""

    left: int
    top: int
    right: int
    bottom: int


def fit(box: Box | None, width: int, height: int, turned: bool) -> Box | None:
    """Clip a box to its decoded image; return None if nothing is left.

    An image that is stored rotated loses its box, because its annotator may have seen either orientation.
    """
    if box is None or turned:
        return None
    clipped = Box(max(box.left, 0), max(box.top, 0), min(box.right, width), min(box.bottom, height))
    return clipped if clipped.left < clipped.right and clipped.top < clipped.bottom else None
