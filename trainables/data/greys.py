"""Black and white of images that hold more than 8 bits of gray: one range for a data set, never one for an image.

A 16-bit file rarely uses 16 bits: cameras and scanners deliver 10, 12 or 14. Scaled by 65,535 their images are nearly
black; scaled each by its own brightest sample, they lose what they say about each other. So the data set decides:

whole numbers  black is 0 and white 2^b - 1 for the smallest b from 8 on that holds the brightest sample of them all, or
               what a file declares as its white (TIFF's BitsPerSample or MaxSampleValue) where that is more. Where one
               is negative (Hounsfield units), the darkest and the brightest of them all are black and white.
floats         the darkest and the brightest of them all.

The same file may therefore look different in two data sets.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image

from trainables.data import tiff
from trainables.preprocess import BITS_PER_SAMPLE, Range, extent, gray, own_range, samples

if TYPE_CHECKING:  # half a second, that a helper need not spend
    import pandas as pd

COLUMNS = ("black", "white")  # of a manifest: what a row's image is scaled by; neither where no image is deep


@dataclass(frozen=True)
class Greys:
    """What a data set's deep images are scaled by; None where it has none of the kind, and the file decides."""

    integers: Range | None = None
    floats: Range | None = None

    def of(self, mode: str) -> Range | None:
        return self.floats if mode == "F" else self.integers


def to_8_bit(image: Image.Image, tags: dict[int, int], known: Range | None) -> tuple[Image.Image, Range]:
    """A deep image in `known` or its own range, and its darkest and brightest sample. `tags` are those of a TIFF."""
    values = samples(image, tags)
    darkest, brightest = extent(values)
    declared = _declared_white(tags) if values.dtype.kind == "u" else 0.0
    own = (0.0, declared) if declared and values.dtype.itemsize == 2 else own_range(values)
    return gray(image, values, known or own, tags), (darkest, max(brightest, declared))


def _declared_white(tags: dict[int, int]) -> float:
    """0 where the file declares none; one that fills its sample declares nothing."""
    bits = tags.get(BITS_PER_SAMPLE, 16)
    white = 2**bits - 1 if 8 < bits < 16 else tags.get(tiff.MAX_SAMPLE_VALUE, 0)
    return float(white) if 255 < white < 65535 else 0.0


def greys_over(modes: Iterable[str], extents: Iterable[Range]) -> Greys:
    """The range of a data set from the darkest and brightest sample of each of its deep images."""
    found: dict[bool, list[Range]] = {True: [], False: []}
    for mode, one in zip(modes, extents, strict=True):
        found[mode == "F"].append(one)
    floats, integers = (_over(found[is_float]) for is_float in (True, False))
    if integers is not None and integers[0] >= 0:
        integers = 0.0, float(2 ** max(8, int(integers[1]).bit_length()) - 1)
    return Greys(integers, floats)


def greys_of(manifest: "pd.DataFrame") -> Greys:
    """The range that a manifest, or a part of it, was made with; without its columns the files decide."""
    if not set(COLUMNS) <= set(manifest.columns):
        return Greys()
    deep = manifest.dropna(subset=list(COLUMNS))
    found = {mode == "F": (float(black), float(white)) for mode, black, white in deep[["mode", *COLUMNS]].to_numpy()}
    return Greys(found.get(False), found.get(True))


def to_json(greys: Greys) -> dict[str, Any]:
    """For preprocessing.json: deep gray is (value - black) / (white - black), clipped; null where a file's own depth,
    2^16 - 1, is white."""
    black, white = greys.integers or (0.0, None)
    return {"black": black, "white": white, "floats": greys.floats and list(greys.floats)}


def from_json(known: Mapping[str, Any]) -> Greys:
    white, floats = known.get("white"), known.get("floats")
    return Greys(
        integers=None if white is None else (float(known["black"]), float(white)),
        floats=(float(floats[0]), float(floats[1])) if floats else None,
    )


def described(manifest: "pd.DataFrame") -> list[str]:
    """What the range is, a line for each kind of deep image that is kept."""
    greys, lines = greys_of(manifest), []
    if greys.integers is not None:
        black, white = greys.integers
        bits = f"{int(white).bit_length()} bit, " if black == 0 else ""
        lines.append(
            f"more than 8 bits of gray: {_count(manifest, False)}, read as {bits}{int(white - black) + 1:,} levels of "
            f"gray from {int(black):,} to {int(white):,}, the least that holds all of them"
        )
    if greys.floats is not None:
        black, white = greys.floats
        lines.append(
            f"gray in floats: {_count(manifest, True)}, read as levels of gray from {black:g} to {white:g}, the "
            "darkest and the brightest of them all"
        )
    return lines


def _count(manifest: "pd.DataFrame", floats: bool) -> str:
    count = int((manifest["keep"] & manifest["white"].notna() & ((manifest["mode"] == "F") == floats)).sum())
    return f"{count:,} {'image' if count == 1 else 'images'}"


def _over(extents: list[Range]) -> Range | None:
    if not extents:
        return None
    return min(darkest for darkest, _ in extents), max(brightest for _, brightest in extents)
