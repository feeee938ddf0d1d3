"""Tables of images: each row has a file and a label, and optionally a split and a group."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from trainables.data.manifest import Candidate, Source
from trainables.data.sources import class_names, columns, places
from trainables.data.sources.folds import SPLITS, fold_of
from trainables.data.sources.tree import Walk, files_below, is_image_name, loose_files
from trainables.errors import InputError

_LONGEST_HEAD = 2**16  # characters; a file may be a single line


def read(table: Path, most: int | None = None) -> pd.DataFrame:
    """Read a CSV file, or its first rows, with all columns as text, so that a class may be called 1 or NA.

    Raises:
        InputError: The file cannot be read or parsed.
    """
    how: dict[str, Any] = {"dtype": str, "keep_default_na": False, "encoding": "utf-8-sig", "skipinitialspace": True}
    try:
        return pd.read_csv(table, sep=_separator(table), nrows=most, **how)
    except OSError as error:
        raise InputError(
            f"{table} cannot be read ({(error.strerror or str(error)).lower()}): check its permissions."
        ) from error
    except ValueError as error:  # pandas' parser errors and bad UTF-8 are ValueErrors
        reason = " ".join(str(error).split())
        raise InputError(f"{table} cannot be read as a CSV file ({reason}): save it as UTF-8.") from error


def _separator(table: Path) -> str:
    """Return the separator of columns: a comma, or a semicolon or tab if the first line has no comma."""
    with open(table, encoding="utf-8-sig") as lines:
        head = lines.readline(_LONGEST_HEAD)
    return next((mark for mark in ",;\t" if mark in head), ",")


def from_csv(table: Path, split: str | None = None) -> Source:
    """Read the images of a table with any known headers; `split` is the fold of rows that name none.

    Raises:
        InputError: The table cannot be read, or does not list labeled images.
    """
    rows = read(table)
    try:
        roles = columns.find(rows)
    except ValueError as error:
        raise InputError(f"{table} must have the columns path and label, but has {error}: rename them.") from error
    rows = columns.renamed(rows, roles, str(table))
    if split:
        given = rows["split"] if "split" in rows else pd.Series("", index=rows.index)
        rows = rows.assign(split=given.where(given.str.strip() != "", split))
    candidates = from_rows(table, rows, table.parent, search=roles.image != "path")
    has_split = bool(split or roles.split)
    candidates = candidates if has_split else _by_folder(candidates)
    fold = "" if has_split or not candidates[0].official_split else ", its folder its fold"
    fold = f", {roles.split!r} its fold" if roles.split else fold
    return Source(
        candidates, layout=f"{table.name}, where {roles}{fold}", notes=class_names.written_twice(rows["label"])
    )


def from_rows(table: Path, rows: pd.DataFrame, data: Path, search: bool = False) -> list[Candidate]:
    """Return the images of a table in `data`; its paths are relative to its own folder.

    Raises:
        InputError: The table is empty, lacks a path or label, has an unknown split, or lists an image that does not
            exist or that it lists twice.
    """
    if rows.empty:
        raise InputError(f"{table} must list images, but has no rows: add rows.")
    labels = [class_names.clean(label) for label in rows["label"]]
    groups = rows["group"] if "group" in rows else pd.Series("", index=rows.index)
    splits = rows["split"].str.lower() if "split" in rows else pd.Series("", index=rows.index)
    for path, label in zip(rows["path"], labels, strict=True):
        if not path or not label:
            raise InputError(f"Each row of {table} needs a path and a label, but got {path!r}, {label!r}: fill it in.")
    for path, split in zip(rows["path"], splits, strict=True):
        if split and split not in SPLITS:
            raise InputError(f"A split in {table} must be train, val, test or empty, but {path!r} has {split!r}.")
    class_names.check_single(labels, str(table))
    paths = places.find(list(rows["path"]), table, search)
    repeated = pd.Series(paths)[pd.Series(paths).duplicated()]
    if len(repeated):
        raise InputError(f"{table} lists {repeated.iloc[0]!r} twice: keep one row.")
    folder = table.parent.relative_to(data)
    return [
        Candidate((folder / path).as_posix(), label, SPLITS.get(split), group=group or None)
        for path, label, split, group in zip(paths, labels, splits, groups, strict=True)
    ]


def unlisted(data: Path, candidates: list[Candidate], tables: list[Path], walk: Walk) -> list[str]:
    """Return a note on images that are in the same folders as the listed ones, but in no table."""
    listed = {candidate.path for candidate in candidates}
    folders = sorted({path.partition("/")[0] for path in listed if "/" in path})
    beside = [path for name in folders for path in files_below(data / name, data, walk)] + loose_files(data)
    left = sorted(path for path in {*beside} - listed if is_image_name(path))
    if not left:
        return []
    names = " and ".join(table.relative_to(data).as_posix() for table in tables)
    are = f"{len(left)} images in the folder are" if len(left) > 1 else "1 image in the folder is"
    return [f"left out: {are} not in {names}; the first is {left[0]!r}"]


def _by_folder(candidates: list[Candidate]) -> list[Candidate]:
    """Return the candidates with the fold of their first folder, if these folders are train/ and other folds."""
    first = [path.partition("/")[0] if "/" in path else "" for path in (candidate.path for candidate in candidates)]
    folds = [fold_of(folder) if folder else None for folder in first]
    if (
        "train" not in folds
        or len(set(folds) - {None}) == 1
        or any(candidate.official_split for candidate in candidates)
    ):
        return candidates
    return [replace(candidate, official_split=fold) for candidate, fold in zip(candidates, folds, strict=True)]
