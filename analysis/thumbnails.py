"""Example pictures of a study as data URIs, so that the report stays one file."""

import base64
from pathlib import Path

import pandas as pd

from analysis.page import Thumbnail
from analysis.text import percent, plain
from study.results import EXAMPLES_COLUMNS, EXAMPLES_FILE, EXAMPLES_FOLDER, ResultsError

MOST = 24
MOST_BYTES = 300_000  # a thumbnail, not a photograph
_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"}


def thumbnails(out: Path) -> list[Thumbnail]:
    """Those listed in examples/examples.csv that are there; none where the study left none."""
    path = out / EXAMPLES_FOLDER / EXAMPLES_FILE
    if not path.is_file():
        return []
    listed = pd.read_csv(path, dtype=str, keep_default_na=False)
    missing = [name for name in EXAMPLES_COLUMNS if name not in listed]
    if missing:
        raise ResultsError(f"{path}: no column {', '.join(map(repr, missing))}. Add it.")
    rows = [row for row in listed.itertuples() if _usable(path.with_name(Path(row.file).name))]
    return [_thumbnail(path.with_name(Path(row.file).name), row) for row in rows[:MOST]]


def _usable(path: Path) -> bool:
    return path.suffix.lower() in _TYPES and path.is_file() and path.stat().st_size <= MOST_BYTES


def _thumbnail(path: Path, row) -> Thumbnail:
    encoded = base64.b64encode(path.read_bytes()).decode()
    confidence = pd.to_numeric(row.confidence, errors="coerce")
    return Thumbnail(
        source=f"data:{_TYPES[path.suffix.lower()]};base64,{encoded}",
        label=plain(row.label),
        predicted=plain(row.predicted),
        confidence=percent(confidence),
    )
