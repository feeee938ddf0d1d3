"""The manifest: one row per candidate file, with the results of decoding it. Its hash is the version of the data."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from trainables.data import grayscale
from trainables.data.boxes import Box, fit
from trainables.data.duplicates import unite
from trainables.data.scanning import Scanned, scanned
from trainables.data.sources.class_names import in_order
from trainables.errors import InputError

# Manifests with equal values in these columns are the same data, on any machine; the other columns follow from them.
_VERSION_COLUMNS = ("path", "label_name", "sha256", "official_split", "keep", "group")
_ROWS = 2**14  # rows held as Python objects at once: a million would take half a gigabyte
_BOX_COLUMNS = tuple(f"box_{edge}" for edge in Box._fields)  # hashed only for images with a box


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that a source lists as an image."""

    path: str  # relative to the data folder, or absolute for the user's own test images outside of it
    label_name: str
    official_split: str | None = None  # an OfficialFold
    box: tuple[int, int, int, int] | None = None  # left, top, right, bottom of the labeled object
    group: str | None = None  # the user's own group: its images stay in one fold


@dataclass(frozen=True)
class Source:
    """The images of a dataset according to its layout, before any file is opened."""

    candidates: list[Candidate]
    label_names: list[str] | None = None  # in label order, if the source defines one
    layout: str = ""  # how the data was read
    notes: list[str] = field(default_factory=list)  # files left out and why, one line each


def data_folder(data: Path) -> Path:
    """Return the folder that relative paths start from; `data` may be a CSV file in it."""
    return data.parent if data.is_file() else data


def scan(
    data: Path,
    candidates: Sequence[Candidate],
    progress: Callable[[int, int], None] | None = None,
    label_names: Sequence[str] | None = None,
    cache: Path | None = None,
) -> pd.DataFrame:
    """Decode every candidate and return a row for each, sorted by path; `progress` is called with (done, total).

    A file that cannot be decoded stays as a row with `keep` false and a `drop_reason`. The folder `cache` keeps the
    inspections, so that the next scan decodes only changed files.

    Raises:
        InputError: A file name is not UTF-8, or there is no space for the scan.
    """
    _check_text(candidates)
    candidates = sorted(candidates, key=lambda candidate: candidate.path)
    paths = [candidate.path for candidate in candidates]
    scan_of_files = scanned(data_folder(data), paths, progress or (lambda done, of: None), cache)
    present = {candidate.label_name for candidate in candidates}
    names = [name for name in in_order(present, label_names or None) if name in present]
    return _table(candidates, scan_of_files, names)


def check(manifest: pd.DataFrame) -> None:
    """Check that a classifier can be trained on the manifest.

    Raises:
        InputError: There are fewer than two classes, or no image of a class can be decoded.
    """
    if manifest.empty:
        raise InputError("At least two images are needed, but got none: give a folder with one folder per class.")
    if not manifest["keep"].any():
        raise InputError(
            f"None of the {len(manifest)} files can be decoded, the first is {manifest['path'].iloc[0]!r} "
            f"({manifest['drop_reason'].iloc[0]}): check that the files were copied completely."
        )
    names = label_names(manifest)
    if len(names) == 1:
        raise InputError(f"At least two classes are needed, but got only {names[0]!r}: add a folder for each class.")
    kept = manifest.groupby("label_name")["keep"].sum()
    if not kept.all():
        name = kept.index[kept == 0][0]
        lost = manifest[manifest["label_name"] == name]
        raise InputError(
            f"Class {name!r} has no image that can be decoded ({len(lost)} dropped, the first as "
            f"{lost['drop_reason'].iloc[0]!r}): fix its files or remove the class."
        )


def label_names(manifest: pd.DataFrame) -> list[str]:
    """Return the class names in label order."""
    return list(manifest.drop_duplicates("label").sort_values("label")["label_name"])


def manifest_hash(manifest: pd.DataFrame) -> str:
    """Return the SHA-256 of the data, independent of machine and row order.

    An image outside of the data folder is hashed under its file name, because its folder is not part of the data.
    """
    table = manifest.sort_values("item").reindex(columns=[*_VERSION_COLUMNS, *_BOX_COLUMNS])
    digest = hashlib.sha256()
    for start in range(0, len(table), _ROWS):
        for row in table.iloc[start : start + _ROWS].to_numpy(object):
            row, box = row[: len(_VERSION_COLUMNS)], row[len(_VERSION_COLUMNS) :]
            path, *values = ("" if pd.isna(value) else str(value) for value in row)
            name = Path(path).name if Path(path).is_absolute() else path
            edges = [str(int(edge)) for edge in box if not pd.isna(edge)]
            digest.update("\x1f".join([name, *values, *edges]).encode() + b"\n")
    return digest.hexdigest()


def _check_text(candidates: Sequence[Candidate]) -> None:
    """Check names, because tables hold text, but a file name may be any bytes."""
    for candidate in candidates:
        try:
            f"{candidate.path}{candidate.label_name}".encode()
        except UnicodeEncodeError as error:
            raise InputError(f"File names must be UTF-8, but got {candidate.path!r}: rename it.") from error


def _table(candidates: Sequence[Candidate], scan: Scanned, names: list[str]) -> pd.DataFrame:
    label = {name: position for position, name in enumerate(names)}
    numbers = scan.numbers
    own = [candidate.group if keep else None for candidate, keep in zip(candidates, numbers["keep"], strict=True)]
    rows = {
        "item": np.arange(len(candidates)),
        "path": [candidate.path for candidate in candidates],
        "label": np.array([label[candidate.label_name] for candidate in candidates], dtype=np.int64),
        "label_name": [candidate.label_name for candidate in candidates],
        "bytes": numbers["size"],
        "sha256": scan.sha256,
        "width": numbers["width"],
        "height": numbers["height"],
        "mode": scan.mode,
        "official_split": [candidate.official_split for candidate in candidates],
        "keep": numbers["keep"],
        "drop_reason": scan.drop_reason,
        "group": unite(scan.duplicate_of, own),
        "duplicate_of": scan.duplicate_of,
    }
    boxes = [
        candidate.box and fit(Box(*candidate.box), int(width), int(height), turned)
        for candidate, width, height, turned in zip(
            candidates, numbers["width"], numbers["height"], numbers["turned"], strict=True
        )
    ]
    for edge, column in zip(Box._fields, _BOX_COLUMNS, strict=True):
        rows[column] = pd.array([box and getattr(box, edge) for box in boxes], dtype="Int64")
    if numbers["deep"].any():
        ranges = [
            scan.gray_ranges.of(mode) if is_deep else None
            for mode, is_deep in zip(scan.mode, numbers["deep"], strict=True)
        ]
        for edge, column in enumerate(grayscale.COLUMNS):
            rows[column] = np.array([levels[edge] if levels else np.nan for levels in ranges], dtype=np.float64)
    return pd.DataFrame(rows)
