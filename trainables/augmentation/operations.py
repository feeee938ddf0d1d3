"""The image operations of RandAugment and TrivialAugment, as functions of a magnitude in [-1, 1].

The operations and their strongest magnitudes come from TrivialAugment's "RA" space (Müller and Hutter 2021, table 5,
after Cubuk et al. 2020). Operations without a direction use the absolute magnitude.
"""

from collections.abc import Callable

from PIL import Image, ImageEnhance, ImageOps

Color = tuple[int, int, int]
Operation = Callable[[Image.Image, float, Color], Image.Image]
# At magnitude 1: shear factor, translation as a share of the side, rotation, change of a factor around 1, bits removed.
_SHEAR, _SHIFT, _DEGREES, _ENHANCE = 0.3, 0.45, 30.0, 0.9
_POSTERIZE_BITS, _LEVELS = 4, 256


def _affine(image: Image.Image, matrix: tuple[float, ...], fill: Color) -> Image.Image:
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
    "color": _enhanced(ImageEnhance.Color),
    "contrast": _enhanced(ImageEnhance.Contrast),
    "brightness": _enhanced(ImageEnhance.Brightness),
    "sharpness": _enhanced(ImageEnhance.Sharpness),
    "shear x": lambda image, magnitude, fill: _affine(image, (1, _SHEAR * magnitude, 0, 0, 1, 0), fill),
    "shear y": lambda image, magnitude, fill: _affine(image, (1, 0, 0, _SHEAR * magnitude, 1, 0), fill),
    "shift x": lambda image, magnitude, fill: _affine(image, (1, 0, _SHIFT * magnitude * image.width, 0, 1, 0), fill),
    "shift y": lambda image, magnitude, fill: _affine(image, (1, 0, 0, 0, 1, _SHIFT * magnitude * image.height), fill),
}
NAMES = tuple(OPERATIONS)


def operate(image: Image.Image, u: float, magnitude: float, fill: Color) -> Image.Image:
    """Apply the operation that a uniform number `u` in [0, 1) selects."""
    return OPERATIONS[NAMES[int(u * len(NAMES))]](image, magnitude, fill)
