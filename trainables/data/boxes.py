"""Annotated boxes: where in a picture the thing lies that its label names."""

import io
from typing import NamedTuple

from PIL import ExifTags, Image

from trainables.data.images import FORMATS


class Box(NamedTuple):
    """Edges in pixels as they were annotated: from 0 or from 1, which is less than annotators differ by."""

    left: int
    top: int
    right: int
    bottom: int


def fit(box: Box | None, data: bytes, width: int, height: int) -> Box | None:
    """The box clipped to its decoded picture; None where nothing of it is left.

    A picture that is stored turned loses its box: which way up its annotator saw it is not known.
    """
    if box is None or _is_turned(data):
        return None
    clipped = Box(max(box.left, 0), max(box.top, 0), min(box.right, width), min(box.bottom, height))
    return clipped if clipped.left < clipped.right and clipped.top < clipped.bottom else None


def _is_turned(data: bytes) -> bool:
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        return image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9)  # 1 is upright, the rest undefined
