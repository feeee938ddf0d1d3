"""What lies in a data folder, and what its folders' names say about the official split."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainables.errors import InputError

# Names that people give to the folders and files of an official split.
SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def visible_folders(folder: Path) -> list[Path]:
    """Subfolders by name; hidden ones and links out of the folder are none."""
    with _readable(folder):
        return sorted(path for path in folder.iterdir() if path.is_dir() and _belongs(path, folder))


def files_below(folder: Path, root: Path) -> list[str]:
    """Regular files at any depth, relative to `root`; hidden ones and links out of `root` are none."""
    found = []
    with _readable(folder):
        for parent, folders, names in os.walk(folder, onerror=_raise):
            folders[:] = [name for name in folders if not name.startswith(".")]
            files = (Path(parent) / name for name in names)
            found += [file.relative_to(root).as_posix() for file in files if file.is_file() and _belongs(file, root)]
    return sorted(found)


def files_ending(data: Path, ending: str) -> list[Path]:
    """Files of one kind at the top of `data` and in its folders data/, train/, val/ and test/.

    Empty where another folder stands beside them: then the folders are classes, and the files something else.
    """
    folders = visible_folders(data)
    if any(folder.name.lower() not in (*SPLITS, "data") for folder in folders):
        return []
    found = [sorted(folder.glob(f"*{ending}")) for folder in folders]
    if not all(found):
        return []
    files = [*sorted(data.glob(f"*{ending}")), *(file for files in found for file in files)]
    return [file for file in files if file.is_file() and _belongs(file, data)]


def split_of(file: Path, data: Path) -> str | None:
    """The official split that a file's folder or name tells: train/0.tar, pets-val-000.tar, test-0-of-1.parquet."""
    for part in (*file.relative_to(data).parts[:-1], file.stem):
        named = {SPLITS[word] for word in re.split(r"[^a-z]+", part.lower()) if word in SPLITS}
        if len(named) == 1:
            return named.pop()
    return None


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """A folder that cannot be listed would be a class without its pictures, or a class less."""
    try:
        yield
    except OSError as error:
        place, reason = error.filename or str(folder), (error.strerror or "input or output error").lower()
        raise InputError(f"{place!r} cannot be read ({reason}): allow it, or move it out of the data.") from error


def _raise(error: OSError) -> None:
    raise error


def _belongs(path: Path, root: Path) -> bool:
    return not path.name.startswith(".") and path.resolve().is_relative_to(root.resolve())
