"""The scan of a data set: the inspections of all files, the gray ranges of deep images, and duplicates."""

import sqlite3
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainables.data.duplicates import find_groups
from trainables.data.grayscale import GrayRanges, gray_ranges_over
from trainables.data.inspection import Inspection
from trainables.data.inspections import inspections
from trainables.data.known_files import Store, opened, thumbnail_key
from trainables.errors import InputError

# Stored as columns, because a million inspections as objects would take a third of a gigabyte.
_NUMBERS = [
    *((name, np.int64) for name in ("size", "width", "height")),
    *((name, np.bool_) for name in ("keep", "turned", "deep")),
    *((name, np.float64) for name in ("darkest", "brightest")),
    ("hash", np.uint64),
]


class Scanned:
    """The results of a scan, in the order of the candidates."""

    def __init__(self, count: int) -> None:
        self.numbers = np.zeros(count, dtype=_NUMBERS)
        self.sha256, self.mode, self.drop_reason = ([""] * count for _ in range(3))
        self.gray_ranges = GrayRanges()
        self.duplicate_of = np.arange(count)  # position of the first copy of the same image; dropped files are alone

    def put(self, i: int, file: Inspection) -> None:
        """Store the inspection of candidate `i`."""
        extent, flags = file.extent or (0.0, 0.0), (not file.drop_reason, file.turned, file.extent is not None)
        self.numbers[i] = (file.size, file.width, file.height, *flags, *extent, file.hash or 0)
        self.sha256[i], self.mode[i], self.drop_reason[i] = file.sha256, file.mode, file.drop_reason


def scanned(folder: Path, paths: Sequence[str], progress: Callable[[int, int], None], cache: Path | None) -> Scanned:
    """Scan files; if the cache cannot be used, scan without it and say so on stderr.

    Args:
        folder: The folder that relative paths start from.
        paths: The candidates.
        progress: Called with (done, total).
        cache: Folder that keeps the inspections; None: nothing is kept.

    Raises:
        InputError: There is no space for a temporary file either.
    """
    try:
        with opened(cache, folder) as store:
            return _scan_with(store, folder, paths, progress)
    except (sqlite3.Error, OSError) as problem:  # corrupt, full, locked or read-only
        reason = " ".join(str(problem).split())
        if cache is None:
            raise InputError(f"The scan needs a temporary folder with free space ({reason}): set TMPDIR.") from problem
        print(f"The scan of the files is not cached in {cache} ({reason}).", file=sys.stderr)
        return scanned(folder, paths, progress, None)


def _scan_with(store: Store, folder: Path, paths: Sequence[str], progress: Callable[[int, int], None]) -> Scanned:
    scan = Scanned(len(paths))
    _inspect(range(len(paths)), scan, store, folder, paths, progress, None)
    # The gray ranges that scale deep images follow from all of them, so these are inspected a second time.
    deep = np.flatnonzero(scan.numbers["deep"]).tolist()
    extents = scan.numbers[deep][["darkest", "brightest"]].tolist()
    scan.gray_ranges = gray_ranges_over([scan.mode[i] for i in deep], extents)
    _inspect(deep, scan, store, folder, [paths[i] for i in deep], progress, scan.gray_ranges)
    scan.duplicate_of = _duplicates(scan, store)
    return scan


def _inspect(
    positions: Sequence[int],
    scan: Scanned,
    store: Store,
    folder: Path,
    paths: Sequence[str],
    progress: Callable[[int, int], None],
    gray_ranges: GrayRanges | None,
) -> None:
    done = 0
    for batch in inspections(folder, paths, store, gray_ranges):
        for inspection in batch:
            scan.put(positions[done], inspection)
            done += 1
            progress(done, len(paths))


def _duplicates(scan: Scanned, store: Store) -> NDArray[np.int64]:
    kept = np.flatnonzero(scan.numbers["keep"])

    def thumbnails(positions: NDArray[np.int64]) -> NDArray[np.uint8]:
        is_deep = scan.numbers["deep"]
        keys = [thumbnail_key(scan.sha256[i], bool(is_deep[i]), scan.gray_ranges) for i in kept[positions]]
        return store.thumbnails(keys)

    groups = np.arange(len(scan.sha256))
    if len(kept):
        hashes = [scan.sha256[i] for i in kept]
        groups[kept] = kept[find_groups(hashes, scan.numbers["hash"][kept], thumbnails)]
    return groups
