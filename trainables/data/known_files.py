"""The cache of file inspections between runs: one SQLite file per data folder.

A row is valid as long as its file has the same size and modification times. Thumbnails are stored by content hash and
read when two images may be duplicates. Without a cache folder, both are in a temporary file. An unusable cache costs
time but changes no result.
"""

import hashlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray

from trainables.cache_layout import SCANS
from trainables.data.duplicates import THUMBNAIL_SIDE
from trainables.data.grayscale import GrayRanges
from trainables.data.inspection import Inspection, Stamp

# Increase it whenever an inspection gives other results: older files are then ignored and evicted.
VERSION = 1

_MOST_BYTES = 8 * 2**30  # for all data folders together; a million images take 3.5 GiB
_PATIENCE = 30  # seconds to wait while another process writes
_AT_ONCE = 500  # keys per query; SQLite takes at least 999 variables

_TABLES = """
CREATE TABLE IF NOT EXISTS files (
    path TEXT PRIMARY KEY, size INTEGER, changed INTEGER, touched INTEGER, sha256 TEXT, width INTEGER, height INTEGER,
    mode TEXT, turned INTEGER, drop_reason TEXT, darkest REAL, brightest REAL, hash TEXT, grays TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS thumbnails (key TEXT PRIMARY KEY, pixels BLOB);
CREATE TABLE IF NOT EXISTS about (folder TEXT PRIMARY KEY);
"""

Row = tuple[Inspection, Stamp, str]  # the string names the gray ranges that hash and thumbnail were made with


