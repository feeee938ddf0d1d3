"""Write tables, texts and JSON to files, and command output to the terminal.

Readers see either the old file or the complete new one. Text that a spreadsheet would run as a formula is escaped.
"""

import io
import json
import math
import os
import re
import shutil
import signal
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api import types

from study.results import NUMBER
from trainables.storage_errors import writing

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # without tabs and newlines, which CSV quotes

_SHORT = 40  # characters
_READER_GONE = 128 + signal.SIGPIPE  # the exit status of a program that SIGPIPE ends


def in_shell(main: Callable[[list[str]], int]) -> int:
    """Run a command on the arguments of this process and return its exit status.

    Characters that a stream cannot encode are printed as backslash escapes. If the reader of the output is gone, as
    after `| head`, the command ends.
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
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # takes the rest of the output
        return _READER_GONE


def printable(text: str) -> str:
    """Escape characters that would control the terminal. Names in the data are untrusted."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def count(n: float, noun: str) -> str:
    """Return a number with its noun: 1 seed, 2,000 seeds."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def wrapped(text: str) -> str:
    """Wrap the lines of a text between words if standard output is a terminal."""
    if not sys.stdout.isatty():
        return text
    width = shutil.get_terminal_size().columns
    lines = (
        textwrap.fill(line, width, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
        for line in text.split("\n")
    )
    return "\n".join(lines)


def can_be_written(folder: Path) -> bool:
    """Return whether files can be written to a folder, which may not exist yet."""
    above = next(parent for parent in (folder, *folder.absolute().parents) if os.path.exists(parent))
    return above.is_dir() and os.access(above, os.W_OK | os.X_OK)


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write parquet or CSV, by the suffix of `path`.

    Raises:
        ValueError: it has another suffix.
        OSError: the file cannot be written.
    """
    if path.suffix == ".parquet":
        _replace(path, lambda part: _one_type_per_column(frame).to_parquet(part, index=False))
    elif path.suffix == ".csv":
        _replace(path, lambda part: _spreadsheet_safe(frame).to_csv(part, index=False, errors="replace"))
    else:
        raise ValueError(f"`path` must end in .parquet or .csv, but got ({path.name=}).")


def write_text(text: str, path: Path) -> None:
    """Write a text as UTF-8.

    Raises:
        OSError: the file cannot be written.
    """
    _replace(path, lambda part: part.write_text(text, encoding="utf-8", errors="replace"))


def write_json(value: Any, path: Path) -> None:
    """Write a value as JSON. NaN and infinity become null, because many readers refuse files with NaN.

    Raises:
        OSError: the file cannot be written.
    """
    write_text(json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n", path)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    part = path.with_name(f".{path.name[:_SHORT]}.{os.getpid()}.part")  # a file name has at most 255 bytes
    try:
        with writing(path):
            write(part)
            os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _one_type_per_column(frame: pd.DataFrame) -> pd.DataFrame:
    """Convert columns with text and numbers, such as the levels 2 and "all", to text, as parquet requires."""
    frame = frame.copy()
    for name in frame.columns:
        if types.infer_dtype(frame[name], skipna=True) == "mixed-integer":
            frame[name] = frame[name].map(str, na_action="ignore")
    return frame


def _spreadsheet_safe(frame: pd.DataFrame) -> pd.DataFrame:
    """Put an apostrophe before text that a spreadsheet would run as a formula. Numbers stay numbers.

    Control characters become spaces: a lone carriage return, which CSV writers do not quote, would begin a new row.
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
