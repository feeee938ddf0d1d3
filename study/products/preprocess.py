"""How an image goes into the model beside this file, by the numbers of preprocessing.json; Pillow and NumPy do it.

    import timm, torch
    from preprocess import inputs

    model = timm.create_model("local-dir:.", pretrained=True).eval()
    logits = model(torch.from_numpy(inputs(["photo.jpg"])))  # (1, classes), in the order of labels.json

temperature.json holds the T of `softmax(logits / T)`, the confidences. Step by step, each a function below:

1. `decoded`: the first frame, turned upright as its EXIF data says, transparent parts on white, 8-bit RGB. Where there
   are more than 8 bits of gray, whole numbers from `black` to `white` become 0 to 255, and floats those of `floats`;
   null stands for 65,535 in files of 16 bits, and for the darkest and the brightest pixel of other files.
2. `reduced`: where the shorter side is longer than `stored_side`, it becomes that (Lanczos).
3. `view`: the center square whose side is `crop_pct` of the shorter side, resized to `size` (`interpolation`).
4. `inputs`: values minus 255 `mean`, times 1 / (255 `std`), channels first.
"""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, TiffImagePlugin

Source = str | Path | bytes  # a file, or what one holds

# EXIF's orientation (2 to 8), and what brings an image of it upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Of TIFF.
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339
_WHITE_IS_ZERO, _UNSIGNED = 0, 1


def inputs(sources: Sequence[Source], numbers: dict[str, Any] | None = None) -> NDArray[np.float32]:
    """What the model takes, shape (n, 3, size, size)."""
    numbers = numbers or read_numbers()
    views = [view(reduced(decoded(source, numbers), numbers), numbers) for source in sources]
    mean, std = (np.float32(numbers[name]) * np.float32(255) for name in ("mean", "std"))
    x = (np.stack(views).astype(np.float32) - mean) * (np.float32(1) / std)
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


def decoded(source: Source, numbers: dict[str, Any]) -> NDArray[np.uint8]:
    """An image as it is meant to be seen, shape (height, width, 3)."""
    data = source if isinstance(source, bytes) else Path(source).read_bytes()
    with Image.open(io.BytesIO(data)) as image:
        tags = dict(image.tag_v2) if isinstance(image, TiffImagePlugin.TiffImageFile) else {}
        image.load()
        is_deep = image.mode in ("I", "F") or image.mode.startswith("I;16")
        seen = Image.fromarray(_gray(image, tags, numbers)).convert("RGB") if is_deep else _opaque(image, data)
        return np.array(seen.transpose(_UPRIGHT[turn]) if (turn := _orientation(image)) in _UPRIGHT else seen)


def reduced(pixels: NDArray[np.uint8], numbers: dict[str, Any]) -> NDArray[np.uint8]:
    """The image as the study kept it."""
    height, width = pixels.shape[:2]
    scale = min(1.0, numbers["stored_side"] / min(width, height))
    size = round(width * scale), round(height * scale)
    if size == (width, height):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))


def view(pixels: NDArray[np.uint8], numbers: dict[str, Any]) -> NDArray[np.uint8]:
    """What the model sees of it, shape (size, size, 3)."""
    height, width = pixels.shape[:2]
    side = numbers["crop_pct"] * min(height, width)
    left, top = (width - side) / 2, (height - side) / 2
    filter = Image.Resampling[numbers["interpolation"].upper()]
    size = numbers["size"], numbers["size"]
    return np.asarray(Image.fromarray(pixels).resize(size, filter, box=(left, top, left + side, top + side)))


def read_numbers(folder: Path = Path(__file__).parent) -> dict[str, Any]:
    return json.loads((folder / "preprocessing.json").read_text(encoding="utf-8"))


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # a broken block of EXIF says nothing
        return 1


def _opaque(image: Image.Image, data: bytes) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    if image.format == "PNG" and image.mode == "RGB" and data[24] == 16:  # Pillow reduces samples of 16 bits, only them
        image.info["transparency"] = tuple(value >> 8 for value in image.info["transparency"])
    seen = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen).convert("RGB")


def _gray(image: Image.Image, tags: dict[int, Any], numbers: dict[str, Any]) -> NDArray[np.uint8]:
    values = np.asarray(image)
    if image.mode == "I" and tags.get(_BITS) == (32,) and tags.get(_SAMPLE_FORMAT, (_UNSIGNED,)) == (_UNSIGNED,):
        values = values.view(np.uint32)
    black, white = _range(values, image.mode, numbers)
    scaled = (values.astype(np.float64) - black) / max(white - black, np.finfo(np.float64).tiny)
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        scaled = 1 - scaled
    gray = np.rint(np.clip(np.nan_to_num(scaled), 0, 1) * 255).astype(np.uint8)
    if "transparency" in image.info:  # one gray of a PNG, seen on white
        gray[values == image.info["transparency"]] = 255
    return gray


def _range(values: NDArray, mode: str, numbers: dict[str, Any]) -> tuple[float, float]:
    if mode == "F" and numbers.get("floats"):
        black, white = numbers["floats"]
    elif mode != "F" and numbers.get("white") is not None:
        black, white = numbers["black"], numbers["white"]
    elif values.dtype.itemsize == 2:
        black, white = 0.0, 65535.0
    else:
        finite = values[np.isfinite(values)]
        black, white = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    return float(black), float(white)
