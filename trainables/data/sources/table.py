"""A table of images: one row each with its file and label, and where the user has them split and group."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from trainables.data.manifest import Candidate, Source
from trainables.data.sources import class_names, columns, places
from trainables.data.sources.folds import SPLITS, fold_of
from trainables.data.sources.tree import Walk, files_below, is_image_name, loose_files
from trainables.errors import InputError

_LONGEST_HEAD = 2**16  # characters; a file may be one line


def read(table: Path, most: int | None = None) -> pd.DataFrame:
    """A CSV file, or its first rows, with all columns as text, so a class may be called 1 or NA."""
    how: dict[str, Any] = {"dtype": str, "keep_default_na": False, "encoding": "utf-8-sig", "skipinitialspace": True}
    try:
        return pd.read_csv(table, sep=_separator(table), nrows=most, **how)
    except OSError as error:
        raise InputError(f"{table} cannot be read ({(error.strerror or str(error)).lower()}): allow it.") from error
    except ValueError as error:  # pandas' parser errors and bad UTF-8 are ValueErrors
        reason = " ".join(str(error).split())
        raise InputError(f"{table} cannot be read as a CSV file ({reason}): save it as UTF-8.") from error


def _separator(table: Path) -> str:
    """A comma; where the head has none, what spreadsheets of other countries write."""
    with open(table, encoding="utf-8-sig") as lines:
        head = lines.readline(_LONGEST_HEAD)
    return next((mark for mark in ",;\t" if mark in head), ",")


def from_csv(table: Path, split: str | None = None) -> Source:
    """The images of a table under whichever headers; `split` is the fold of rows that name none."""
    rows = read(table)
    try:
        meant = columns.find(rows)
    except ValueError as error:
        raise InputError(f"{table} must have the columns path and label, but has {error}: rename them.") from error
    rows = columns.renamed(rows, meant, str(table))
    if split:
        named = rows["split"] if "split" in rows else pd.Series("", index=rows.index)
        rows = rows.assign(split=named.where(named.str.strip() != "", split))
    found = from_rows(table, rows, table.parent, search=meant.image != "path")
    own = bool(split or meant.split)
    found = found if own else _by_folder(found)
    fold = "" if own or not found[0].official_split else ", its folder its fold"
    fold = f", {meant.split!r} its fold" if meant.split else fold
    return Source(found, layout=f"{table.name}, where {meant}{fold}", notes=class_names.written_twice(rows["label"]))


def from_rows(table: Path, rows: pd.DataFrame, data: Path, search: bool = False) -> list[Candidate]:
    """The images of a table that lies in `data`; its paths start from its own folder."""
    if rows.empty:
        raise InputError(f"{table} must list images, but has no rows: add some.")
    labels = [class_names.clean(label) for label in rows["label"]]
    groups = rows["group"] if "group" in rows else pd.Series("", index=rows.index)
    splits = rows["split"].str.lower() if "split" in rows else pd.Series("", index=rows.index)
    for path, label in zip(rows["path"], labels, strict=True):
        if not path or not label:
            raise InputError(f"Each row of {table} needs a path and a label, but got {path!r}, {label!r}: fill it in.")
    for path, split in zip(rows["path"], splits, strict=True):
        if split and split not in SPLITS:
            raise InputError(f"A split in {table} is train, val, test or empty, but {path!r} has {split!r}.")
    class_names.check_single(labels, str(table))
    paths = places.find(list(rows["path"]), table, search)
    twice = pd.Series(paths)
    if twice.duplicated().any():
        raise InputError(f"{table} lists {twice[twice.duplicated()].iloc[0]!r} twice: leave one row.")
    folder = table.parent.relative_to(data)
    return [
        Candidate((folder / path).as_posix(), label, SPLITS.get(split), group=group or None)
        for path, label, split, group in zip(paths, labels, splits, groups, strict=True)
    ]


def unlisted(data: Path, found: list[Candidate], tables: list[Path], walk: Walk) -> list[str]:
    """A line on the images beside those that tables list, in the same folders."""
    listed = {one.path for one in found}
    folders = sorted({path.partition("/")[0] for path in listed if "/" in path})
    beside = [path for name in folders for path in files_below(data / name, data, walk)] + loose_files(data)
    left = sorted(path for path in {*beside} - listed if is_image_name(path))
    if not left:
        return []
    names = " and ".join(table.relative_to(data).as_posix() for table in tables)
    are = f"{len(left)} images in the folder are" if len(left) > 1 else "1 image in the folder is"
    return [f"left out: {are} not in {names}, the first is {left[0]!r}"]


def _by_folder(found: list[Candidate]) -> list[Candidate]:
    """The candidates with the fold of their first folder, where these are train/ and others."""
    folds = [fold_of(one.path.partition("/")[0]) if "/" in one.path else None for one in found]
    if "train" not in folds or len(set(folds) - {None}) == 1 or any(one.official_split for one in found):
        return found
    return [replace(one, official_split=fold) for one, fold in zip(found, folds, strict=True)]
