"""Decoded images on a node's disk, which are decoded once and memory-mapped by every trial.

The file holds the images one after another without a header; their offsets follow from the manifest.
"""

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import PIL
from filelock import FileLock
from numpy.typing import NDArray

from trainables.cache_layout import IMAGES, IMAGES_LOCK
from trainables.data.grayscale import COLUMNS, GrayRanges, gray_ranges_of
from trainables.data.images import DecodeError, decode
from trainables.data.known_files import forget
from trainables.data.manifest import data_folder
from trainables.errors import InputError, Unavailable
from trainables.preprocess import reduced, reduced_size
from trainables.storage_errors import writing

# Increase it whenever decoding or resizing gives other pixels: older files are then ignored and evicted.
VERSION = 2

_GIB = 2**30


@dataclass(frozen=True)
class Pixels:
    """Images by item number: `pixels[item]` is a read-only view (height, width, 3), not a copy.

    Two objects with equal `key` hold the same images, pixel for pixel.
    """

    key: str
    _flat: NDArray[np.uint8]
    _places: dict[int, tuple[int, int, int]]  # item: offset, height, width

    def __getitem__(self, item: int) -> NDArray[np.uint8]:
        offset, height, width = self._places[item]
        return self._flat[offset : offset + height * width * 3].reshape(height, width, 3)


def open_pixels(
    manifest: pd.DataFrame,
    data: Path,
    short_side: int,
    cache: Path,
    cache_gib: float | None = None,
    region: str = "picture",
) -> Pixels:
    """Open the kept images, or their annotated boxes, resized to a shorter side of at most `short_side` pixels.

    The first caller on a node decodes, and the others wait for it. `cache_gib` bounds all pixel files in `cache`; the
    least recently used ones are evicted.

    Raises:
        InputError: The cache folder cannot be created, or is too small for the images.
        Unavailable: An image changed or vanished since the scan, or other studies fill the cache.
    """
    kept = _regions(manifest[manifest["keep"]].sort_values("item"), region)
    places, size = _layout(kept, short_side)
    key = _content_key(kept, short_side)
    file = cache / f"{key}{IMAGES}"
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The cache folder {cache} cannot be created ({error.strerror}): give --cache.") from error
    with FileLock(cache / IMAGES_LOCK):
        if not file.exists():
            _make_room(cache, size, cache_gib)
            try:
                with writing(file, size), _temporary(file) as part:
                    _build(part, kept, places, data_folder(data), short_side, gray_ranges_of(manifest))
                about = {"data": f"{data}: {len(kept)} images, shorter side at most {short_side} px"}
                _about(file).write_text(json.dumps(about))
            except Unavailable:  # the cached scan is outdated, so a new study must scan the files again
                forget(cache, data_folder(data))
                raise
        os.utime(file)  # the time of last use, for _make_room
        return Pixels(key, _map(file, size), places)


def check_fits(manifest: pd.DataFrame, short_side: int, cache_gib: float | None) -> None:
    """Check that a cache can hold these images, before anything is decoded.

    Raises:
        InputError: The cache is too small.
    """
    _check_limit(_layout(_regions(manifest[manifest["keep"]], "picture"), short_side)[1], cache_gib)


def _check_limit(size: int, cache_gib: float | None) -> None:
    if cache_gib is not None and size > cache_gib * _GIB:
        raise InputError(
            f"The decoded images need {size / _GIB:.3g} GiB, but the cache is limited to {cache_gib:.3g} GiB: "
            "allow more with --cache-gib."
        )


def _layout(kept: pd.DataFrame, short_side: int) -> tuple[dict[int, tuple[int, int, int]], int]:
    places, offset = {}, 0
    for item, (left, top, right, bottom) in zip(kept["item"], _corners(kept), strict=True):
        width, height = reduced_size(right - left, bottom - top, short_side)
        places[int(item)] = (offset, height, width)
        offset += height * width * 3
    return places, offset


def _regions(kept: pd.DataFrame, region: str) -> pd.DataFrame:
    """Add the columns `left`, `top`, `right` and `bottom`: the edges of the region of every image, in pixels."""
    whole = {"left": 0, "top": 0, "right": kept["width"], "bottom": kept["height"]}
    if region == "picture" or "box_left" not in kept:
        return kept.assign(**whole)
    edges = {name: kept[f"box_{name}"].fillna(pd.Series(whole[name], index=kept.index)) for name in whole}
    return kept.assign(**{name: edge.astype(int) for name, edge in edges.items()})


