"""Explain the winner's predictions with Grad-CAM heat maps."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from study.products.best import Best, views
from trainables.nets.gradcam import Box, heat_maps
from trainables.preprocess import center_square

_AT_ONCE = 8  # images whose gradients are held together
# From low to high heat. Color-blind readers can distinguish them (IBM's palette).
_COLORS = np.array([(100, 143, 255), (120, 94, 240), (220, 38, 127), (254, 97, 0), (255, 176, 0)], dtype=np.float32)
_OPACITY = 0.8  # of the maximum heat
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601
# Parts of the image outside the view keep this share of their contrast.
_UNSEEN = 0.35


def explain(best: Best, pictures: Sequence[NDArray[np.uint8]], classes: Sequence[int]) -> NDArray[np.float32]:
    """Return how much each pixel of a view supports the given class of its image.

    Returns:
        Heat in 0 to 1, shape (n, size, size).
    """
    batches = [slice(first, first + _AT_ONCE) for first in range(0, len(pictures), _AT_ONCE)]
    parts = [heat_maps(best.net, views(best, pictures[batch]), list(classes[batch])) for batch in batches]
    return np.concatenate(parts) if parts else np.empty((0, best.size, best.size), dtype=np.float32)


def overlay(picture: NDArray[np.uint8], heat: NDArray[np.floating], crop: float) -> Image.Image:
    """Return the image (h, w, 3) in gray with the heat in color. Parts outside the view are faded."""
    height, width = picture.shape[:2]
    left, top, right, bottom = (round(edge) for edge in center_square(height, width, crop))
    size = max(right - left, 1), max(bottom - top, 1)
    fitted = np.asarray(Image.fromarray(heat.astype(np.float32)).resize(size, Image.Resampling.BILINEAR))
    in_square = (slice(top, top + size[1]), slice(left, left + size[0]))
    gray = np.repeat((picture.astype(np.float32) @ _LUMA)[..., None], 3, axis=2)
    alpha = np.clip(fitted, 0, 1)[..., None] * _OPACITY
    blended = gray[in_square] * (1 - alpha) + _colors(fitted) * alpha
    drawn = 128 + (gray - 128) * _UNSEEN
    drawn[in_square] = blended
    return Image.fromarray(np.clip(drawn + 0.5, 0, 255).astype(np.uint8))


def in_view(box: Box, height: int, width: int, crop: float, size: int) -> Box:
    """Convert a box from pixels of the image to pixels of its evaluation view. It may extend beyond the view."""
    left, top, right, bottom = center_square(height, width, crop)
    across, down = size / (right - left), size / (bottom - top)
    return (box[0] - left) * across, (box[1] - top) * down, (box[2] - left) * across, (box[3] - top) * down


def _colors(heat: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return a color for each heat in 0 to 1, shape (h, w, 3)."""
    stops = np.linspace(0, 1, len(_COLORS))
    return np.stack([np.interp(heat, stops, channel) for channel in _COLORS.T], axis=-1).astype(np.float32)
