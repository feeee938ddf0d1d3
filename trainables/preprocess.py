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
3. `cut`: the center square whose side is `crop_pct` of the shorter side, resized to `size` (`interpolation`).
4. `inputs`: values minus 255 `mean`, times 1 / (255 `std`), channels first.

The study that trained the model is built on the same functions.
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

# EXIF's orientation (2 to 8), and what brings an image of it upright.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Tags of TIFF, and values of theirs.
BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339
WHITE_IS_ZERO, UNSIGNED = 0, 1


def inputs(sources: Sequence[str | Path | bytes], numbers: dict[str, Any] | None = None) -> NDArray[np.float32]:
    """What the model takes, shape (n, 3, size, size); a source is a file, or the bytes of one."""
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
    """An image as it is meant to be seen, shape (height, width, 3)."""
    with Image.open(io.BytesIO(data)) as image:
        tags = _first_numbers(image)
        image.load()
        if is_deep(image.mode):
            values = samples(image, tags)
            seen = gray(image, values, _range(image.mode, numbers) or own_range(values), tags)
        else:
            seen = opaque(image, data)
        return np.array(upright(seen, image))


def is_deep(mode: str) -> bool:
    """Whether an image of this mode of Pillow's has more than 8 bits of gray."""
    return mode in ("I", "F") or mode.startswith("I;16")


def opaque(image: Image.Image, data: bytes) -> Image.Image:
    """In RGB, transparent parts on white; `data` is its file."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    if image.format == "PNG" and image.mode == "RGB" and data[24] == 16:  # Pillow reduces samples of 16 bits, only them
        image.info["transparency"] = tuple(value >> 8 for value in image.info["transparency"])
    seen = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen).convert("RGB")


def samples(image: Image.Image, tags: dict[int, int]) -> NDArray:
    """The values of a deep image, shape (height, width); `tags` are those of a TIFF."""
    values = np.asarray(image)
    if image.mode == "I" and tags.get(BITS_PER_SAMPLE) == 32 and tags.get(SAMPLE_FORMAT, UNSIGNED) == UNSIGNED:
        return values.view(np.uint32)  # Pillow reads them as signed
    return values


def own_range(values: NDArray) -> Range:
    """What a deep image is scaled by where nothing else is known."""
    return (0.0, 65535.0) if values.dtype.itemsize == 2 else extent(values)


def extent(values: NDArray) -> Range:
    """The darkest and the brightest sample."""
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def gray(image: Image.Image, values: NDArray, known: Range, tags: dict[int, int]) -> Image.Image:
    """A deep image in RGB, its `values` from black to white as 0 to 255.

    Pillow's own convert() clips at 255, which turns a 16-bit scan white, and knows no white that is zero.
    """
    black, white = known
    scaled = (values.astype(np.float64) - black) / max(white - black, np.finfo(np.float64).tiny)
    if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:
        scaled = 1 - scaled
    seen = np.rint(np.clip(np.nan_to_num(scaled), 0, 1) * 255).astype(np.uint8)
    if "transparency" in image.info:  # one gray of a PNG, seen on white
        seen[values == image.info["transparency"]] = 255
    return Image.fromarray(seen).convert("RGB")


def upright(seen: Image.Image, image: Image.Image) -> Image.Image:
    """What is `seen` of an image, turned as its EXIF data says."""
    turn = orientation(image)
    return seen.transpose(UPRIGHT[turn]) if turn in UPRIGHT else seen


def orientation(image: Image.Image) -> int:
    """Only read: writing EXIF back, as Pillow's exif_transpose does, fails on much that cameras write."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # a broken block may raise anything, and says nothing
        return 1


def reduced(pixels: NDArray[np.uint8], short_side: int) -> NDArray[np.uint8]:
    """An image (height, width, 3) whose shorter side is reduced to `short_side` where it is longer."""
    height, width = pixels.shape[:2]
    size = reduced_size(width, height, short_side)
    if size == (width, height):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))


def reduced_size(width: int, height: int, short_side: int) -> tuple[int, int]:
    scale = min(1.0, short_side / min(width, height))
    return round(width * scale), round(height * scale)


def center_square(height: int, width: int, crop: float) -> Box:
    """What the model sees of an image of this size; `crop` is a share of the shorter side."""
    side = crop * min(height, width)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def cut(pixels: NDArray[np.uint8], box: Box, size: int, interpolation: str) -> NDArray[np.uint8]:
    """A box of an image in one resampling, shape (size, size, 3)."""
    resampling = Image.Resampling[interpolation.upper()]
    return np.asarray(Image.fromarray(pixels).resize((size, size), resampling, box=box))


def _first_numbers(image: Image.Image) -> dict[int, int]:
    """The tags of a TIFF that hold whole numbers, each with its first; of other files none."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return {}
    first = {tag: value[0] if isinstance(value, tuple) and value else value for tag, value in image.tag_v2.items()}
    return {tag: value for tag, value in first.items() if isinstance(value, int)}


def _range(mode: str, numbers: dict[str, Any]) -> Range | None:
    if mode == "F":
        return tuple(numbers["floats"]) if numbers.get("floats") else None
    return (numbers["black"], numbers["white"]) if numbers.get("white") is not None else None
