"""Images that lie inside of other files, unpacked beside them once."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from trainables.data.archives import lock_file
from trainables.errors import InputError

_PLACE = ".unpacked-pictures"  # in the data folder; hidden, so that nobody takes it for a class


def unpack(file: Path, data: Path, write: Callable[[Path], None]) -> Path:
    """The folder below `data` that `write` filled from a file; filled anew where the file has changed."""
    folder = data / _PLACE / file.relative_to(data)
    part = folder.with_name(f".{folder.name}.part")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock_file(folder)):
            stamp = file.stat().st_mtime_ns  # the folder gets the same, and loses it when anybody changes it
            if folder.is_dir() and folder.stat().st_mtime_ns == stamp:
                return folder
            for rest in (part, folder):  # of a killed run, of an older file
                shutil.rmtree(rest, ignore_errors=True)
            try:
                part.mkdir()
                write(part)
                os.replace(part, folder)
                os.utime(folder, ns=(stamp, stamp))
            finally:
                shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{file} cannot be unpacked into {folder} ({reason}): make room for it there.") from error
    return folder
