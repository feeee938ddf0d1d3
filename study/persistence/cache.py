"""The cache folder: what lies there, whether a study uses it, and removing it.

Whoever may write into the folder must not make another user delete files elsewhere. So links are neither followed nor
removed, and everything is opened and removed by its name in a folder that is already open.
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
    "scans": "what was found of the files of a data folder",
    "frozen": "activations of a frozen prefix",
    "proofs": "a backbone that came back from its export",
    "rates": "how fast this machine computes",
    "mirrors": "the working copy of a study with a remote --out",
}
_FOLDERS = {"scans": SCANS, "frozen": FROZEN, "proofs": PROOFS, "mirrors": MIRRORS}
_NOT_LISTED = {FROZEN_LOCKS, IMAGES_LOCK}
_JOURNAL = "-journal"  # SQLite's
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


@dataclass(frozen=True)
class Entry:
    """Files that are useful only together, and are removed together."""

    kind: str  # of KINDS
    folder: str  # below the cache; empty for the cache itself
    names: tuple[str, ...]  # in `folder`; each is a file or a folder
    size: int  # bytes
    used: float  # seconds since the epoch, of the last use that left a trace
    about: str = ""  # the data set or the backbone, where that is known


@contextmanager
def in_use(cache: Path) -> Iterator[None]:
    """Within it `clear` refuses to touch the cache, which is made if it is missing and goes if it stays empty.

    Raises:
        InputError: the cache cannot be written.
    """
    made = [folder for folder in (cache, *cache.absolute().parents) if not folder.exists()]
    try:
        cache.mkdir(parents=True, exist_ok=True)
        folder = os.open(cache, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        raise InputError(f"--cache {cache} cannot be written: choose a folder of your own.") from None
    try:
        with suppress(OSError):  # a network file system that locks no folders
            fcntl.flock(folder, fcntl.LOCK_SH)
        yield
    finally:
        os.close(folder)
        with suppress(OSError):  # it holds something by now
            for empty in made:
                empty.rmdir()


def entries(cache: Path) -> list[Entry]:
    """Everything that studies left in the cache, by kind, the longest unused first. Files of others are left out."""
    if not cache.is_dir():
        return []
    with _opened(str(cache)) as top:
        listed = [*_images(top), *_rates(top)]
        for kind, folder in _FOLDERS.items():
            with suppress(OSError), _opened(folder, top) as below:
                names = _names(below, folder)
                together = [(name, *_journal(name, names)) for name in names if not name.endswith(_JOURNAL)]
                listed += [_entry(kind, folder, below, *each) for each in together]
    order = list(KINDS)
    return sorted(listed, key=lambda entry: (order.index(entry.kind), entry.used, entry.names))


def clear(cache: Path, doomed: list[Entry]) -> int:
    """Remove these entries; returns how many bytes they had.

    Raises:
        InputError: a study uses the cache, or its file system cannot tell. Nothing is removed then.
    """
    with _opened(str(cache)) as top:
        _check_unused(cache, top)
        for entry in doomed:
            with suppress(FileNotFoundError), _opened(entry.folder or ".", top) as folder:
                for name in entry.names:
                    _remove(name, folder)
    return sum(entry.size for entry in doomed)


def _check_unused(cache: Path, top: int) -> None:
    """The lock on the folder itself is kept until `top` is closed: a study that begins meanwhile waits."""
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
            f"{cache} cannot be locked ({problem.strerror}), so a study might use it: delete the folder yourself "
            "while none runs."
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
            together = (name, about) if about in names else (name,)
            yield _entry("images", "", top, *together, about=_read(about, top) if about in names else "")
        elif name.endswith(".part") and not name.startswith(RATES):  # of a writer that was killed
            yield _entry("images", "", top, name, about="unfinished")


def _rates(top: int) -> Iterator[Entry]:
    if RATES in _names(top):
        yield _entry("rates", "", top, RATES)


def _entry(kind: str, folder: str, descriptor: int, *names: str, about: str = "") -> Entry:
    files = [found for name in names for found in _stats(name, descriptor)]
    if kind == "proofs":
        about = _read(names[0], descriptor)
    elif kind == "scans":
        about = _scanned_folder(names[0], descriptor)
    used = max((found.st_mtime for found in files), default=0.0)
    return Entry(kind, folder, names, sum(found.st_size for found in files if stat.S_ISREG(found.st_mode)), used, about)


def _journal(name: str, names: list[str]) -> list[str]:
    """What a killed writer of a scan left: without it the next file of this name would be taken for torn."""
    return [name + _JOURNAL] if name + _JOURNAL in names else []


def _names(folder: int, of: str = "") -> list[str]:
    """The entries of a folder, but for links, hidden files, locks, and what is no folder where only folders belong."""
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
    """Of a file; of a folder and everything below it."""
    with suppress(FileNotFoundError):  # another process made room
        own = os.stat(name, dir_fd=folder, follow_symlinks=False)
        yield own
        if stat.S_ISDIR(own.st_mode):
            for _, _, files, below in os.fwalk(name, dir_fd=folder):
                for file in files:
                    with suppress(FileNotFoundError):
                        yield os.stat(file, dir_fd=below, follow_symlinks=False)


def _read(name: str, folder: int) -> str:
    """The data set of decoded images, or the backbone of a proof; empty where the file does not say."""
    try:
        with open(os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=folder), encoding="utf-8") as file:
            known = json.loads(file.read(10_000))
        return str(known["data"] if "data" in known else known["case"]["backbone"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _scanned_folder(name: str, folder: int) -> str:
    """The data folder of a scan; empty for a scan that does not say, or that a writer has locked."""
    try:
        where = f"file:/proc/self/fd/{folder}/{name}?mode=ro&immutable=1"
        with closing(sqlite3.connect(where, uri=True)) as connection:
            return str(connection.execute("SELECT folder FROM about").fetchone()[0])
    except (sqlite3.Error, TypeError):
        return ""


@contextmanager
def _opened(name: str, folder: int | None = None) -> Iterator[int]:
    """A folder's descriptor. A link is refused, except as the cache itself, which its user names."""
    flags = _DIRECTORY if folder is not None else os.O_RDONLY | os.O_DIRECTORY
    descriptor = os.open(name, flags, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
