"""The range of grayscale images with more than 8 bits: one range per data set, never one per image.

A 16-bit file rarely uses 16 bits: cameras and scanners deliver 10, 12 or 14. If such images are scaled by 65,535, they
are nearly black. If each is scaled by its own brightest sample, they are no longer comparable. So the data set decides:

integers  black is 0, and white is 2^b - 1 for the smallest b >= 8 that holds the brightest sample of all images. If a
          file declares a higher white (TIFF's BitsPerSample or MaxSampleValue), that counts as its brightest sample. If
          any sample is negative (Hounsfield units), black and white are the darkest and the brightest sample of all.
floats    black and white are the darkest and the brightest sample of all images.

The same file may therefore look different in two data sets.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image

from trainables.data import tiff
from trainables.preprocess import BITS_PER_SAMPLE, Range, extent, gray, own_range, samples

if TYPE_CHECKING:  # the import takes half a second, which a helper process does not need
    import pandas as pd

# The range of a row's image in a manifest. A manifest without deep images has neither column.
COLUMNS = ("black", "white")


@dataclass(frozen=True)
class GrayRanges:
    """The ranges that scale the deep images of a data set; None if it has no such images: then each file decides."""

    integers: Range | None = None
    floats: Range | None = None

    def of(self, mode: str) -> Range | None:
        """Return the range for images of a Pillow mode."""
        return self.floats if mode == "F" else self.integers


def to_8_bit(image: Image.Image, tags: dict[int, int], known: Range | None) -> tuple[Image.Image, Range]:
    """Convert a deep image to 8 bits.

    Args:
        image: The image as Pillow opens it.
        tags: The tags of a TIFF, else empty.
        known: The range of the data set; None: the image's own range.

    Returns:
        The image in RGB, and the extent of the file: its darkest and brightest sample.
    """
    values = samples(image, tags)
    darkest, brightest = extent(values)
    declared = _declared_white(tags) if values.dtype.kind == "u" else 0.0
    own = (0.0, declared) if declared and values.dtype.itemsize == 2 else own_range(values)
    return gray(image, values, known or own, tags), (darkest, max(brightest, declared))


def _declared_white(tags: dict[int, int]) -> float:
    """Return the white that a file declares, or 0. A maximum that merely fills its sample declares nothing."""
    bits = tags.get(BITS_PER_SAMPLE, 16)
    white = 2**bits - 1 if 8 < bits < 16 else tags.get(tiff.MAX_SAMPLE_VALUE, 0)
    return float(white) if 255 < white < 65535 else 0.0


def gray_ranges_over(modes: Iterable[str], extents: Iterable[Range]) -> GrayRanges:
    """Return the ranges of a data set from the mode and extent (darkest, brightest sample) of each deep image."""
    by_kind: dict[bool, list[Range]] = {True: [], False: []}
    for mode, extent_of_image in zip(modes, extents, strict=True):
        by_kind[mode == "F"].append(extent_of_image)
    floats, integers = (_union(by_kind[is_float]) for is_float in (True, False))
    if integers is not None and integers[0] >= 0:
        integers = 0.0, float(2 ** max(8, int(integers[1]).bit_length()) - 1)
    return GrayRanges(integers, floats)


def gray_ranges_of(manifest: "pd.DataFrame") -> GrayRanges:
    """Return the ranges that a manifest, or a part of it, was made with; without their columns, the files decide."""
    if not set(COLUMNS) <= set(manifest.columns):
        return GrayRanges()
    deep = manifest.dropna(subset=list(COLUMNS))
    ranges = {mode == "F": (float(black), float(white)) for mode, black, white in deep[["mode", *COLUMNS]].to_numpy()}
    return GrayRanges(ranges.get(False), ranges.get(True))


def to_json(gray_ranges: GrayRanges) -> dict[str, Any]:
    """Return the entries of preprocessing.json: a deep image becomes (value - black) / (white - black), clipped.

    Null means that each file has its own range: 0 to 65,535 for 16 bits, else its darkest to its brightest sample.
    """
    black, white = gray_ranges.integers or (0.0, None)
    return {"black": black, "white": white, "floats": gray_ranges.floats and list(gray_ranges.floats)}


def from_json(known: Mapping[str, Any]) -> GrayRanges:
    """Return the ranges from the entries that `to_json` wrote."""
    white, floats = known.get("white"), known.get("floats")
    return GrayRanges(
        integers=None if white is None else (float(known["black"]), float(white)),
        floats=(float(floats[0]), float(floats[1])) if floats else None,
    )


def described(manifest: "pd.DataFrame") -> list[str]:
    """Return a line on the range of every kind of deep image that is kept."""
    gray_ranges, lines = gray_ranges_of(manifest), []
    if gray_ranges.integers is not None:
        black, white = gray_ranges.integers
        bits = f"{int(white).bit_length()} bit, " if black == 0 else ""
        lines.append(
            f"more than 8 bits of gray: {_count(manifest, False)}, read as {bits}{int(white - black) + 1:,} gray "
            f"levels from {int(black):,} to {int(white):,}, the smallest range that holds all of them"
        )
    if gray_ranges.floats is not None:
        black, white = gray_ranges.floats
        lines.append(
            f"gray in floats: {_count(manifest, True)}, scaled from {black:g} to {white:g}, their darkest and "
            "brightest samples"
        )
    return lines


def _count(manifest: "pd.DataFrame", floats: bool) -> str:
    count = int((manifest["keep"] & manifest["white"].notna() & ((manifest["mode"] == "F") == floats)).sum())
    return f"{count:,} {'image' if count == 1 else 'images'}"


def _union(extents: list[Range]) -> Range | None:
    if not extents:
        return None
    return min(darkest for darkest, _ in extents), max(brightest for _, brightest in extents)
