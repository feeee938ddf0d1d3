"""Tables, texts and JSON into files: readers see the old file or the new one, never half; spreadsheets run nothing.

And what a command prints, whoever reads that.
"""

import io
import json
import math
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api import types

from study.results import NUMBER
from trainables.storage_errors import writing

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # but tabs and newlines, which are quoted

_SHORT = 40  # characters
_READER_GONE = 128 + signal.SIGPIPE  # the exit status of a program that SIGPIPE ends


def in_shell(main: Callable[[list[str]], int]) -> int:
    """The exit status of a command on the arguments of this process.

    What a stream cannot encode is printed as a backslash escape. The command ends where the reader of what it prints
    has gone, as `head` does.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            return main(sys.argv[1:])
        finally:
            print(end="", flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for what is left to be flushed
        return _READER_GONE


def printable(text: str) -> str:
    """Write out what a terminal would obey: names may hold anything."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def can_be_written(folder: Path) -> bool:
    """Whether there may be files in a folder that need not exist yet."""
    above = next(each for each in (folder, *folder.absolute().parents) if os.path.exists(each))
    return above.is_dir() and os.access(above, os.W_OK | os.X_OK)


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
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    part = path.with_name(f".{path.name[:_SHORT]}.{os.getpid()}.part")  # no longer than names may be
    try:
        with writing(path):
            write(part)
            os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _one_type_a_column(frame: pd.DataFrame) -> pd.DataFrame:
    """Columns of text and numbers, such as the levels 2 and "all", become text: parquet mixes no types."""
    frame = frame.copy()
    for name in frame.columns:
        if types.infer_dtype(frame[name], skipna=True) == "mixed-integer":
            frame[name] = frame[name].map(str, na_action="ignore")
    return frame


def _spreadsheet_safe(frame: pd.DataFrame) -> pd.DataFrame:
    """Text that a spreadsheet would run as a formula gets an apostrophe in front; numbers stay numbers.

    Control characters become blanks: after a lone carriage return, which no writer quotes, a new row would begin.
    """

    def safe(cell: Any) -> Any:
        if not isinstance(cell, str):
            return cell
        runs = cell.startswith(("=", "+", "-", "@", "\t", "\r")) and not NUMBER.fullmatch(cell)
        return _CONTROL.sub(" ", f"'{cell}" if runs else cell)

    frame = frame.copy()
    for name in frame.columns:
        if not types.is_numeric_dtype(frame[name]):
            frame[name] = frame[name].map(safe)
    return frame.rename(columns=safe)
