"""Hugging Face's ImageFolder layout: images with metadata.csv or metadata.jsonl, which give file_name and label."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from trainables.data.manifest import Source
from trainables.data.sources import columns, table
from trainables.data.sources.folds import fold_of
from trainables.data.sources.tree import visible_folders
from trainables.errors import InputError

_NAMES = ("metadata.csv", "metadata.jsonl")
_IMAGE = "file_name"


def lists(data: Path) -> list[Path]:
    """Return the metadata files with labels, in the folder and in its train/, validation/ and test/."""
    folders = [data, *(folder for folder in visible_folders(data) if fold_of(folder.name))]
    files = [folder / name for folder in folders for name in _NAMES]
    return [file for file in files if file.is_file() and _columns(_rows(file))]


def read(data: Path, lists: list[Path]) -> Source:
    """Return the listed images; without a column `split`, the folder train/, validation/ or test/ gives the fold.

    Raises:
        InputError: A fold has no metadata, an image is listed twice, or a row is invalid.
    """
    if data not in {file.parent for file in lists}:
        for folder in visible_folders(data):
            if fold_of(folder.name) and folder not in {file.parent for file in lists}:
                raise InputError(
                    f"Each of train/, validation/ and test/ needs metadata with file_name and label, but {folder} has "
                    "none: add it, or move the folder away."
                )
    candidates = [candidate for file in lists for candidate in table.from_rows(file, _table(file, data), data)]
    paths = pd.Series([candidate.path for candidate in candidates])
    if paths.duplicated().any():
        raise InputError(f"Two metadata files list {paths[paths.duplicated()].iloc[0]!r}: keep one row.")
    files = ", ".join(file.relative_to(data).as_posix() for file in lists)
    return Source(candidates, layout=f"{files}, where {_columns(_rows(lists[0]))}")


def _table(file: Path, data: Path) -> pd.DataFrame:
    rows = _rows(file)
    roles = _columns(rows)
    assert roles is not None, "a file of lists()"
    rows = columns.renamed(rows, roles, str(file))
    first = [(file.parent.relative_to(data) / path).parts[:1] for path in rows["path"]]
    folders = [(part and fold_of(part[0])) or "" for part in first]
    given = rows["split"] if "split" in rows else pd.Series("", index=rows.index)
    return rows.assign(split=given.where(given != "", pd.Series(folders, index=rows.index)))


def _columns(rows: pd.DataFrame) -> columns.Columns | None:
    """Return the columns of a list of labeled images; None if it has no labels, but captions for example."""
    try:
        return columns.find(rows, _IMAGE) if _IMAGE in rows else None
    except ValueError:
        return None


def _rows(file: Path) -> pd.DataFrame:
    return table.read(file) if file.suffix == ".csv" else _read_lines(file)


def _read_lines(file: Path) -> pd.DataFrame:
    """Read JSON lines with all columns as text, like a CSV; values other than text and integers become empty."""
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read ({error}): save it as UTF-8.") from error
    rows = [_object(line, f"line {number} of {file}") for number, line in enumerate(lines, 1) if line.strip()]
    names = dict.fromkeys(name for row in rows for name in row)
    return pd.DataFrame({name: [_text(row.get(name)) for row in rows] for name in names})


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"Each line must be a JSON object, but {where} is not ({reason}): fix it.") from error
    if not isinstance(content, dict):
        raise InputError(f"Each line must be a JSON object, but {where} is not: fix it.")
    return content


def _text(value: object) -> str:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
