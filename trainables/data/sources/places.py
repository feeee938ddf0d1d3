"""Find the images that a table names: also under paths from other machines, and under names without an extension."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from trainables.data.sources.folds import fold_in
from trainables.data.sources.tree import IMAGE_ENDINGS, files_below, is_image_name
from trainables.errors import InputError

_ENDING = re.compile(rf"\.({'|'.join(IMAGE_ENDINGS)})$", re.IGNORECASE)


def below(path: str, table: Path) -> str:
    """Return a path from a table, relative to the table's folder.

    An absolute path is allowed if it is below that folder. Backslashes separate folders unless a file has them in its
    name.

    Raises:
        InputError: The path is outside of the folder.
    """
    root = table.parent
    if "\\" in path and not os.path.lexists(root / path):
        if re.match(r"[A-Za-z]:|\\\\", path):
            raise InputError(
                f"The paths of {table} must be relative to its folder, but {path!r} is an absolute Windows path: "
                "write it relative to that folder, with forward slashes."
            )
        path = path.replace("\\", "/")
    given = Path(path)
    if ".." in given.parts or "\0" in path:
        raise _outside(path, table)
    if not given.is_absolute():
        return given.as_posix()
    for start, target in ((root.absolute(), given), (root.resolve(), given), (root.resolve(), _resolved(given))):
        if target.is_relative_to(start):
            return target.relative_to(start).as_posix()
    raise _outside(path, table)


def find(paths: Sequence[str], table: Path, search: bool) -> list[str]:
    """Return the files of a table's images, relative to its folder.

    With `search`, a name without its extension or folder is enough if exactly one image file matches. If several match,
    those in a folder of the table's own fold are preferred, such as train/ for train.csv.

    Raises:
        InputError: An image does not exist, is outside of the folder, or matches several files.
    """
    relative = [below(path, table) for path in paths]
    files: list[str | None] = [path if _exists(table.parent / path) else None for path in relative]
    if search and None in files:
        index = _index(table.parent)
        files = [file or _matching(path, index, table) for path, file in zip(relative, files, strict=True)]
    missing = [path for path, file in zip(paths, files, strict=True) if file is None]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(paths)} images of {table} do not exist, the first is {missing[0]!r}: "
            "put them there, or remove the rows."
        )
    return [file for file in files if file is not None]


def any_of(paths: Sequence[str], table: Path) -> bool:
    """Whether at least one path or name in a table denotes an image file."""
    if any(_exists(table.parent / path) for path in paths):
        return True
    index = _index(table.parent)
    return any(_key(path.replace("\\", "/")) in index for path in paths)


def _resolved(path: Path) -> Path:
    return path.parent.resolve() / path.name


def _outside(path: str, table: Path) -> InputError:
    return InputError(
        f"The paths of {table} must be below its folder, but {path!r} is not: move the image, or write its path "
        "relative to that folder."
    )


def _exists(file: Path) -> bool:
    """Whether a file or a link exists; a broken link counts, and the manifest then says that it is broken."""
    try:
        return os.path.isfile(file) or os.path.islink(file)
    except ValueError:  # a null byte
        return False


def _key(path: str) -> str:
    return _ENDING.sub("", path.rpartition("/")[2])


def _index(root: Path) -> dict[str, list[str]]:
    """Return the image files below a folder, by name without folder and extension."""
    index: dict[str, list[str]] = {}
    for path in filter(is_image_name, files_below(root, root)):
        index.setdefault(_key(path), []).append(path)
    return index


def _matching(path: str, index: dict[str, list[str]], table: Path) -> str | None:
    files = [file for file in index.get(_key(path), []) if f"/{_like(file, path)}".endswith(f"/{path}")]
    if len(files) > 1 and (fold := fold_in(table.stem)):
        files = [file for file in files if fold in map(fold_in, Path(file).parts[:-1])] or files
    if len(files) > 1:
        raise InputError(
            f"Each image of {table} must match one file, but {path!r} matches {files[0]!r} and {files[1]!r}: write the "
            f"path relative to the folder of {table.name}, or move the others out."
        )
    return files[0] if files else None


def _like(file: str, path: str) -> str:
    """Return a file's path, without its extension if the path in the table has none."""
    return file if _ENDING.search(path) else _ENDING.sub("", file)
