"""Storage that is full, lost or read-only: which errors mean that, and what their message says."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainables.errors import Unavailable

_FULL = {errno.ENOSPC, errno.EDQUOT}
_GAVE_OUT = _FULL | {errno.EROFS, errno.EIO, errno.ESTALE, errno.ENOTCONN}
# As the libraries that write for us say it: safetensors, then Arrow.
_NUMBER = re.compile(r"os error (\d+)|errno (\d+)", re.IGNORECASE)
_MIB = 2**20


def gave_out(problem: BaseException) -> int | None:
    """The number of the error where `problem` says that storage is full, lost or read-only."""
    if isinstance(problem, OSError) and problem.errno:
        number = problem.errno
    else:
        said = _NUMBER.search(str(problem)) if isinstance(problem, Exception) else None
        number = int(said[1] or said[2]) if said else None
    return number if number in _GAVE_OUT else None


@contextmanager
def writing(file: Path, size: int | None = None) -> Iterator[None]:
    """Where storage gives out within the block, the error names the file, its bytes where known, and what room is left.

    Raises:
        OSError: with the room as a note.
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
    found = os.statvfs(mounted)
    no_names = " and takes no more files" if found.f_files and not found.f_favail else ""
    takes = f"it takes {size / _MIB:.3g} MiB, and " if size is not None else ""
    return f"{takes}its file system {mounted} has {found.f_bavail * found.f_frsize / _MIB:.3g} MiB left{no_names}"
