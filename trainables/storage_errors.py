"""Errors of storage that is full, lost or read-only."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainables.errors import Unavailable

_FULL = {errno.ENOSPC, errno.EDQUOT}
_GAVE_OUT = _FULL | {errno.EROFS, errno.EIO, errno.ESTALE, errno.ENOTCONN}
# The wording of the libraries that write files: safetensors, then Arrow.
_NUMBER = re.compile(r"os error (\d+)|errno (\d+)", re.IGNORECASE)
_MIB = 2**20


def gave_out(problem: BaseException) -> int | None:
    """Return the errno if `problem` means that storage is full, lost or read-only, else None."""
    if isinstance(problem, OSError) and problem.errno:
        number = problem.errno
    else:
        match = _NUMBER.search(str(problem)) if isinstance(problem, Exception) else None
        number = int(match[1] or match[2]) if match else None
    return number if number in _GAVE_OUT else None


@contextmanager
def writing(file: Path, size: int | None = None) -> Iterator[None]:
    """Turn an error from full or lost storage within the block into an error that names the file.

    Args:
        file: The file that is written.
        size: Its size in bytes, if known.

    Raises:
        OSError: Storage gave out; if it is full, a note says how much space is left.
    """
    try:
        yield
    except Exception as problem:
        number = gave_out(problem)
        if number is None or isinstance(problem, Unavailable):
            raise
        named = OSError(number, os.strerror(number), str(file))
        if number in _FULL:
            named.add_note(_room(file, size))
        raise named from problem


def _room(file: Path, size: int | None) -> str:
    mounted = next(folder for folder in file.absolute().parents if os.path.ismount(folder))
    status = os.statvfs(mounted)
    no_inodes = " and no free inodes" if status.f_files and not status.f_favail else ""
    takes = f"it takes {size / _MIB:.3g} MiB, and " if size is not None else ""
    return f"{takes}its file system {mounted} has {status.f_bavail * status.f_frsize / _MIB:.3g} MiB left{no_inodes}"