def _corners(kept: pd.DataFrame) -> Iterator[tuple[int, int, int, int]]:
    return zip(kept["left"], kept["top"], kept["right"], kept["bottom"], strict=True)


def _content_key(kept: pd.DataFrame, short_side: int) -> str:
    digest = hashlib.sha256(f"{VERSION} {PIL.__version__} {short_side}".encode())
    for item, sha256, edges, width, height in zip(
        kept["item"], kept["sha256"], _corners(kept), kept["width"], kept["height"], strict=True
    ):
        digest.update(f" {item} {sha256}".encode())
        if edges != (0, 0, width, height):
            digest.update(f" {edges}".encode())
    if set(COLUMNS) <= set(kept.columns):
        digest.update(kept[list(COLUMNS)].to_numpy(np.float64).tobytes())
    return digest.hexdigest()[:32]


def _map(file: Path, size: int) -> NDArray[np.uint8]:
    """Map the file; the mapping holds a shared lock that protects the file from `_make_room` of any process.

    The lock belongs to the open file description, and mmap keeps a duplicate of it.
    """
    with open(file, "rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_SH)
        return np.asarray(np.memmap(stream, dtype=np.uint8, mode="r", shape=(size,)))


def _about(file: Path) -> Path:
    """Return the path of the description that `python -m study.cache` prints for a file of images."""
    return file.with_suffix(".json")


@contextmanager
def _temporary(file: Path) -> Iterator[int]:
    """Yield a descriptor to write to; the file is renamed into place when complete."""
    part = file.with_suffix(".part")
    try:
        with open(part, "wb") as stream:
            yield stream.fileno()
            os.fsync(stream)
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)


def _build(
    part: int,
    kept: pd.DataFrame,
    places: dict[int, tuple[int, int, int]],
    folder: Path,
    short_side: int,
    gray_ranges: GrayRanges,
) -> None:
    def write(item: int, path: str, sha256: str, edges: tuple[int, int, int, int]) -> None:
        left, top, right, bottom = edges
        pixels = reduced(_read(folder / path, sha256, gray_ranges)[top:bottom, left:right], short_side)
        if os.pwrite(part, pixels.tobytes(), places[item][0]) < pixels.nbytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with ThreadPoolExecutor() as pool:
        for _ in pool.map(write, kept["item"], kept["path"], kept["sha256"], _corners(kept)):
            pass


def _read(file: Path, sha256: str, gray_ranges: GrayRanges) -> NDArray[np.uint8]:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise Unavailable(f"Image {str(file)!r} was removed since the data was scanned: put it back.") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise Unavailable(f"Image {str(file)!r} changed since the data was scanned: restore it, or start a new study.")
    try:
        return decode(data, gray_ranges).pixels
    except DecodeError as error:
        raise Unavailable(
            f"Image {str(file)!r} cannot be decoded any more ({error}): use the Pillow version of the scan."
        ) from error


def _make_room(cache: Path, size: int, cache_gib: float | None) -> None:
    """Evict old files. The caller holds the folder's lock, so every `.part` file is left from a killed process."""
    for part in cache.glob("*.part"):
        part.unlink()
    _check_limit(size, cache_gib)
    limit = np.inf if cache_gib is None else cache_gib * _GIB
    files = sorted(cache.glob(f"*{IMAGES}"), key=lambda file: file.stat().st_mtime)
    total = sum(file.stat().st_size for file in files)
    for file in files:
        if total + size > limit and _unused(file):
            total -= file.stat().st_size
            file.unlink()
            _about(file).unlink(missing_ok=True)
    free = shutil.disk_usage(cache).free
    if total + size > limit or size > free:
        raise Unavailable(
            f"The decoded images need {size / _GIB:.3g} GiB, but {cache} has "
            f"{min(limit - total, free) / _GIB:.3g} GiB left: choose another folder with "
            "--cache, or wait until the studies that use this one have ended."
        )


def _unused(file: Path) -> bool:
    with open(file, "rb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
