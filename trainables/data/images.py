"""Decode the bytes of an image file to 8-bit RGB pixels, or give the reason why that fails."""

import io
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from trainables.data import tiff
from trainables.data.grayscale import GrayRanges, to_8_bit
from trainables.data.metadata import format_of, is_unsupported, without_metadata
from trainables.preprocess import UPRIGHT, Range, is_deep, opaque, orientation, upright

# The formats that image data sets contain; every further decoder would add attack surface.
# An MPO (two images of a stereo camera) opens as a JPEG.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")

# PIL warns above this (a quarter GiB of RGB) and raises above twice this; here it is one limit.
PIXEL_LIMIT = 89_478_485

# Set once, on import: filters are global, so changing them around each call would race between threads.
# decode() checks PIXEL_LIMIT itself, so the first warning would be redundant.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # about metadata, which is not used


class DecodeError(ValueError):
    """The bytes are not an image. The message is the reason, short and without paths."""


@dataclass(frozen=True)
class Decoded:
    """A decoded image: upright, opaque, 8-bit RGB."""

    pixels: NDArray[np.uint8]  # (height, width, 3)
    width: int
    height: int
    mode: str  # PIL's name of the mode it was stored in
    turned: bool = False  # whether it was stored rotated or mirrored
    extent: Range | None = None  # the darkest and brightest sample of a deep image, see grayscale.py


def decode(data: bytes, gray_ranges: GrayRanges | None = None) -> Decoded:
    """Decode the first frame of an image; the format is detected from the content, never from a file name.

    `gray_ranges` scale deep images (more than 8 bits of gray). Without them, 16-bit images are scaled from 0 to 65,535,
    and other deep images from their darkest to their brightest sample. If Pillow rejects a file because of its
    metadata, the file is decoded without metadata.

    Raises:
        DecodeError: The bytes are not an image that can be read.
    """
    if not data:
        raise DecodeError("empty file")
    gray_ranges = gray_ranges or GrayRanges()
    tags = tiff.tags(data) if format_of(data) == "TIFF" else {}
    try:
        return _decode(data, gray_ranges, tags)
    except DecodeError as error:
        bare = None if str(error) in (_TOO_LARGE, _UNKNOWN) else without_metadata(data)
        if bare is None:
            raise
        try:
            return _decode(bare, gray_ranges, tags)
        except DecodeError as second:
            raise (error if str(error) == "truncated" or str(second) == _UNKNOWN else second) from None


_TOO_LARGE = f"more than {PIXEL_LIMIT:,} pixels"
_UNKNOWN = f"not a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} image"


def _decode(data: bytes, gray_ranges: GrayRanges, tags: dict[int, int]) -> Decoded:
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(image.width * image.height)
            mode, extent = image.mode, None
            turned = image.format == "TIFF" and orientation(image) in UPRIGHT  # load() rotates TIFFs itself
            image.load()
            if is_deep(mode):
                rgb, extent = to_8_bit(image, tags, gray_ranges.of(mode))
            else:
                rgb = opaque(image, data)
            turned = turned or orientation(image) in UPRIGHT
            pixels = np.array(upright(rgb, image))
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
