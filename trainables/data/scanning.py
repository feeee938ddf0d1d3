"""The scan of a data set: inspections of all files, duplicates, and the gray range of deep images."""

import sqlite3
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainables.data.duplicates import find_groups
from trainables.data.greys import Greys, greys_over
from trainables.data.inspection import Inspection
from trainables.data.inspections import inspections
from trainables.data.known_files import Store, opened, thumbnail_key
from trainables.errors import InputError

# Columns, because a million inspections as objects would take a third of a gigabyte.
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
        self.greys = Greys()
        self.duplicate_of = np.arange(count)  # position of the first copy of the same image; dropped files are alone

    def put(self, place: int, one: Inspection) -> None:
        extent, known = one.extent or (0.0, 0.0), (not one.drop_reason, one.turned, one.extent is not None)
        self.numbers[place] = (one.size, one.width, one.height, *known, *extent, one.hash or 0)
        self.sha256[place], self.mode[place], self.drop_reason[place] = one.sha256, one.mode, one.drop_reason


def scanned(folder: Path, paths: Sequence[str], progress: Callable[[int, int], None], cache: Path | None) -> Scanned:
    try:
        with opened(cache, folder) as store:
            return _scan_with(store, folder, paths, progress)
    except (sqlite3.Error, OSError) as problem:  # broken, full, locked, read-only
        if cache is None:
            raise InputError(
                f"The scan needs space in a temporary folder ({' '.join(str(problem).split())}): set TMPDIR to one."
            ) from problem
        reason = " ".join(str(problem).split())
        print(f"The scan of the files is not cached in {cache} ({reason}).", file=sys.stderr)
        return scanned(folder, paths, progress, None)


def _scan_with(store: Store, folder: Path, paths: Sequence[str], progress: Callable[[int, int], None]) -> Scanned:
    found = Scanned(len(paths))
    _inspect(range(len(paths)), found, store, folder, paths, progress, None)
    # Only now is the gray range known by which deep images are scaled.
    places = np.flatnonzero(found.numbers["deep"]).tolist()
    extents = found.numbers[places][["darkest", "brightest"]].tolist()
    found.greys = greys_over([found.mode[place] for place in places], extents)
    _inspect(places, found, store, folder, [paths[place] for place in places], progress, found.greys)
    found.duplicate_of = _duplicates(found, store)
    return found


def _inspect(
    places: Sequence[int],
    found: Scanned,
    store: Store,
    folder: Path,
    paths: Sequence[str],
    progress: Callable[[int, int], None],
    greys: Greys | None,
) -> None:
    done = 0
    for some in inspections(folder, paths, store, greys):
        for one in some:
            found.put(places[done], one)
            done += 1
            progress(done, len(paths))


def _duplicates(found: Scanned, store: Store) -> NDArray[np.int64]:
    kept = np.flatnonzero(found.numbers["keep"])

    def thumbnails(places: NDArray[np.int64]) -> NDArray[np.uint8]:
        is_deep = found.numbers["deep"]
        names = [thumbnail_key(found.sha256[place], bool(is_deep[place]), found.greys) for place in kept[places]]
        return store.thumbnails(names)

    groups = np.arange(len(found.sha256))
    if len(kept):
        names = [found.sha256[place] for place in kept]
        groups[kept] = kept[find_groups(names, found.numbers["hash"][kept], thumbnails)]
    return groups
