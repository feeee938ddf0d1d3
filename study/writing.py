"""Tables, texts and JSON into files: readers see the old file or the new one, never half; spreadsheets run nothing."""

import json
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api import types

from study.results import NUMBER

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # but tabs and newlines, which are quoted


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write parquet or CSV, by the suffix of `path`."""
    if path.suffix == ".parquet":
        _replace(path, lambda part: _one_type_a_column(frame).to_parquet(part, index=False))
    elif path.suffix == ".csv":
        _replace(path, lambda part: _spreadsheet_safe(frame).to_csv(part, index=False, errors="replace"))
    else:
        raise ValueError(f"`path` must end in .parquet or .csv, but got ({path.name=}).")


def write_text(text: str, path: Path) -> None:
    _replace(path, lambda part: part.write_text(text, encoding="utf-8", errors="replace"))


def write_json(value: Any, path: Path) -> None:
    """What is no finite number becomes null: JSON has no NaN, and other readers refuse the whole file."""
    write_text(json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n", path)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _one_type_a_column(frame: pd.DataFrame) -> pd.DataFrame:
    """Columns of text and numbers, such as the levels 2 and "all", become text: parquet mixes no types."""
    mixed = [name for name in frame if types.infer_dtype(frame[name], skipna=True) == "mixed-integer"]
    return frame.assign(**{name: frame[name].map(str, na_action="ignore") for name in mixed})


def _spreadsheet_safe(frame: pd.DataFrame) -> pd.DataFrame:
    """Text that a spreadsheet would run as a formula gets an apostrophe in front; numbers stay numbers.

    Control characters become blanks: after a lone carriage return, which no writer quotes, a new row would begin.
    """

    def safe(cell: Any) -> Any:
        if not isinstance(cell, str):
            return cell
        runs = cell.startswith(("=", "+", "-", "@", "\t", "\r")) and not NUMBER.fullmatch(cell)
        return _CONTROL.sub(" ", f"'{cell}" if runs else cell)

    text = [name for name in frame if not types.is_numeric_dtype(frame[name])]
    return frame.assign(**{name: frame[name].map(safe) for name in text}).rename(columns=safe)
