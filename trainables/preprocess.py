"""Preprocess images for the model beside this file, with the values of preprocessing.json, Pillow and NumPy.

    import timm, torch
    from preprocess import inputs

    model = timm.create_model("local-dir:.", pretrained=True).eval()
    logits = model(torch.from_numpy(inputs(["photo.jpg"])))  # (1, classes), in the order of labels.json

temperature.json holds the temperature T: the confidences are `softmax(logits / T)`. Each step is a function below:

1. `decoded` takes the first frame, rotates it upright as its EXIF orientation says, puts transparent parts on white and
   converts to 8-bit RGB. Grayscale of more than 8 bits is scaled: integers from `black` to `white` become 0 to 255, and
   so do floats in the range `floats`. If `white` is null, 16-bit files are scaled from 0 to 65,535. Other files, and
   floats if `floats` is null, are scaled from their own darkest to their own brightest pixel.
2. `reduced` resizes an image to a shorter side of `stored_side`, if that is longer (Lanczos).
3. `cut` takes the center square whose side is `crop_pct` of the shorter side, resized to `size` (`interpolation`).
4. `inputs` returns (values - 255 `mean`) * (1 / (255 `std`)), channels first.

The study that trained the model uses the same functions.
"""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, TiffImagePlugin

Box = tuple[float, float, float, float]  # left, top, right, bottom, in pixels
Range = tuple[float, float]  # black, white

# The EXIF orientation (2 to 8), and the operation that makes an image upright.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# TIFF tags, and some of their values.
BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339
WHITE_IS_ZERO, UNSIGNED = 0, 1


def inputs(sources: Sequence[str | Path | bytes], numbers: dict[str, Any] | None = None) -> NDArray[np.float32]:
    """Return the input of the model, shape (n, 3, size, size); a source is a path, or the bytes of an image file."""
    numbers = numbers or read_numbers()
    views = []
    for source in sources:
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
        pixels = reduced(decoded(data, numbers), numbers["stored_side"])
        height, width, _ = pixels.shape
        box = center_square(height, width, numbers["crop_pct"])
        views.append(cut(pixels, box, numbers["size"], numbers["interpolation"]))
    mean, std = (np.asarray(numbers[name], dtype=np.float32) * np.float32(255) for name in ("mean", "std"))
    x = (np.stack(views).astype(np.float32) - mean) * (np.float32(1) / std)
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2), dtype=np.float32)


def read_numbers(folder: Path = Path(__file__).parent) -> dict[str, Any]:
    return json.loads((folder / "preprocessing.json").read_text(encoding="utf-8"))


def decoded(data: bytes, numbers: dict[str, Any]) -> NDArray[np.uint8]:
    """Decode an image file to upright, opaque 8-bit RGB, shape (height, width, 3)."""
    with Image.open(io.BytesIO(data)) as image:
        tags = _first_numbers(image)
        image.load()
        if is_deep(image.mode):
            values = samples(image, tags)
            rgb = gray(image, values, _range(image.mode, numbers) or own_range(values), tags)
        else:
            rgb = opaque(image, data)
        return np.array(upright(rgb, image))


def is_deep(mode: str) -> bool:
    """Whether a Pillow mode has more than 8 bits of gray."""
    return mode in ("I", "F") or mode.startswith("I;16")


def opaque(image: Image.Image, data: bytes) -> Image.Image:
    """Return an image in RGB, with transparent parts on white; `data` are the bytes of its file."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    if image.format == "PNG" and image.mode == "RGB" and data[24] == 16:
        # Pillow reduces 16-bit samples to 8 bits, but not the color that is transparent.
        image.info["transparency"] = tuple(value >> 8 for value in image.info["transparency"])
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def samples(image: Image.Image, tags: dict[int, int]) -> NDArray:
    """Return the values of a deep image, shape (height, width); `tags` come from a TIFF, else they are empty."""
    values = np.asarray(image)
    if image.mode == "I" and tags.get(BITS_PER_SAMPLE) == 32 and tags.get(SAMPLE_FORMAT, UNSIGNED) == UNSIGNED:
        return values.view(np.uint32)  # Pillow reads unsigned samples as signed
    return values


def own_range(values: NDArray) -> Range:
    """Return the black and white of a deep image if nothing else is known about its range."""
    return (0.0, 65535.0) if values.dtype.itemsize == 2 else extent(values)


def extent(values: NDArray) -> Range:
    """Return the darkest and the brightest sample."""
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def gray(image: Image.Image, values: NDArray, known: Range, tags: dict[int, int]) -> Image.Image:
    """Return a deep image in RGB, with its `values` scaled from the range `known` to 0 to 255.

    Pillow's own convert() clips at 255, so a 16-bit scan becomes white. It also ignores that white may be stored as 0.
    """
    black, white = known
    scaled = (values.astype(np.float64) - black) / max(white - black, np.finfo(np.float64).tiny)
    if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:
        scaled = 1 - scaled
    levels = np.rint(np.clip(np.nan_to_num(scaled), 0, 1) * 255).astype(np.uint8)
    if "transparency" in image.info:  # a PNG may declare one gray level transparent
        levels[values == image.info["transparency"]] = 255
    return Image.fromarray(levels).convert("RGB")


def upright(rgb: Image.Image, image: Image.Image) -> Image.Image:
    """Rotate or mirror `rgb` as the EXIF data of `image` says."""
    turn = orientation(image)
    return rgb.transpose(UPRIGHT[turn]) if turn in UPRIGHT else rgb


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8.

    It is only read: Pillow's exif_transpose writes EXIF back, which fails on much that cameras write.
    """
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # a damaged EXIF block may raise anything, and counts as none
        return 1


def reduced(pixels: NDArray[np.uint8], short_side: int) -> NDArray[np.uint8]:
    """Resize an image (height, width, 3) to a shorter side of `short_side` pixels, if it is longer."""
    height, width = pixels.shape[:2]
    size = reduced_size(width, height, short_side)
    if size == (width, height):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))


def reduced_size(width: int, height: int, short_side: int) -> tuple[int, int]:
    """Return the width and height of `reduced`, in pixels."""
    scale = min(1.0, short_side / min(width, height))
    return round(width * scale), round(height * scale)


def center_square(height: int, width: int, crop: float) -> Box:
    """Return the part of an image that the model sees; `crop` is its share of the shorter side."""
    side = crop * min(height, width)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def cut(pixels: NDArray[np.uint8], box: Box, size: int, interpolation: str) -> NDArray[np.uint8]:
    """Crop a box from an image and resize it in one resampling, shape (size, size, 3)."""
    resampling = Image.Resampling[interpolation.upper()]
    return np.asarray(Image.fromarray(pixels).resize((size, size), resampling, box=box))


def _first_numbers(image: Image.Image) -> dict[int, int]:
    """Return the first number of every TIFF tag that holds integers; empty for other formats."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return {}
    first = {tag: value[0] if isinstance(value, tuple) and value else value for tag, value in image.tag_v2.items()}
    return {tag: value for tag, value in first.items() if isinstance(value, int)}


def _range(mode: str, numbers: dict[str, Any]) -> Range | None:
    if mode == "F":
        return tuple(numbers["floats"]) if numbers.get("floats") else None
    return (numbers["black"], numbers["white"]) if numbers.get("white") is not None else None
