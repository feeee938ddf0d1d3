"""The manifest: one row per candidate file, judged by decoding it; its hash is the version of the data."""

import hashlib
import sqlite3
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trainables.data import greys as deep
from trainables.data.boxes import Box, fit
from trainables.data.duplicates import find_groups, unite
from trainables.data.inspection import Inspection
from trainables.data.inspections import inspections
from trainables.data.known_files import Store, opened, thumbnail_key
from trainables.data.sources.class_names import in_order
from trainables.errors import InputError

# What makes two manifests the same data, on any machine. The rest follows from it.
_VERSION_COLUMNS = ("path", "label_name", "sha256", "official_split", "keep", "group")
_ROWS = 2**14  # as Python's objects at once: of a million they would be half a gigabyte
_BOX_COLUMNS = tuple(f"box_{edge}" for edge in Box._fields)  # count where a picture has a box


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that a source takes for a picture."""

    path: str  # relative to the data folder, or absolute for the user's own test pictures outside of it
    label_name: str
    official_split: str | None = None  # train, val, test
    box: tuple[int, int, int, int] | None = None  # left, top, right, bottom of what the label names
    group: str | None = None  # the user's own: pictures of one group stay in one fold


@dataclass(frozen=True)
class Source:
    """What a dataset's layout says, before any picture is opened."""

    candidates: list[Candidate]
    label_names: list[str] | None = None  # in label order, where the source fixes one
    layout: str = ""  # how the data was read
    notes: list[str] = field(default_factory=list)  # what was passed over and why, a line each


@dataclass(frozen=True)
class _Scanned:
    """What was found, in the order of the candidates."""

    inspections: list[Inspection]
    greys: deep.Greys
    duplicate_of: NDArray[np.int64]  # for each the first with the same picture; a dropped one is alone


def data_folder(data: Path) -> Path:
    """The folder that relative paths start from; `data` may be a CSV file in it."""
    return data.parent if data.is_file() else data


def scan(
    data: Path,
    candidates: Sequence[Candidate],
    progress: Callable[[int, int], None] | None = None,
    label_names: Sequence[str] | None = None,
    cache: Path | None = None,
) -> pd.DataFrame:
    """Decode every candidate: one row each, sorted by path; `progress` hears (done, of).

    A file that cannot be read or decoded stays as a row with `keep` false and its reason. In the folder `cache` is kept
    what was found, so that the next scan decodes only what has changed.
    """
    _check_text(candidates)
    candidates = sorted(candidates, key=lambda candidate: candidate.path)
    paths = [candidate.path for candidate in candidates]
    scanned = _scanned(data_folder(data), paths, progress or (lambda done, of: None), cache)
    present = {candidate.label_name for candidate in candidates}
    names = [name for name in in_order(present, label_names or None) if name in present]
    return _table(candidates, scanned, names)


def check(manifest: pd.DataFrame) -> None:
    """Refuse what no classifier can be trained on."""
    if manifest.empty:
        raise InputError("At least two pictures are needed, found none: give a folder with a folder per class.")
    if not manifest["keep"].any():
        raise InputError(
            f"None of the {len(manifest)} files can be decoded, the first is {manifest['path'].iloc[0]!r} "
            f"({manifest['drop_reason'].iloc[0]}); check that the files were copied whole."
        )
    names = label_names(manifest)
    if len(names) == 1:
        raise InputError(f"At least two classes are needed, found one, {names[0]!r}: add a folder per class.")
    kept = manifest.groupby("label_name")["keep"].sum()
    if not kept.all():
        name = kept.index[kept == 0][0]
        lost = manifest[manifest["label_name"] == name]
        raise InputError(
            f"Class {name!r} has no picture that can be used ({len(lost)} dropped, the first as "
            f"{lost['drop_reason'].iloc[0]!r}): mend its files or take the class away."
        )


def label_names(manifest: pd.DataFrame) -> list[str]:
    """The class names in label order."""
    return list(manifest.drop_duplicates("label").sort_values("label")["label_name"])


