"""Inspection of one file: its hash, its size, and a thumbnail for finding duplicates."""

import errno
import hashlib
import os
import time
from dataclasses import dataclass

from trainables.data.duplicates import perceptual_hash, thumbnail
from trainables.data.grayscale import GrayRanges, Range
from trainables.data.images import DecodeError, decode

_STORABLE = 2**63  # limit of SQLite's integers; a broken clock may leave larger times

Stamp = tuple[int, int, int]  # size in bytes, mtime and ctime in ns

# Two changes within one tick of a file system's clock have the same time. Whole seconds indicate a coarse clock.
_FINE_TICK, _COARSE_TICK, _SECOND = 100_000_000, 2_000_000_000, 1_000_000_000


@dataclass(frozen=True, slots=True)
class Inspection:
    """The results for one file; a file that cannot be decoded has a `drop_reason`."""

    size: int = 0  # in bytes
    sha256: str = ""
    width: int = 0
    height: int = 0
    mode: str = ""
    turned: bool = False
    drop_reason: str = ""
    extent: Range | None = None  # darkest and brightest sample of a deep image
    hash: int | None = None  # perceptual; a deep image has one once the gray range of the data set is known
    thumbnail: bytes | None = None


def stamp_of(file: str) -> Stamp | None:
    """Return the stamp of a file; None if it cannot be read or stored."""
    try:
        status = os.stat(file)
    except OSError:
        return None
    stamp = status.st_size, status.st_mtime_ns, status.st_ctime_ns
    return stamp if max(map(abs, stamp)) < _STORABLE else None


def inspect(file: str, gray_ranges: GrayRanges | None = None) -> tuple[Inspection, Stamp | None]:
    """Inspect a file.

    Returns:
        The inspection, and the file's stamp if an unchanged stamp proves an unchanged file, else None.
    """
    began, before = time.time_ns(), stamp_of(file)
    try:
        with open(file, "rb") as stream:
            data = stream.read()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP) and os.path.islink(file):
            return Inspection(drop_reason="broken link"), None
        return Inspection(drop_reason=f"unreadable: {(error.strerror or 'input or output error').lower()}"), None
    stamp = before if before == stamp_of(file) and before is not None and _is_old(before, began) else None
    return _inspected(data, gray_ranges), stamp


def _is_old(stamp: Stamp, now: int) -> bool:
    """Whether the last change is more than a clock tick ago.

    As in git: a file changed just now may change again within the same tick. The ctime counts, because no program can
    set it.
    """
    changed = stamp[2]
    return now - changed > (_COARSE_TICK if changed % _SECOND == 0 else _FINE_TICK)


def _inspected(data: bytes, gray_ranges: GrayRanges | None) -> Inspection:
    size, sha256 = len(data), hashlib.sha256(data).hexdigest()
    try:
        decoded = decode(data, gray_ranges)
    except DecodeError as error:
        return Inspection(size, sha256, drop_reason=str(error))
    about = (size, sha256, decoded.width, decoded.height, decoded.mode, decoded.turned, "", decoded.extent)
    if decoded.extent is not None and gray_ranges is None:
        return Inspection(*about)
    thumb = thumbnail(decoded.pixels)
    return Inspection(*about, perceptual_hash(thumb), thumb.tobytes())
