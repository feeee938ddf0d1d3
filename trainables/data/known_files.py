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
from trainables.data.greys import Greys
from trainables.data.inspection import Inspection, Stamp

# Raise it whenever an inspection gives other results: older files are then ignored and evicted.
VERSION = 1

_MOST_BYTES = 8 * 2**30  # bytes of all data folders together; a million images take 3.5 GiB
_PATIENCE = 30  # seconds to wait for another process that writes
_AT_ONCE = 500  # of SQLite's variables, of which it takes at least 999

_TABLES = """
CREATE TABLE IF NOT EXISTS files (
    path TEXT PRIMARY KEY, size INTEGER, changed INTEGER, touched INTEGER, sha256 TEXT, width INTEGER, height INTEGER,
    mode TEXT, turned INTEGER, drop_reason TEXT, darkest REAL, brightest REAL, hash TEXT, grays TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS thumbnails (key TEXT PRIMARY KEY, pixels BLOB);
CREATE TABLE IF NOT EXISTS about (folder TEXT PRIMARY KEY);
"""

Row = tuple[Inspection, Stamp, str]  # and the grays that hash and thumbnail were made with


class Store:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.executescript(_TABLES)

    def name(self, folder: Path) -> None:
        """Keep whose files these are, for `python -m study.cache`."""
        if self._connection.execute("SELECT * FROM about").fetchone() is None:
            named = os.fsencode(folder.resolve()).decode(errors="replace")
            with self._connection:
                self._connection.execute("INSERT OR IGNORE INTO about VALUES (?)", (named,))

    def rows(self, paths: Sequence[str]) -> dict[str, Row]:
        """Return the known rows among these files, by path."""
        marks = ", ".join("?" * len(paths))
        found = self._connection.execute(f"SELECT * FROM files WHERE path IN ({marks})", paths)  # noqa: S608
        return {row[0]: _row(row[1:]) for row in found}

    def add(self, found: Iterable[tuple[str, Inspection, Stamp | None]], greys: Greys | None) -> None:
        """Store the rows of files whose stamp can be trusted, and the thumbnails of all files."""
        rows, thumbnails = [], []
        for path, one, stamp in found:
            if stamp is not None:
                extent = one.extent or (None, None)
                picture = (one.sha256, one.width, one.height, one.mode, one.turned, one.drop_reason, *extent)
                rows.append((path, *stamp, *picture, None if one.hash is None else f"{one.hash:x}", name_of(greys)))
            if one.thumbnail is not None:
                thumbnails.append((thumbnail_key(one.sha256, one.extent is not None, greys), one.thumbnail))
        with self._connection:
            marks = ", ".join("?" * 14)
            self._connection.executemany(f"INSERT OR REPLACE INTO files VALUES ({marks})", rows)  # noqa: S608
            self._connection.executemany("INSERT OR IGNORE INTO thumbnails VALUES (?, ?)", thumbnails)

    def thumbnails(self, keys: Sequence[str]) -> NDArray[np.uint8]:
        """Return thumbnails (n, 32, 32, 3) for n keys.

        Raises:
            sqlite3.DatabaseError: One is missing or broken.
        """
        found: dict[str, bytes] = {}
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            marks = ", ".join("?" * len(some))
            found |= self._connection.execute(f"SELECT * FROM thumbnails WHERE key IN ({marks})", some)  # noqa: S608
        if any(len(found.get(key, b"")) != THUMBNAIL_SIDE**2 * 3 for key in keys):
            raise sqlite3.DatabaseError("a thumbnail is missing")
        pixels = np.frombuffer(b"".join(found[key] for key in keys), dtype=np.uint8)
        return pixels.reshape(-1, THUMBNAIL_SIDE, THUMBNAIL_SIDE, 3)


def name_of(greys: Greys | None) -> str:
    return "" if greys is None else f"{greys.integers} {greys.floats}"


def thumbnail_key(sha256: str, is_deep: bool, greys: Greys | None) -> str:
    """Return the key of a thumbnail; a deep image looks different in another gray range."""
    return f"{sha256} {name_of(greys)}" if is_deep else sha256


@contextmanager
def opened(cache: Path | None, folder: Path) -> Iterator[Store]:
    """Open the store of a data folder; a temporary one if `cache` is None.

    Raises:
        sqlite3.Error: It cannot be used; a broken one has been removed.
        OSError: It cannot be used.
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
            with suppress(OSError):  # another process made room
                os.utime(file)  # the time of last use, for _make_room
    except sqlite3.OperationalError:  # another process writes, or the disk is full: the file is whole
        raise
    except sqlite3.Error:
        _remove(file)
        raise


@contextmanager
def unless_refused(cache: Path, folder: Path, keep: bool = True) -> Iterator[None]:
    """Keep the first scan of a data folder only if the block ends well and the caller means to `keep` it.

    A command that starts no study leaves nothing behind, not even the cache folder.
    """
    made = [each for each in (cache / SCANS, cache, *cache.absolute().parents) if not each.exists()]
    try:
        yield
        made = [] if keep else made
    finally:
        if cache / SCANS in made:
            _remove(_file(cache, folder))
            with suppress(OSError):  # there is something else by now
                for each in made:
                    each.rmdir()


def forget(cache: Path, folder: Path) -> None:
    """Remove the store of a data folder, because it turned out to be wrong."""
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
    for each in (file, file.with_name(f"{file.name}-journal")):
        each.unlink(missing_ok=True)


def _row(values: tuple) -> Row:
    try:
        size, changed, touched, sha256, width, height, mode, turned, reason, darkest, brightest, digits, greys = values
        extent = None if darkest is None else (float(darkest), float(brightest))
        digest = None if digits is None else int(digits, 16)
        if len(sha256) != 64 or (digest is None and extent is None and not reason):
            raise ValueError(sha256)
        found = Inspection(size, sha256, int(width), int(height), str(mode), bool(turned), str(reason), extent, digest)
    except (ValueError, TypeError) as error:
        raise sqlite3.DatabaseError("a row is broken") from error
    return found, (size, changed, touched), greys