def manifest_hash(manifest: pd.DataFrame) -> str:
    """SHA-256 of what defines the data, independent of machine and row order.

    A picture from outside the data folder counts with its file name: where the folder lies is no data.
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
    """Tables hold text; a file name may be any bytes."""
    for candidate in candidates:
        try:
            f"{candidate.path}{candidate.label_name}".encode()
        except UnicodeEncodeError as error:
            raise InputError(f"File names must be UTF-8, but got {candidate.path!r}: rename it.") from error


def _scanned(folder: Path, paths: Sequence[str], progress: Callable[[int, int], None], cache: Path | None) -> _Scanned:
    try:
        with opened(cache, folder) as store:
            return _scan_with(store, folder, paths, progress)
    except (sqlite3.Error, OSError) as problem:  # torn, full, locked, not ours to write
        if cache is None:
            raise
        reason = " ".join(str(problem).split())
        print(f"What is found of the files is not kept in {cache} ({reason}).", file=sys.stderr)
        return _scanned(folder, paths, progress, None)


def _scan_with(store: Store, folder: Path, paths: Sequence[str], progress: Callable[[int, int], None]) -> _Scanned:
    found: list[Inspection] = []
    for some in inspections(folder, paths, store):
        for one in some:
            found.append(one)
            progress(len(found), len(paths))
    # Only now the greys of deep images are known, and with them how they look.
    places = [place for place, one in enumerate(found) if one.extent is not None]
    greys = deep.greys_over([found[place].mode for place in places], [found[place].extent for place in places])
    done = 0
    for some in inspections(folder, [paths[place] for place in places], store, greys):
        for one in some:
            found[places[done]] = one
            done += 1
            progress(done, len(places))
    return _Scanned(found, greys, _duplicates(found, store, greys))


def _table(candidates: Sequence[Candidate], scanned: _Scanned, names: list[str]) -> pd.DataFrame:
    label = {name: position for position, name in enumerate(names)}
    inspections = scanned.inspections
    own = [None if one.drop_reason else candidate.group for candidate, one in zip(candidates, inspections, strict=True)]
    rows = {
        "item": np.arange(len(candidates)),
        "path": [candidate.path for candidate in candidates],
        "label": np.array([label[candidate.label_name] for candidate in candidates], dtype=np.int64),
        "label_name": [candidate.label_name for candidate in candidates],
        "bytes": np.array([one.size for one in inspections], dtype=np.int64),
        "sha256": [one.sha256 for one in inspections],
        "width": np.array([one.width for one in inspections], dtype=np.int64),
        "height": np.array([one.height for one in inspections], dtype=np.int64),
        "mode": [one.mode for one in inspections],
        "official_split": [candidate.official_split for candidate in candidates],
        "keep": np.array([not one.drop_reason for one in inspections], dtype=bool),
        "drop_reason": [one.drop_reason for one in inspections],
        "group": unite(scanned.duplicate_of, own),
        "duplicate_of": scanned.duplicate_of,
    }
    boxes = [_box(candidate, one) for candidate, one in zip(candidates, inspections, strict=True)]
    for edge, column in zip(Box._fields, _BOX_COLUMNS, strict=True):
        rows[column] = pd.array([box and getattr(box, edge) for box in boxes], dtype="Int64")
    if scanned.greys != deep.Greys():
        ranges = [scanned.greys.of(one.mode) if one.extent else None for one in inspections]
        for edge, column in enumerate(deep.COLUMNS):
            rows[column] = np.array([each[edge] if each else np.nan for each in ranges], dtype=np.float64)
    return pd.DataFrame(rows)


def _box(candidate: Candidate, one: Inspection) -> Box | None:
    return fit(candidate.box and Box(*candidate.box), one.width, one.height, one.turned)


def _duplicates(found: Sequence[Inspection], store: Store, greys: deep.Greys) -> NDArray[np.int64]:
    groups = np.arange(len(found))
    kept = np.array([place for place, one in enumerate(found) if one.hash is not None], dtype=np.int64)
    pictures = [found[place] for place in kept]
    hashes = np.array([one.hash for one in pictures], dtype=np.uint64)

    def thumbnails(places: NDArray[np.int64]) -> NDArray[np.uint8]:
        return store.thumbnails([thumbnail_key(pictures[place], greys) for place in places])

    if len(kept):
        groups[kept] = kept[find_groups([one.sha256 for one in pictures], hashes, thumbnails)]
    return groups
