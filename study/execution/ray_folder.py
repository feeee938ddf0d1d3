"""The folder for the sockets and logs of a local Ray: Ray's default folder, or else a private one.

Ray's default is RAY_TMPDIR/ray, TMPDIR/ray or /tmp/ray. Ray cannot use it if its path is too long for a socket, as with
the TMPDIR of some batch systems and of macOS, or if it belongs to another user.
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

# Maximum length of a socket's path in bytes, without the final zero: sun_path of <sys/un.h>.
_LONGEST = 103 if sys.platform == "darwin" else 107
# The longest path that Ray uses below its folder, with the longest possible process id.
_BELOW = "/session_2026-11-27_21-40-25_833149_4194304/sockets/plasma_store"
_NAME = "x" * 8  # as long as a name that mkdtemp makes


@contextmanager
def ray_folder() -> Iterator[Path]:
    """Yield a folder that Ray can use for the duration of the block.

    A private folder of ours is kept, with Ray's logs, until the next study on this machine needs one.

    Raises:
        InputError: Ray can use none of the possible folders.
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
        f"Ray needs a writable folder with a path of at most {_LONGEST - len(_BELOW)} ASCII characters, but "
        f"{first / 'ray'} {problem}: set RAY_TMPDIR or TMPDIR to such a folder. RAY_TMPDIR takes precedence."
    )


def _problem(folder: Path, existing: Path | None) -> str | None:
    """Return why Ray cannot use a folder, None if it can. The folder may be missing, `existing` must exist."""
    try:
        if len(str(folder).encode("ascii")) + len(_BELOW) > _LONGEST:
            return "is longer"
        if existing is not None and not existing.is_dir():
            return "is not in an existing folder"
        above = next(parent for parent in (folder, *folder.parents) if parent.exists())
    except UnicodeEncodeError:
        return "has characters outside ASCII"
    except OSError:  # in a folder without search permission
        return "cannot be reached"
    return None if above.is_dir() and os.access(above, os.W_OK | os.X_OK) else "cannot be written"


def _is_private(home: Path) -> bool:
    """Create `home` if missing, and return whether only this user can access it.

    In a world-writable folder another user may have created it under our name.
    """
    try:
        home.mkdir(mode=0o700, exist_ok=True)
        status = home.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077


@contextmanager
def _folder_in(home: Path) -> Iterator[Path]:
    """Yield a new folder, locked while it is in use. Folders that are no longer in use are removed."""
    with _locked(home):
        for earlier in home.iterdir():
            with _locked(earlier, wait=False) as unused:
                if unused:
                    shutil.rmtree(earlier, ignore_errors=True)
        folder = Path(mkdtemp(prefix="", dir=home))
        lock = os.open(folder, os.O_RDONLY)
        _lock(lock, wait=False)
    try:
        yield folder
    finally:
        os.close(lock)


@contextmanager
def _locked(folder: Path, wait: bool = True) -> Iterator[bool]:
    """Lock a folder within the block. Yield whether it is locked: some file systems do not support locks."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield _lock(descriptor, wait)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, wait: bool) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True
