"""Where the images that a table names lie: its paths from other machines, and its ids without an ending."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from trainables.data.sources.folds import fold_in
from trainables.data.sources.tree import IMAGE_ENDINGS, files_below, is_image_name
from trainables.errors import InputError

_ENDING = re.compile(rf"\.({'|'.join(IMAGE_ENDINGS)})$", re.IGNORECASE)


def below(path: str, table: Path) -> str:
    """A path of a table, seen from the folder that the table lies in.

    An absolute path may lie below that folder; backslashes separate folders where no file has them in its name.
    """
    root = table.parent
    if "\\" in path and not os.path.lexists(root / path):
        if re.match(r"[A-Za-z]:|\\\\", path):
            raise InputError(
                f"The paths of {table} start from its folder, but {path!r} is absolute, from a Windows machine: "
                "write it from that folder on, with forward slashes."
            )
        path = path.replace("\\", "/")
    given = Path(path)
    if ".." in given.parts or "\0" in path:
        raise _outside(path, table)
    if not given.is_absolute():
        return given.as_posix()
    for start, one in ((root.absolute(), given), (root.resolve(), given), (root.resolve(), _really(given))):
        if one.is_relative_to(start):
            return one.relative_to(start).as_posix()
    raise _outside(path, table)


def find(paths: Sequence[str], table: Path, search: bool) -> list[str]:
    """The files of a table's images, from its folder on.

    With `search` a name without its ending or its folder is enough where exactly one image file fits it; of several
    the one counts that lies in a folder of the table's own fold, such as train/ for train.csv.
    """
    found = [below(path, table) for path in paths]
    places: list[str | None] = [path if _is_there(table.parent / path) else None for path in found]
    if search and None in places:
        index = _index(table.parent)
        places = [place or _fitting(path, index, table) for path, place in zip(found, places, strict=True)]
    missing = [path for path, place in zip(paths, places, strict=True) if place is None]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(paths)} images of {table} do not exist, the first is {missing[0]!r}: "
            "put them there or take the rows out."
        )
    return [place for place in places if place is not None]


def any_of(paths: Sequence[str], table: Path) -> bool:
    """Whether at least one name in a table is that of an image file."""
    if any(_is_there(table.parent / path) for path in paths):
        return True
    index = _index(table.parent)
    return any(_key(path.replace("\\", "/")) in index for path in paths)


def _really(path: Path) -> Path:
    return path.parent.resolve() / path.name


def _outside(path: str, table: Path) -> InputError:
    return InputError(
        f"The paths of {table} stay below its folder, but {path!r} does not: move the image, or write its path from "
        "that folder on."
    )


def _is_there(file: Path) -> bool:
    """A broken link is there: a row of the manifest says that it is broken."""
    try:
        return os.path.isfile(file) or os.path.islink(file)
    except ValueError:  # a null byte
        return False


def _key(path: str) -> str:
    return _ENDING.sub("", path.rpartition("/")[2])


def _index(root: Path) -> dict[str, list[str]]:
    """The image files below a folder by their name without folder and ending."""
    index: dict[str, list[str]] = {}
    for path in filter(is_image_name, files_below(root, root)):
        index.setdefault(_key(path), []).append(path)
    return index


def _fitting(path: str, index: dict[str, list[str]], table: Path) -> str | None:
    fitting = [file for file in index.get(_key(path), []) if f"/{_like(file, path)}".endswith(f"/{path}")]
    if len(fitting) > 1 and (fold := fold_in(table.stem)):
        fitting = [file for file in fitting if fold in map(fold_in, Path(file).parts[:-1])] or fitting
    if len(fitting) > 1:
        raise InputError(
            f"Each image of {table} is one file, but {path!r} may be {fitting[0]!r} or {fitting[1]!r}: write the path "
            f"from the folder of {table.name} on, or move the others out."
        )
    return fitting[0] if fitting else None


def _like(file: str, path: str) -> str:
    """A file's path with its ending where the table's has one, too."""
    return file if _ENDING.search(path) else _ENDING.sub("", file)
