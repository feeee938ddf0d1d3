"""One driver per study: a lock on its folder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainables.errors import InputError


@contextmanager
def sole_driver(out: Path, shown: Path | str | None = None) -> Iterator[None]:
    """Lock the study in `out`, so no other process drives it within the block. A killed process leaves no lock.

    Args:
        shown: the name of `out` in the error.

    Raises:
        InputError: another process drives the study.
    """
    folder = os.open(out, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"--out {shown or out} is in use: another process runs its study. Wait for it, or end it."
            ) from None
        except OSError:
            pass  # a network file system that cannot lock folders
        yield
    finally:
        os.close(folder)
