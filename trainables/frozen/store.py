"""Activations on a node's disk: computed once, mapped into memory by every trial that needs them.

A stream is one activation of a list of images, kept in units of `UNIT` images. A unit is a file that gets its name
when it is whole and never changes, so a reader finds all of it or nothing. What a file held stays readable to those
who mapped it, also after it made room for others: readers take no locks.
"""

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from trainables.cache_layout import FROZEN, FROZEN_LOCKS, IMAGES

UNIT = 256
# Without --cache-gib the store may take this share of what its disk has left for it.
_SHARE_OF_DISK = 0.25
# What a writer that was killed has left is removed after this many seconds.
_ABANDONED = 600
_WORTH = "worth.json"


@dataclass
class Store:
    """`limit` bounds the bytes of all units together."""

    folder: Path
    limit: float

    def load(self, stream: str, number: int) -> torch.Tensor | None:
        """A unit's rows, mapped, or None where it is not stored."""
        file = self._file(stream, number)
        try:
            with safe_open(file, framework="pt", device="cpu") as unit:
                rows = unit.get_tensor("rows")
            os.utime(file.parent)  # the time of last use
        except (OSError, SafetensorError):
            return None
        return rows

    def save(self, stream: str, number: int, rows: torch.Tensor, seconds: float) -> None:
        """Keep what took `seconds` to compute. A disk that is full or fails costs time later, not a trial."""
        file = self._file(stream, number)
        part = file.with_name(f"{file.stem}.{os.getpid()}.part")
        with suppress(OSError, SafetensorError):
            if not shrink(self.folder, self.limit - rows.nbytes):
                return
            file.parent.mkdir(parents=True, exist_ok=True)
            worth = file.parent / _WORTH
            if not worth.exists():
                worth.write_text(json.dumps({"seconds_per_byte": seconds / rows.nbytes}))
            try:
                save_file({"rows": rows.contiguous()}, part)
                os.replace(part, file)
            finally:
                part.unlink(missing_ok=True)

    @contextmanager
    def claim(self, stream: str, number: int) -> Iterator[bool]:
        """Whether this process is the one to compute a unit; its claim ends with it, however it ends."""
        digest = hashlib.blake2b(f"{stream}/{number}".encode(), digest_size=7).digest()
        byte = int.from_bytes(digest, "little")
        locks = _lock_file(self.folder)
        try:
            fcntl.lockf(locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
        except (BlockingIOError, PermissionError):
            yield False
            return
        except OSError:  # a file system that locks nothing: the work may be done twice
            yield True
            return
        try:
            yield True
        finally:
            fcntl.lockf(locks, fcntl.LOCK_UN, 1, byte)

    def _file(self, stream: str, number: int) -> Path:
        return self.folder / stream / f"{number:05d}.safetensors"


def open_store(cache_folder: Path, cache_gib: float | None) -> Store:
    """The store of a node."""
    folder = cache_folder / FROZEN
    folder.mkdir(parents=True, exist_ok=True)
    return Store(folder, store_limit(cache_folder, cache_gib))


def store_limit(cache_folder: Path, cache_gib: float | None) -> float:
    """The bytes that the store may take: what decoded images leave of `cache_gib`, or a share of the disk."""
    if cache_gib is not None:
        return cache_gib * 2**30 - sum(file.stat().st_size for file in cache_folder.glob(f"*{IMAGES}"))
    there = next(folder for folder in (cache_folder, *cache_folder.absolute().parents) if folder.exists())
    own = cache_folder / FROZEN
    return _SHARE_OF_DISK * (shutil.disk_usage(there).free + (_size(own) if own.exists() else 0))


def shrink(folder: Path, limit: float) -> bool:
    """Remove the least useful units until at most `limit` bytes are left; False where that cannot be.

    A unit is the more useful the longer it took to compute for its size, and the more recently it was used.
    """
    total = _size(folder)
    if total <= limit or limit < 0:
        return limit >= 0
    now = time.time()
    for stream in sorted(filter(Path.is_dir, folder.iterdir()), key=lambda each: _usefulness(each, now)):
        for file in sorted(stream.glob("*.*"), key=lambda each: each.name == _WORTH):
            with suppress(FileNotFoundError):  # another process makes room, too
                found = file.stat()
                if file.suffix == ".part" and now - found.st_mtime < _ABANDONED:
                    continue
                file.unlink()
                total -= found.st_size
            if total <= limit:
                return True
        with suppress(OSError):  # somebody writes there
            stream.rmdir()
    return total <= limit


def _usefulness(stream: Path, now: float) -> float:
    try:
        worth = json.loads((stream / _WORTH).read_text())["seconds_per_byte"]
    except (OSError, ValueError, KeyError):
        return 0.0
    return worth / max(now - stream.stat().st_mtime, 1.0)


def _size(folder: Path) -> int:
    total = 0
    for stream in os.scandir(folder):
        with suppress(OSError):  # removed by another process in this moment
            if stream.is_dir():
                total += sum(file.stat().st_size for file in os.scandir(stream))
    return total


@cache
def _lock_file(folder: Path) -> int:
    """Open as long as the process lives: closing any descriptor of a file drops all its locks."""
    return os.open(folder / FROZEN_LOCKS, os.O_RDWR | os.O_CREAT, 0o600)
