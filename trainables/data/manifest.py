"""The manifest: one row per candidate file, judged by decoding it; its hash is the version of the data."""

import errno
import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trainables.data.boxes import Box, fit
from trainables.data.duplicates import find_groups, perceptual_hash, thumbnail, unite
from trainables.data.images import DecodeError, decode
from trainables.data.sources.class_names import in_order
from trainables.errors import InputError

# What makes two manifests the same data, on any machine. The rest follows from it.
_VERSION_COLUMNS = ("path", "label_name", "sha256", "official_split", "keep", "group")
_BOX_COLUMNS = tuple(f"box_{edge}" for edge in Box._fields)  # count where a picture has a box


@dataclass(frozen=True)
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
class _Inspection:
    bytes: int = 0
    sha256: str = ""
    width: int = 0
    height: int = 0
    mode: str = ""
    drop_reason: str = ""
    hash: int = 0
    thumbnail: NDArray[np.uint8] | None = None
    box: Box | None = None


def data_folder(data: Path) -> Path:
    """The folder that relative paths start from; `data` may be a CSV file in it."""
    return data.parent if data.is_file() else data


def scan(
    data: Path,
    candidates: Sequence[Candidate],
    progress: Callable[[int, int], None] | None = None,
    label_names: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Decode every candidate: one row each, sorted by path; `progress` hears (done, of).

    A file that cannot be read or decoded stays as a row with `keep` false and its reason.
    """
    _check_text(candidates)
    candidates = sorted(candidates, key=lambda candidate: candidate.path)
    files = [data_folder(data) / candidate.path for candidate in candidates]
    boxes = [candidate.box and Box(*candidate.box) for candidate in candidates]
    inspections: list[_Inspection] = []
    with ThreadPoolExecutor() as pool:  # reading, hashing and decoding release the interpreter's lock
        for inspection in pool.map(_inspect, files, boxes):
            inspections.append(inspection)
            if progress:
                progress(len(inspections), len(files))
    present = {candidate.label_name for candidate in candidates}
    names = [name for name in in_order(present, label_names or None) if name in present]
    return _table(candidates, inspections, names)


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
    table = manifest.sort_values("item")
    boxes = table.reindex(columns=list(_BOX_COLUMNS))
    digest = hashlib.sha256()
    for row, box in zip(table[list(_VERSION_COLUMNS)].to_numpy(object), boxes.to_numpy(object), strict=True):
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


def _inspect(file: Path, box: Box | None) -> _Inspection:
    try:
        data = file.read_bytes()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP) and file.is_symlink():
            return _Inspection(drop_reason="broken link")
        return _Inspection(drop_reason=f"unreadable: {(error.strerror or 'input or output error').lower()}")
    size, sha256 = len(data), hashlib.sha256(data).hexdigest()
    try:
        picture = decode(data)
    except DecodeError as error:
        return _Inspection(size, sha256, drop_reason=str(error))
    width, height, thumb = picture.width, picture.height, thumbnail(picture.pixels)
    box = fit(box, data, width, height)
    return _Inspection(size, sha256, width, height, picture.mode, "", perceptual_hash(thumb), thumb, box)


def _table(candidates: Sequence[Candidate], inspections: Sequence[_Inspection], names: list[str]) -> pd.DataFrame:
    label = {name: position for position, name in enumerate(names)}
    duplicate_of = _duplicates(inspections)
    own = [None if one.drop_reason else candidate.group for candidate, one in zip(candidates, inspections, strict=True)]
    rows = {
        "item": np.arange(len(candidates)),
        "path": [candidate.path for candidate in candidates],
        "label": np.array([label[candidate.label_name] for candidate in candidates], dtype=np.int64),
        "label_name": [candidate.label_name for candidate in candidates],
        "bytes": np.array([one.bytes for one in inspections], dtype=np.int64),
        "sha256": [one.sha256 for one in inspections],
        "width": np.array([one.width for one in inspections], dtype=np.int64),
        "height": np.array([one.height for one in inspections], dtype=np.int64),
        "mode": [one.mode for one in inspections],
        "official_split": [candidate.official_split for candidate in candidates],
        "keep": np.array([not one.drop_reason for one in inspections], dtype=bool),
        "drop_reason": [one.drop_reason for one in inspections],
        "group": unite(duplicate_of, own),
        "duplicate_of": duplicate_of,
    }
    for edge, column in zip(Box._fields, _BOX_COLUMNS, strict=True):
        rows[column] = pd.array([one.box and getattr(one.box, edge) for one in inspections], dtype="Int64")
    return pd.DataFrame(rows)


def _duplicates(inspections: Sequence[_Inspection]) -> NDArray[np.int64]:
    """For each item the first one with the same picture; a dropped item is alone."""
    groups = np.arange(len(inspections))
    kept = np.array([i for i, one in enumerate(inspections) if one.thumbnail is not None], dtype=np.int64)
    if len(kept) == 0:
        return groups
    pictures = [inspections[i] for i in kept]
    hashes = np.array([one.hash for one in pictures], dtype=np.uint64)
    thumbnails = np.stack([one.thumbnail for one in pictures if one.thumbnail is not None])
    groups[kept] = kept[find_groups([one.sha256 for one in pictures], hashes, thumbnails)]
    return groups
