"""The manifest: one row per candidate file, judged by decoding it; its hash is the version of the data."""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trainables.duplicates import find_groups, perceptual_hash, thumbnail
from trainables.errors import InputError
from trainables.images import DecodeError, decode

# What makes two manifests the same data, on any machine. The rest follows from it.
_VERSION_COLUMNS = ("path", "label_name", "sha256", "official_split", "keep", "group")


@dataclass(frozen=True)
class Candidate:
    """A file that a source takes for a picture."""

    path: str  # relative to the data folder, or absolute for the user's own test pictures outside of it
    label_name: str
    official_split: str | None = None  # train, val, test


@dataclass(frozen=True)
class Source:
    """What a dataset's layout says, before any picture is opened."""

    candidates: list[Candidate]
    label_names: list[str] | None = None  # in label order, where the source fixes one; else sorted


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
    inspections: list[_Inspection] = []
    with ThreadPoolExecutor() as pool:  # reading, hashing and decoding release the interpreter's lock
        for inspection in pool.map(_inspect, files):
            inspections.append(inspection)
            if progress:
                progress(len(inspections), len(files))
    names = list(label_names or sorted({candidate.label_name for candidate in candidates}))
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
    digest = hashlib.sha256()
    for row in table[list(_VERSION_COLUMNS)].itertuples(index=False):
        path, *values = ("" if pd.isna(value) else str(value) for value in row)
        name = Path(path).name if Path(path).is_absolute() else path
        digest.update("\x1f".join([name, *values]).encode() + b"\n")
    return digest.hexdigest()


def _check_text(candidates: Sequence[Candidate]) -> None:
    """Tables hold text; a file name may be any bytes."""
    for candidate in candidates:
        try:
            f"{candidate.path}{candidate.label_name}".encode()
        except UnicodeEncodeError as error:
            raise InputError(f"File names must be UTF-8, but got {candidate.path!r}: rename it.") from error


def _inspect(file: Path) -> _Inspection:
    try:
        data = file.read_bytes()
    except OSError as error:
        return _Inspection(drop_reason=f"unreadable: {(error.strerror or 'input or output error').lower()}")
    size, sha256 = len(data), hashlib.sha256(data).hexdigest()
    try:
        picture = decode(data)
    except DecodeError as error:
        return _Inspection(size, sha256, drop_reason=str(error))
    thumb = thumbnail(picture.pixels)
    return _Inspection(size, sha256, picture.width, picture.height, picture.mode, "", perceptual_hash(thumb), thumb)


def _table(candidates: Sequence[Candidate], inspections: Sequence[_Inspection], names: list[str]) -> pd.DataFrame:
    label = {name: position for position, name in enumerate(names)}
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
        "group": _groups(inspections),
    }
    return pd.DataFrame(rows)


def _groups(inspections: Sequence[_Inspection]) -> NDArray[np.int64]:
    """A group is numbered by its first item; a dropped item is alone."""
    groups = np.arange(len(inspections))
    kept = np.array([i for i, one in enumerate(inspections) if one.thumbnail is not None], dtype=np.int64)
    if len(kept) == 0:
        return groups
    pictures = [inspections[i] for i in kept]
    hashes = np.array([one.hash for one in pictures], dtype=np.uint64)
    thumbnails = np.stack([one.thumbnail for one in pictures if one.thumbnail is not None])
    groups[kept] = kept[find_groups([one.sha256 for one in pictures], hashes, thumbnails)]
    return groups