class Store:
    """The inspections of one data folder in an open SQLite file."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.executescript(_TABLES)

    def name(self, folder: Path) -> None:
        """Record the data folder that the rows belong to, for `python -m study.cache`."""
        if self._connection.execute("SELECT * FROM about").fetchone() is None:
            named = os.fsencode(folder.resolve()).decode(errors="replace")
            with self._connection:
                self._connection.execute("INSERT OR IGNORE INTO about VALUES (?)", (named,))

    def rows(self, paths: Sequence[str]) -> dict[str, Row]:
        """Return the stored rows of these files, by path."""
        marks = ", ".join("?" * len(paths))
        rows = self._connection.execute(f"SELECT * FROM files WHERE path IN ({marks})", paths)  # noqa: S608
        return {row[0]: _row(row[1:]) for row in rows}

    def add(self, results: Iterable[tuple[str, Inspection, Stamp | None]], gray_ranges: GrayRanges | None) -> None:
        """Store the rows of files whose stamp can be trusted, and the thumbnails of all files."""
        rows, thumbnails = [], []
        for path, file, stamp in results:
            if stamp is not None:
                extent = file.extent or (None, None)
                image = (file.sha256, file.width, file.height, file.mode, file.turned, file.drop_reason, *extent)
                phash = None if file.hash is None else f"{file.hash:x}"
                rows.append((path, *stamp, *image, phash, name_of(gray_ranges)))
            if file.thumbnail is not None:
                key = thumbnail_key(file.sha256, file.extent is not None, gray_ranges)
                thumbnails.append((key, file.thumbnail))
        with self._connection:
            marks = ", ".join("?" * 14)
            self._connection.executemany(f"INSERT OR REPLACE INTO files VALUES ({marks})", rows)  # noqa: S608
            self._connection.executemany("INSERT OR IGNORE INTO thumbnails VALUES (?, ?)", thumbnails)

    def thumbnails(self, keys: Sequence[str]) -> NDArray[np.uint8]:
        """Return thumbnails (n, 32, 32, 3) for n keys.

        Raises:
            sqlite3.DatabaseError: A thumbnail is missing or damaged.
        """
        by_key: dict[str, bytes] = {}
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            marks = ", ".join("?" * len(some))
            by_key |= self._connection.execute(f"SELECT * FROM thumbnails WHERE key IN ({marks})", some)  # noqa: S608
        if any(len(by_key.get(key, b"")) != THUMBNAIL_SIDE**2 * 3 for key in keys):
            raise sqlite3.DatabaseError("a thumbnail is missing")
        pixels = np.frombuffer(b"".join(by_key[key] for key in keys), dtype=np.uint8)
        return pixels.reshape(-1, THUMBNAIL_SIDE, THUMBNAIL_SIDE, 3)


def name_of(gray_ranges: GrayRanges | None) -> str:
    """Return the name of the gray ranges in rows and keys; empty if they are not known yet."""
    return "" if gray_ranges is None else f"{gray_ranges.integers} {gray_ranges.floats}"


def thumbnail_key(sha256: str, is_deep: bool, gray_ranges: GrayRanges | None) -> str:
    """Return the key of a thumbnail; that of a deep image depends on the gray ranges."""
    return f"{sha256} {name_of(gray_ranges)}" if is_deep else sha256


@contextmanager
def opened(cache: Path | None, folder: Path) -> Iterator[Store]:
    """Open the store of a data folder; a temporary one if `cache` is None.

    Raises:
        sqlite3.Error: The store cannot be used; if it is corrupt, it has been removed.
        OSError: The store cannot be created or opened.
    """
    if cache is None:
        with closing(sqlite3.connect("")) as connection:
            yield Store(connection)
        return
    (cache / SCANS).mkdir(parents=True, exist_ok=True)
    file = _file(cache, folder)
    _make_room(file)
    try:
        with closing(sqlite3.connect(file, timeout=_PATIENCE)) as connection:
            store = Store(connection)
            store.name(folder)
            yield store
            with suppress(OSError):  # another process may have evicted it
                os.utime(file)  # the time of last use, for _make_room
    except sqlite3.OperationalError:  # another process writes, or the disk is full: the file itself is fine
        raise
    except sqlite3.Error:
        _remove(file)
        raise


@contextmanager
def unless_refused(cache: Path, folder: Path, keep: bool = True) -> Iterator[None]:
    """Remove the first scan of a data folder again if the block raises, or if the caller does not `keep` it.

    A command that starts no study leaves nothing behind, not even the cache folder.
    """
    missing = [parent for parent in (cache / SCANS, cache, *cache.absolute().parents) if not parent.exists()]
    try:
        yield
        missing = [] if keep else missing
    finally:
        if cache / SCANS in missing:
            _remove(_file(cache, folder))
            with suppress(OSError):  # another process has put something there
                for created in missing:
                    created.rmdir()


def forget(cache: Path, folder: Path) -> None:
    """Remove the store of a data folder, because its rows turned out to be outdated."""
    with suppress(OSError):
        _remove(_file(cache, folder))


def _file(cache: Path, folder: Path) -> Path:
    name = hashlib.sha256(f"{VERSION} {PIL.__version__} {folder.resolve()}".encode(errors="surrogateescape"))
    return cache / SCANS / f"{name.hexdigest()[:32]}.sqlite"


def _make_room(mine: Path) -> None:
    """Evict the least recently used stores; processes that have one open keep it until they close it."""
    with suppress(OSError):
        files = sorted(mine.parent.glob("*.sqlite"), key=lambda file: (file == mine, file.stat().st_mtime))
        total = sum(file.stat().st_size for file in files)
        for file in files:
            if total > _MOST_BYTES:
                total -= file.stat().st_size
                _remove(file)


def _remove(file: Path) -> None:
    """Remove a file and its journal, which SQLite would apply to the next file of this name."""
    for path in (file, file.with_name(f"{file.name}-journal")):
        path.unlink(missing_ok=True)


def _row(values: tuple) -> Row:
    try:
        size, changed, touched, sha256, width, height, mode, turned, reason, darkest, brightest, digits, gray_ranges = (
            values
        )
        extent = None if darkest is None else (float(darkest), float(brightest))
        digest = None if digits is None else int(digits, 16)
        if len(sha256) != 64 or (digest is None and extent is None and not reason):
            raise ValueError(sha256)
        inspection = Inspection(
            size, sha256, int(width), int(height), str(mode), bool(turned), str(reason), extent, digest
        )
    except (ValueError, TypeError) as error:
        raise sqlite3.DatabaseError("a row is damaged") from error
    return inspection, (size, changed, touched), gray_ranges
