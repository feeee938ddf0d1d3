"""The cache folder: list its entries, check whether a study uses it, and remove entries.

Somebody with write access to the folder must not be able to make another user delete files elsewhere. Therefore links
are neither followed nor removed, and every file is opened and removed by its name in a folder that is already open.
"""

import fcntl
import json
import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from trainables.cache_layout import FROZEN, FROZEN_LOCKS, IMAGES, IMAGES_LOCK, MIRRORS, PROOFS, RATES, SCANS
from trainables.errors import InputError

KINDS = {
    "images": "decoded images",
    "scans": "metadata of the files of a data folder",
    "frozen": "activations of frozen layers",
    "proofs": "export checks of a backbone",
    "rates": "measured speed of this machine",
    "mirrors": "local copy of a study with a remote --out",
}
_FOLDERS = {"scans": SCANS, "frozen": FROZEN, "proofs": PROOFS, "mirrors": MIRRORS}
_NOT_LISTED = {FROZEN_LOCKS, IMAGES_LOCK}
_JOURNAL = "-journal"  # SQLite's
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


@dataclass(frozen=True)
class Entry:
    """Files that are useful only together and are removed together."""

    kind: str  # a key of KINDS
    folder: str  # below the cache; empty for the cache itself
    names: tuple[str, ...]  # files or folders in `folder`
    size: int  # bytes
    used: float  # Unix time of the last recorded use
    about: str = ""  # the dataset or the backbone, if known


