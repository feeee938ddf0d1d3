"""Where a Ray of our own keeps its sockets and logs: where Ray would by itself, or in a folder of ours.

Ray's own choice is RAY_TMPDIR/ray, TMPDIR/ray or /tmp/ray. It cannot be used where its path is too long for a socket,
as under the TMPDIR of a batch job or of macOS, and where it belongs to somebody else.
"""

import fcntl
import os
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from trainables.errors import InputError

# Bytes of a socket's path, without the zero at its end: sun_path of <sys/un.h>.
_LONGEST = 103 if sys.platform == "darwin" else 107
# The longest path below Ray's folder, with room for the longest process id.
_BELOW = "/session_2026-11-27_21-40-25_833149_4194304/sockets/plasma_store"
_NAME = "x" * 8  # as long as those of mkdtemp


@contextmanager
def ray_folder() -> Iterator[Path]:
    """A folder that Ray can use, for as long as the block lasts.

    One of ours is private, and stays with Ray's logs until the next study on this machine needs one.

    Raises:
        InputError: there is none.
    """
    named = os.environ.get("RAY_TMPDIR")
    first = Path(named or os.environ.get("TMPDIR") or "/tmp").absolute()  # noqa: S108 (as Ray does)
    others = [os.environ.get("TMPDIR"), "/tmp", "/var/tmp", os.environ.get("XDG_RUNTIME_DIR")]  # noqa: S108
    problem = _problem(first / "ray", None if named else first)
    if problem is None:
        yield first / "ray"
        return
    for base in [first] if named else [Path(other).absolute() for other in others if other]:
        home = base / f"study-{os.getuid()}"
        if _problem(home / _NAME, base) is None and _is_private(home):
            with _folder_in(home) as folder:
                yield folder
            return
    raise InputError(
        f"Ray needs a folder of yours with a path of at most {_LONGEST - len(_BELOW)} ASCII letters, but "
        f"{first / 'ray'} {problem}: set RAY_TMPDIR, or TMPDIR where that is not set, to such a folder."
    )


def _problem(folder: Path, there: Path | None) -> str | None:
    """Why Ray cannot use a folder, which need not exist; `there` must."""
    try:
        if len(str(folder).encode("ascii")) + len(_BELOW) > _LONGEST:
            return "is longer"
        if there is not None and not there.is_dir():
            return "lies in no folder"
        above = next(each for each in (folder, *folder.parents) if each.exists())
    except UnicodeEncodeError:
        return "has other letters than ASCII"
    except OSError:  # in a folder that may not be searched
        return "cannot be reached"
    return None if above.is_dir() and os.access(above, os.W_OK | os.X_OK) else "cannot be written"


def _is_private(home: Path) -> bool:
    """Make it where it is missing. In a folder that all may write to somebody else may have made it for us."""
    try:
        home.mkdir(mode=0o700, exist_ok=True)
        found = home.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077


@contextmanager
def _folder_in(home: Path) -> Iterator[Path]:
    """A new folder, locked while it is in use; what nobody uses any more goes."""
    with _locked(home):
        for left in home.iterdir():
            with _locked(left, wait=False) as unused:
                if unused:
                    shutil.rmtree(left, ignore_errors=True)
        folder = Path(mkdtemp(prefix="", dir=home))
        lock = os.open(folder, os.O_RDONLY)
        _lock(lock, wait=False)
    try:
        yield folder
    finally:
        os.close(lock)


@contextmanager
def _locked(folder: Path, wait: bool = True) -> Iterator[bool]:
    """Whether the folder is locked within the block; a file system that locks nothing locks nobody out."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        yield _lock(opened, wait)
    finally:
        os.close(opened)


def _lock(opened: int, wait: bool) -> bool:
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True
