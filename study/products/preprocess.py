"""How an image goes into the model beside this file, by the numbers of preprocessing.json; Pillow and NumPy do it.

    import timm, torch
    from preprocess import inputs

    model = timm.create_model("local-dir:.", pretrained=True).eval()
    logits = model(torch.from_numpy(inputs(["photo.jpg"])))  # (1, classes), in the order of labels.json

temperature.json holds the T of `softmax(logits / T)`, the confidences. Step by step, each a function below:

1. `decoded`: the first frame, turned upright as its EXIF data says, transparent parts on white, 8-bit RGB. Of 16-bit
   grey, `white` becomes 255; of 32-bit grey the darkest pixel becomes 0 and the brightest 255.
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
from PIL import Image, ImageOps

Source = str | Path | bytes  # a file, or what one holds


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
        return np.array(_rgb(ImageOps.exif_transpose(image), float(numbers.get("white") or 65535)))


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


def _rgb(image: Image.Image, white: float) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = Image.fromarray(_8_bit(np.asarray(image), white))
    if image.has_transparency_data:
        seen = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen).convert("RGB")
    return image.convert("RGB")


def _8_bit(values: NDArray, white: float) -> NDArray[np.uint8]:
    if values.dtype.itemsize == 2:
        low, high = 0.0, white
    else:
        finite = values[np.isfinite(values)].astype(np.float64)
        low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    scaled = (values.astype(np.float64) - low) / max(high - low, np.finfo(np.float64).tiny)
    return np.rint(np.clip(np.nan_to_num(scaled), 0, 1) * 255).astype(np.uint8)
