"""What the winner looked at: Grad-CAM's heat maps, and images of them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from study.products.best import Best, views
from trainables.nets.gradcam import Box, heat_maps
from trainables.preprocess import center_square

_AT_ONCE = 8  # images whose gradients are held together
# From little to much heat, each lighter than the one before, and told apart by the color blind (IBM's palette).
_COLOURS = np.array([(100, 143, 255), (120, 94, 240), (220, 38, 127), (254, 97, 0), (255, 176, 0)], dtype=np.float32)
_OPACITY = 0.8  # of the greatest heat
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601
# What the net did not see is faded to this share of its contrast.
_UNSEEN = 0.35


def explain(best: Best, pictures: Sequence[NDArray[np.uint8]], classes: Sequence[int]) -> NDArray[np.float32]:
    """What in the view of each prepared image speaks for its class, in 0 to 1, shape (n, size, size)."""
    some = [slice(first, first + _AT_ONCE) for first in range(0, len(pictures), _AT_ONCE)]
    parts = [heat_maps(best.net, views(best, pictures[each]), list(classes[each])) for each in some]
    return np.concatenate(parts) if parts else np.empty((0, best.size, best.size), dtype=np.float32)


def overlay(picture: NDArray[np.uint8], heat: NDArray[np.floating], crop: float) -> Image.Image:
    """The heat in color on the image (h, w, 3) in gray; what the view left out is faded.

    It is opaque and dark only where the image is, so it reads on light and on dark pages.
    """
    height, width = picture.shape[:2]
    left, top, right, bottom = (round(edge) for edge in center_square(height, width, crop))
    size = max(right - left, 1), max(bottom - top, 1)
    fitted = np.asarray(Image.fromarray(heat.astype(np.float32)).resize(size, Image.Resampling.BILINEAR))
    seen = (slice(top, top + size[1]), slice(left, left + size[0]))
    drawn = np.repeat((picture.astype(np.float32) @ _LUMA)[..., None], 3, axis=2)
    grey, alpha = drawn[seen], np.clip(fitted, 0, 1)[..., None] * _OPACITY
    coloured = grey * (1 - alpha) + _colours(fitted) * alpha
    drawn = 128 + (drawn - 128) * _UNSEEN
    drawn[seen] = coloured
    return Image.fromarray(np.clip(drawn + 0.5, 0, 255).astype(np.uint8))


def in_view(box: Box, height: int, width: int, crop: float, size: int) -> Box:
    """A box in pixels of an image of this size, in those of its evaluation view; parts of it may lie outside."""
    left, top, right, bottom = center_square(height, width, crop)
    across, down = size / (right - left), size / (bottom - top)
    return (box[0] - left) * across, (box[1] - top) * down, (box[2] - left) * across, (box[3] - top) * down


def _colours(heat: NDArray[np.floating]) -> NDArray[np.float32]:
    """A color for each value in 0 to 1, shape (h, w, 3)."""
    stops = np.linspace(0, 1, len(_COLOURS))
    return np.stack([np.interp(heat, stops, channel) for channel in _COLOURS.T], axis=-1).astype(np.float32)
