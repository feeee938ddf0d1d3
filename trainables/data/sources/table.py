"""A table of pictures: one row each with path and label, and where the user has them split and group."""

from pathlib import Path
from typing import Any

import pandas as pd

from trainables.data.manifest import Candidate
from trainables.data.sources.tree import SPLITS
from trainables.errors import InputError

_LONGEST_HEAD = 2**16  # characters; a file may be one line


def read(table: Path) -> pd.DataFrame:
    """A CSV file with all columns as text, so a class may be called 1 or NA."""
    how: dict[str, Any] = {"dtype": str, "keep_default_na": False, "encoding": "utf-8-sig", "skipinitialspace": True}
    try:
        return pd.read_csv(table, sep=_separator(table), **how)
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


def from_csv(table: Path) -> list[Candidate]:
    rows = read(table)
    if not {"path", "label"} <= set(rows.columns):
        raise InputError(f"{table} must have the columns path and label, but has {', '.join(rows.columns)}.")
    return from_rows(table, rows, table.parent)


def from_rows(table: Path, rows: pd.DataFrame, data: Path) -> list[Candidate]:
    """The pictures of a table that lies in `data`; its paths start from its own folder."""
    if rows.empty:
        raise InputError(f"{table} must list pictures, but has no rows: add some.")
    splits = rows["split"].str.lower() if "split" in rows else pd.Series("", index=rows.index)
    groups = rows["group"] if "group" in rows else pd.Series("", index=rows.index)
    root = table.parent.resolve()
    for path, label, split in zip(rows["path"], rows["label"], splits, strict=True):
        if not path or not label:
            raise InputError(f"Each row of {table} needs a path and a label, but got {path!r}, {label!r}: fill it in.")
        if not _stays_below(path, root):
            raise InputError(f"The paths of {table} stay below its folder, but {path!r} does not: move the picture.")
        if split and split not in SPLITS:
            raise InputError(f"A split in {table} is train, val, test or empty, but {path!r} has {split!r}.")
    _check_files(table, list(rows["path"]))
    folder = table.parent.relative_to(data)
    return [
        Candidate((folder / path).as_posix(), label, SPLITS.get(split), group=group or None)
        for path, label, split, group in zip(rows["path"], rows["label"], splits, groups, strict=True)
    ]


def _stays_below(path: str, root: Path) -> bool:
    relative = Path(path)
    if relative.is_absolute() or ".." in relative.parts or "\0" in path:
        return False
    return (root / relative).resolve().is_relative_to(root)


def _check_files(table: Path, paths: list[str]) -> None:
    missing = [path for path in paths if not (table.parent / path).is_file()]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(paths)} pictures of {table} do not exist, the first is {missing[0]!r}: "
            "put them there or take the rows out."
        )
    twice = pd.Series([Path(path).as_posix() for path in paths])
    if twice.duplicated().any():
        raise InputError(f"{table} lists {twice[twice.duplicated()].iloc[0]!r} twice: leave one row.")
