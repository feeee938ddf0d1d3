"""Unpack images from other files, once, into a hidden folder of the data folder."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from trainables.data.archives import lock_file
from trainables.errors import InputError

_FOLDER = ".unpacked-pictures"  # hidden, so that it is not taken for a class


def unpack(file: Path, data: Path, write: Callable[[Path], None]) -> Path:
    """Return the folder below `data` that `write` filled from a file; it is filled again if the file has changed.

    Raises:
        InputError: The folder cannot be written.
    """
    folder = data / _FOLDER / file.relative_to(data)
    part = folder.with_name(f".{folder.name}.part")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock_file(folder)):
            stamp = file.stat().st_mtime_ns  # the folder gets the same mtime, and loses it if its content changes
            if folder.is_dir() and folder.stat().st_mtime_ns == stamp:
                return folder
            for outdated in (part, folder):  # left from a killed run, or from an older file
                shutil.rmtree(outdated, ignore_errors=True)
            try:
                part.mkdir()
                write(part)
                os.replace(part, folder)
                os.utime(folder, ns=(stamp, stamp))
            finally:
                shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(
            f"{file} cannot be unpacked into {folder} ({reason}): free some space, or check the permissions."
        ) from error
    return folder
