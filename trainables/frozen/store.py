"""The store of activations on a node's disk, which are computed once and memory-mapped by every trial.

A stream holds the activations of a list of images at one cut, in units of `UNIT` images. A unit is a file that is
renamed into place when it is complete, and never changes. So a reader finds all of it or nothing. A mapped file stays
readable after it is evicted, so readers need no locks.
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

UNIT = 256  # images
# Without --cache-gib the store may take this share of the free disk.
_SHARE_OF_DISK = 0.25
# Partial files of killed writers are removed after this many seconds.
_ABANDONED = 600
_WORTH = "worth.json"


@dataclass
class Store:
    """A store in `folder`; `limit` bounds the bytes of all units together."""

    folder: Path
    limit: float

    def load(self, stream: str, number: int) -> torch.Tensor | None:
        """Return the memory-mapped rows of a unit, shape (rows, ...), or None if it is not stored."""
        file = self._file(stream, number)
        try:
            with safe_open(file, framework="pt", device="cpu") as unit:
                rows = unit.get_tensor("rows")
            os.utime(file.parent)  # the time of last use
        except (OSError, SafetensorError):
            return None
        return rows

    def save(self, stream: str, number: int, rows: torch.Tensor, seconds: float) -> None:
        """Store a unit that took `seconds` to compute. If the disk is full or fails, it is computed again later."""
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
        """Yield whether this process may compute a unit; the claim ends with the block, or with the process."""
        digest = hashlib.blake2b(f"{stream}/{number}".encode(), digest_size=7).digest()
        byte = int.from_bytes(digest, "little")
        locks = _lock_file(self.folder)
        try:
            fcntl.lockf(locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
        except (BlockingIOError, PermissionError):
            yield False
            return
        except OSError:  # a file system without locks: two processes may compute the same unit
            yield True
            return
        try:
            yield True
        finally:
            fcntl.lockf(locks, fcntl.LOCK_UN, 1, byte)

    def _file(self, stream: str, number: int) -> Path:
        return self.folder / stream / f"{number:05d}.safetensors"


def open_store(cache_folder: Path, cache_gib: float | None) -> Store:
    """Open the store of a node, in its cache folder."""
    folder = cache_folder / FROZEN
    folder.mkdir(parents=True, exist_ok=True)
    return Store(folder, store_limit(cache_folder, cache_gib))


def store_limit(cache_folder: Path, cache_gib: float | None) -> float:
    """Return the limit of the store in bytes: `cache_gib` minus the decoded images, or a share of the free disk."""
    if cache_gib is not None:
        return cache_gib * 2**30 - sum(file.stat().st_size for file in cache_folder.glob(f"*{IMAGES}"))
    existing = next(folder for folder in (cache_folder, *cache_folder.absolute().parents) if folder.exists())
    store = cache_folder / FROZEN
    return _SHARE_OF_DISK * (shutil.disk_usage(existing).free + (_size(store) if store.exists() else 0))


def shrink(folder: Path, limit: float) -> bool:
    """Evict the least useful units until at most `limit` bytes are left; return False if that is impossible.

    Usefulness is the computing time per byte, divided by the time since the last use.
    """
    total = _size(folder)
    if total <= limit or limit < 0:
        return limit >= 0
    now = time.time()
    for stream in sorted(filter(Path.is_dir, folder.iterdir()), key=lambda stream: _usefulness(stream, now)):
        for file in sorted(stream.glob("*.*"), key=lambda file: file.name == _WORTH):
            with suppress(FileNotFoundError):  # another process may evict, too
                status = file.stat()
                if file.suffix == ".part" and now - status.st_mtime < _ABANDONED:
                    continue
                file.unlink()
                total -= status.st_size
            if total <= limit:
                return True
        with suppress(OSError):  # another process may write there
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
        with suppress(OSError):  # another process may have removed it
            if stream.is_dir():
                total += sum(file.stat().st_size for file in os.scandir(stream))
    return total


@cache
def _lock_file(folder: Path) -> int:
    """Return a descriptor that the process never closes: closing any descriptor of a file drops all its locks."""
    return os.open(folder / FROZEN_LOCKS, os.O_RDWR | os.O_CREAT, 0o600)