@contextmanager
def in_use(cache: Path) -> Iterator[None]:
    """Mark the cache as used: within the block `clear` refuses to touch it.

    A missing folder is created, and removed at the end if it is still empty.

    Raises:
        InputError: the cache cannot be written.
    """
    created = [folder for folder in (cache, *cache.absolute().parents) if not folder.exists()]
    try:
        cache.mkdir(parents=True, exist_ok=True)
        folder = os.open(cache, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        raise InputError(f"--cache {cache} cannot be written: choose a folder that you can write to.") from None
    try:
        with suppress(OSError):  # a network file system that cannot lock folders
            fcntl.flock(folder, fcntl.LOCK_SH)
        yield
    finally:
        os.close(folder)
        with suppress(OSError):  # not empty any more
            for empty in created:
                empty.rmdir()


def entries(cache: Path) -> list[Entry]:
    """Return all entries that studies left in the cache, by kind, least recently used first. Skip unrelated files."""
    if not cache.is_dir():
        return []
    with _opened(str(cache)) as top:
        listed = [*_images(top), *_rates(top)]
        for kind, folder in _FOLDERS.items():
            with suppress(OSError), _opened(folder, top) as below:
                names = _names(below, folder)
                groups = [(name, *_journal(name, names)) for name in names if not name.endswith(_JOURNAL)]
                listed += [_entry(kind, folder, below, *group) for group in groups]
    order = list(KINDS)
    return sorted(listed, key=lambda entry: (order.index(entry.kind), entry.used, entry.names))


def clear(cache: Path, doomed: list[Entry]) -> int:
    """Remove these entries and return their size in bytes.

    Raises:
        InputError: a study uses the cache, or the file system cannot tell. Nothing is removed.
    """
    with _opened(str(cache)) as top:
        _check_unused(cache, top)
        for entry in doomed:
            with suppress(FileNotFoundError), _opened(entry.folder or ".", top) as folder:
                for name in entry.names:
                    _remove(name, folder)
    return sum(entry.size for entry in doomed)


def _check_unused(cache: Path, top: int) -> None:
    """Refuse a cache in use. The folder stays locked until `top` is closed, so a study that starts meanwhile waits."""
    busy = f"{cache} is in use by a study: wait for it to end, or interrupt it. Nothing was removed."
    try:
        fcntl.flock(top, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for name in os.listdir(top):  # workers of a study that another machine drives
            if name == IMAGES_LOCK or name.endswith(IMAGES):
                _check_lock(name, top)
        with suppress(FileNotFoundError), _opened(FROZEN, top) as frozen:
            _check_lock(FROZEN_LOCKS, frozen, of_records=True)
        with suppress(FileNotFoundError), _opened(MIRRORS, top) as mirrors:
            for name in os.listdir(mirrors):
                _check_lock(name, mirrors)
    except BlockingIOError:
        raise InputError(busy) from None
    except OSError as problem:
        raise InputError(
            f"{cache} cannot be locked ({problem.strerror}), so a study may be using it: delete the folder yourself "
            "when no study runs."
        ) from None


def _check_lock(name: str, folder: int, of_records: bool = False) -> None:
    if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        return
    descriptor = os.open(name, (os.O_RDWR if of_records else os.O_RDONLY) | os.O_NOFOLLOW, dir_fd=folder)
    try:
        lock = fcntl.lockf if of_records else fcntl.flock
        lock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(descriptor)


def _remove(name: str, folder: int) -> None:
    if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        shutil.rmtree(name, dir_fd=folder)
    else:
        os.unlink(name, dir_fd=folder)


def _images(top: int) -> Iterator[Entry]:
    names = set(_names(top))
    for name in names:
        about = f"{name.removesuffix(IMAGES)}.json"
        if name.endswith(IMAGES):
            group = (name, about) if about in names else (name,)
            yield _entry("images", "", top, *group, about=_read(about, top) if about in names else "")
        elif name.endswith(".part") and not name.startswith(RATES):  # left by a killed process
            yield _entry("images", "", top, name, about="unfinished")


def _rates(top: int) -> Iterator[Entry]:
    if RATES in _names(top):
        yield _entry("rates", "", top, RATES)


def _entry(kind: str, folder: str, descriptor: int, *names: str, about: str = "") -> Entry:
    files = [status for name in names for status in _stats(name, descriptor)]
    if kind == "proofs":
        about = _read(names[0], descriptor)
    elif kind == "scans":
        about = _scanned_folder(names[0], descriptor)
    used = max((status.st_mtime for status in files), default=0.0)
    size = sum(status.st_size for status in files if stat.S_ISREG(status.st_mode))
    return Entry(kind, folder, names, size, used, about)


def _journal(name: str, names: list[str]) -> list[str]:
    """Return the journal that a killed process left beside a scan.

    Both must be removed together: with the journal alone, SQLite would treat the next scan of this name as damaged.
    """
    return [name + _JOURNAL] if name + _JOURNAL in names else []


def _names(folder: int, of: str = "") -> list[str]:
    """Return the names in a folder without links, hidden files and locks, and only folders where entries are folders.

    Args:
        of: the name of the folder below the cache; empty for the cache itself.
    """
    with os.scandir(folder) as scan:
        return [
            entry.name
            for entry in scan
            if not entry.is_symlink()
            and not entry.name.startswith(".")
            and entry.name not in _NOT_LISTED
            and (of not in (FROZEN, MIRRORS) or entry.is_dir(follow_symlinks=False))
        ]


def _stats(name: str, folder: int) -> Iterator[os.stat_result]:
    """Yield the status of a file, or of a folder and every file below it."""
    with suppress(FileNotFoundError):  # another process removed it
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        yield status
        if stat.S_ISDIR(status.st_mode):
            for _, _, files, below in os.fwalk(name, dir_fd=folder):
                for file in files:
                    with suppress(FileNotFoundError):
                        yield os.stat(file, dir_fd=below, follow_symlinks=False)


def _read(name: str, folder: int) -> str:
    """Return the dataset of decoded images or the backbone of an export check; empty if the file does not say."""
    try:
        with open(os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=folder), encoding="utf-8") as file:
            values = json.loads(file.read(10_000))
        return str(values["data"] if "data" in values else values["case"]["backbone"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _scanned_folder(name: str, folder: int) -> str:
    """Return the data folder of a scan; empty if the scan does not say or another process has locked it."""
    try:
        uri = f"file:/proc/self/fd/{folder}/{name}?mode=ro&immutable=1"
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            return str(connection.execute("SELECT folder FROM about").fetchone()[0])
    except (sqlite3.Error, TypeError):
        return ""


@contextmanager
def _opened(name: str, folder: int | None = None) -> Iterator[int]:
    """Yield the descriptor of a folder. Only the cache itself, which the user names, may be a link."""
    flags = _DIRECTORY if folder is not None else os.O_RDONLY | os.O_DIRECTORY
    descriptor = os.open(name, flags, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
