"""Decode the bytes of an image file to 8-bit RGB pixels, or give a plain reason why not."""

import io
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from trainables.data import tiff
from trainables.data.greys import Greys, to_8_bit
from trainables.data.metadata import format_of, is_unsupported, without_metadata
from trainables.preprocess import UPRIGHT, Range, is_deep, opaque, orientation, upright

# The formats that photo data sets contain; every further decoder is more attack surface.
# An MPO (two images of a stereo camera) opens as a JPEG.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")

# PIL warns above this (a quarter GiB of RGB) and raises above twice this; here it is one limit.
PIXEL_LIMIT = 89_478_485

# Once, on import: filters are global, so changing them around each call would race between threads.
# decode() compares with PIXEL_LIMIT itself, the warning would say the same a second time.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # about metadata, which nobody asked for


class DecodeError(ValueError):
    """The bytes are not an image. The message is the reason, short and without paths."""


@dataclass(frozen=True)
class Decoded:
    """A decoded image: upright, opaque, 8-bit RGB."""

    pixels: NDArray[np.uint8]  # (height, width, 3)
    width: int
    height: int
    mode: str  # PIL's name of the mode it was stored in
    turned: bool = False  # not stored upright
    extent: Range | None = None  # the darkest and brightest sample, of more than 8 bits of gray


def decode(data: bytes, greys: Greys | None = None) -> Decoded:
    """Decode the first frame of an image; the format is detected from the content, never from a file name.

    `greys` is the range by which images of more than 8 bits of gray are scaled. Without it, white is 65,535 for 16
    bits, and for 32 bits the darkest and brightest samples become black and white. If Pillow rejects a file because
    of its metadata, the file is decoded without metadata.

    Raises:
        DecodeError: The bytes are not an image that can be read.
    """
    if not data:
        raise DecodeError("empty file")
    greys = greys or Greys()
    tags = tiff.tags(data) if format_of(data) == "TIFF" else {}
    try:
        return _decode(data, greys, tags)
    except DecodeError as error:
        bare = None if str(error) in (_TOO_LARGE, _UNKNOWN) else without_metadata(data)
        if bare is None:
            raise
        try:
            return _decode(bare, greys, tags)
        except DecodeError as second:
            raise (error if str(error) == "truncated" or str(second) == _UNKNOWN else second) from None


_TOO_LARGE = f"more than {PIXEL_LIMIT:,} pixels"
_UNKNOWN = f"not a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} image"


def _decode(data: bytes, greys: Greys, tags: dict[int, int]) -> Decoded:
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(image.width * image.height)
            mode, extent = image.mode, None
            turned = image.format == "TIFF" and orientation(image) in UPRIGHT  # by Pillow itself, in load()
            image.load()
            if is_deep(mode):
                seen, extent = to_8_bit(image, tags, greys.of(mode))
            else:
                seen = opaque(image, data)
            turned = turned or orientation(image) in UPRIGHT
            seen = upright(seen, image)
            pixels = np.array(seen)
    except DecodeError:
        raise
    except UnidentifiedImageError as error:
        raise DecodeError(_unidentified(data)) from error
    except Image.DecompressionBombError as error:
        raise DecodeError(_TOO_LARGE) from error
    except Exception as error:  # a damaged file may raise anything in PIL, from SyntaxError to struct.error
        raise DecodeError("truncated" if "truncated" in str(error).lower() else "damaged") from error
    height, width = pixels.shape[:2]
    return Decoded(pixels, width, height, mode, turned, extent)


def _check_size(pixels: int) -> None:
    if pixels > PIXEL_LIMIT:
        raise DecodeError(_TOO_LARGE)


def _unidentified(data: bytes) -> str:
    name = format_of(data)
    if name is None:
        return _UNKNOWN
    return f"a kind of {name} that cannot be read" if is_unsupported(data) else "damaged"
