"""Kaggle submissions: the rows and columns of the competition's sample_submission.csv, filled with probabilities."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainables.errors import InputError


@dataclass(frozen=True)
class Sample:
    """The rows and columns that a competition expects."""

    header: list[str]
    ids: list[str]  # in order
    classes: list[int]  # the class index of each column after the id


def read_sample(path: Path, names: Sequence[str]) -> Sample:
    """Read a sample file for the classes `names`.

    Its columns are the names of the classes, in upper or lower case. For two classes a single column is enough: the
    probability of the second one.

    Raises:
        InputError: the file is not such a table, or its columns do not match the classes.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header, *rows = [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, ValueError, csv.Error):
        raise InputError(f"--sample must be a competition's sample_submission.csv, but got {str(path)!r}.") from None
    ids = [row[0] for row in rows]
    if not ids or len(header) < 2:
        raise InputError(f"--sample must have a header and one row per image, but {str(path)!r} does not.")
    if len(set(ids)) < len(ids):
        twice = next(name for name in ids if ids.count(name) > 1)
        raise InputError(f"--sample must name each image once, but {str(path)!r} names {twice!r} twice.")
    return Sample(header, ids, _classes(header[1:], names))


def check_complete(sample: Sample, pictures: Sequence[Path]) -> None:
    """Check that exactly one file belongs to every id of the sample. The id is the file name without its suffix.

    Raises:
        InputError: a file is missing, or two files have the same id.
    """
    wanted = set(sample.ids)
    files: dict[str, Path] = {}
    for picture in pictures:
        if picture.stem in wanted and picture.stem in files:
            both = f"{str(files[picture.stem])!r} and {str(picture)!r}"
            raise InputError(f"Each id of the sample must be one image, but {picture.stem!r} is {both}.")
        files[picture.stem] = picture
    _check_none_missing([name for name in sample.ids if name not in files], "is not among the images")


def submission(sample: Sample, probabilities: Mapping[str, NDArray[np.floating]]) -> str:
    """Return the text of the submission.

    Args:
        probabilities: the probabilities of all classes, shape (classes,), by id.

    Raises:
        InputError: an image of the sample has no probabilities.
    """
    _check_none_missing([name for name in sample.ids if name not in probabilities], "cannot be read")
    file = io.StringIO()
    table = csv.writer(file, lineterminator="\n")
    table.writerow(sample.header)
    for name in sample.ids:
        table.writerow([name, *(f"{value:.9g}" for value in probabilities[name][sample.classes])])
    return file.getvalue()


def _classes(columns: Sequence[str], names: Sequence[str]) -> list[int]:
    if len(columns) == 1 and len(names) == 2:
        return [1]
    case_matters = len({name.casefold() for name in names}) < len(names)
    # Kaggle's dog breeds are Stanford's in lower case.
    normalized = str.strip if case_matters else lambda name: name.strip().casefold()
    position = {normalized(name): i for i, name in enumerate(names)}
    normalized_columns = [normalized(column) for column in columns]
    strange = [column for column, name in zip(columns, normalized_columns, strict=True) if name not in position]
    if strange:
        raise InputError(f"--sample must have one column per class, but the winner has no class {strange[0]!r}.")
    if sorted(normalized_columns) != sorted(position):
        wrong = next(name for name in names if normalized_columns.count(normalized(name)) != 1)
        raise InputError(
            f"--sample must have one column per class of the winner, but {wrong!r} does not appear exactly once."
        )
    return [position[name] for name in normalized_columns]


def _check_none_missing(missing: Sequence[str], why: str) -> None:
    if missing:
        raise InputError(
            f"A submission needs every image of the sample, but {missing[0]!r} {why}"
            f"{f', and {len(missing) - 1} more' if len(missing) > 1 else ''}."
        )
