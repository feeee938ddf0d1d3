"""Inspection of one file: read, hash, decode, and reduce to a thumbnail that finds duplicates."""

import errno
import hashlib
import os
import time
from dataclasses import dataclass

from trainables.data.duplicates import perceptual_hash, thumbnail
from trainables.data.greys import Greys, Range
from trainables.data.images import DecodeError, decode

_STORABLE = 2**63  # SQLite's integers; a broken clock may leave larger times

Stamp = tuple[int, int, int]  # bytes, and the times of the last change to content and to anything, in ns

# Two changes within one tick of a file system's clock have the same time. Whole seconds indicate a coarse clock.
_FINE_TICK, _COARSE_TICK, _SECOND = 100_000_000, 2_000_000_000, 1_000_000_000


@dataclass(frozen=True, slots=True)
class Inspection:
    size: int = 0  # in bytes
    sha256: str = ""
    width: int = 0
    height: int = 0
    mode: str = ""
    turned: bool = False
    drop_reason: str = ""
    extent: Range | None = None  # of a deep image: its darkest and brightest sample
    hash: int | None = None  # perceptual; of a deep image only where the data set's grays are known
    thumbnail: bytes | None = None


def stamp_of(file: str) -> Stamp | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    stamp = found.st_size, found.st_mtime_ns, found.st_ctime_ns
    return stamp if max(map(abs, stamp)) < _STORABLE else None


def inspect(file: str, greys: Greys | None = None) -> tuple[Inspection, Stamp | None]:
    """Return what the file holds, and its stamp if an unchanged stamp proves an unchanged file, else None."""
    began, before = time.time_ns(), stamp_of(file)
    try:
        with open(file, "rb") as stream:
            data = stream.read()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP) and os.path.islink(file):
            return Inspection(drop_reason="broken link"), None
        return Inspection(drop_reason=f"unreadable: {(error.strerror or 'input or output error').lower()}"), None
    stamp = before if before == stamp_of(file) and before is not None and _is_old(before, began) else None
    return _inspected(data, greys), stamp


def _is_old(stamp: Stamp, now: int) -> bool:
    """As in git: a file changed just now may change again within the same tick. Only the system sets ctime."""
    changed = stamp[2]
    return now - changed > (_COARSE_TICK if changed % _SECOND == 0 else _FINE_TICK)


def _inspected(data: bytes, greys: Greys | None) -> Inspection:
    size, sha256 = len(data), hashlib.sha256(data).hexdigest()
    try:
        picture = decode(data, greys)
    except DecodeError as error:
        return Inspection(size, sha256, drop_reason=str(error))
    about = (size, sha256, picture.width, picture.height, picture.mode, picture.turned, "", picture.extent)
    if picture.extent is not None and greys is None:
        return Inspection(*about)
    thumb = thumbnail(picture.pixels)
    return Inspection(*about, perceptual_hash(thumb), thumb.tobytes())
