"""Bytes of a picture file to 8-bit RGB pixels, or a plain reason why not."""

import io
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

# Everything a data set of photographs has been seen to hold; each further decoder is a way in for bad files.
# An MPO (two pictures of a stereo camera) opens as a JPEG.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")

# PIL warns above this (a quarter GiB of RGB) and raises above twice this; here it is one limit.
PIXEL_LIMIT = 89_478_485

# Once, on import: filters are global, so changing them around each call would race between threads.
# decode() compares with PIXEL_LIMIT itself, the warning would say the same a second time.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class DecodeError(ValueError):
    """The bytes are no picture; the text is the reason, short and free of paths."""


@dataclass(frozen=True)
class Decoded:
    """A picture as it is meant to be seen: upright, opaque, 8-bit RGB."""

    pixels: NDArray[np.uint8]  # (height, width, 3)
    width: int
    height: int
    mode: str  # PIL's name of the mode it was stored in


def decode(data: bytes) -> Decoded:
    """The first frame of a picture, its format judged by content and never by a file name."""
    if not data:
        raise DecodeError("empty file")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(image.width * image.height)
            mode = image.mode
            pixels = np.array(_to_rgb(ImageOps.exif_transpose(image)))
    except DecodeError:
        raise
    except UnidentifiedImageError as error:
        raise DecodeError(f"not a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} picture") from error
    except Image.DecompressionBombError as error:
        raise DecodeError(_TOO_LARGE) from error
    except Exception as error:  # a damaged file may raise anything in PIL, from SyntaxError to struct.error
        raise DecodeError("truncated" if "truncated" in str(error).lower() else "damaged") from error
    return Decoded(pixels, width=pixels.shape[1], height=pixels.shape[0], mode=mode)


_TOO_LARGE = f"more than {PIXEL_LIMIT:,} pixels"


def _check_size(pixels: int) -> None:
    if pixels > PIXEL_LIMIT:
        raise DecodeError(_TOO_LARGE)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = Image.fromarray(_to_8_bit(np.asarray(image)))
    if image.has_transparency_data:
        seen = image.convert("RGBA")
        white = Image.new("RGBA", seen.size, "white")
        return Image.alpha_composite(white, seen).convert("RGB")
    return image.convert("RGB")


def _to_8_bit(values: NDArray) -> NDArray[np.uint8]:
    """16 bits have a known white; 32-bit integers and floats do not, so theirs is the brightest pixel.

    PIL's own convert() clips at 255, which turns a 16-bit scan white.
    """
    if values.dtype.itemsize == 2:
        low, high = 0.0, 65535.0
    else:
        finite = values[np.isfinite(values)].astype(np.float64)
        low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    scaled = (values.astype(np.float64) - low) / max(high - low, np.finfo(np.float64).tiny)
    return np.rint(np.clip(np.nan_to_num(scaled), 0, 1) * 255).astype(np.uint8)
