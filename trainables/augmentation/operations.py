"""The operations of RandAugment and TrivialAugment on an image, as functions of a magnitude in [-1, 1].

The list and the strongest magnitudes are those of TrivialAugment's "RA" space (Müller and Hutter 2021, table 5, which
takes them from Cubuk et al. 2020). Operations without a direction use the magnitude's size.
"""

from collections.abc import Callable

from PIL import Image, ImageEnhance, ImageOps

Colour = tuple[int, int, int]
Operation = Callable[[Image.Image, float, Colour], Image.Image]
# At magnitude 1: shear, share of the side, degrees, the factor beyond 1, gray levels taken away.
_SHEAR, _SHIFT, _DEGREES, _ENHANCE = 0.3, 0.45, 30.0, 0.9
_POSTERIZE_BITS, _LEVELS = 4, 256


def _affine(image: Image.Image, matrix: tuple[float, ...], fill: Colour) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=fill)


def _enhanced(kind: type) -> Operation:
    return lambda image, magnitude, _: kind(image).enhance(1 + _ENHANCE * magnitude)


OPERATIONS: dict[str, Operation] = {
    "identity": lambda image, magnitude, fill: image,
    "autocontrast": lambda image, magnitude, fill: ImageOps.autocontrast(image),
    "equalize": lambda image, magnitude, fill: ImageOps.equalize(image),
    "rotate": lambda image, magnitude, fill: image.rotate(
        _DEGREES * magnitude, Image.Resampling.BILINEAR, fillcolor=fill
    ),
    "solarize": lambda image, magnitude, fill: ImageOps.solarize(image, round(_LEVELS * (1 - abs(magnitude)))),
    "posterize": lambda image, magnitude, fill: ImageOps.posterize(image, 8 - round(_POSTERIZE_BITS * abs(magnitude))),
    "colour": _enhanced(ImageEnhance.Color),
    "contrast": _enhanced(ImageEnhance.Contrast),
    "brightness": _enhanced(ImageEnhance.Brightness),
    "sharpness": _enhanced(ImageEnhance.Sharpness),
    "shear x": lambda image, magnitude, fill: _affine(image, (1, _SHEAR * magnitude, 0, 0, 1, 0), fill),
    "shear y": lambda image, magnitude, fill: _affine(image, (1, 0, 0, _SHEAR * magnitude, 1, 0), fill),
    "shift x": lambda image, magnitude, fill: _affine(image, (1, 0, _SHIFT * magnitude * image.width, 0, 1, 0), fill),
    "shift y": lambda image, magnitude, fill: _affine(image, (1, 0, 0, 0, 1, _SHIFT * magnitude * image.height), fill),
}
NAMES = tuple(OPERATIONS)


def operate(image: Image.Image, which: float, magnitude: float, fill: Colour) -> Image.Image:
    """The operation at the share `which` in [0, 1) of the list."""
    return OPERATIONS[NAMES[int(which * len(NAMES))]](image, magnitude, fill)
