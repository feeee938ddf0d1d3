"""Kaggle's submission files: the rows and columns of the competition's sample_submission.csv, with probabilities."""

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
    """What a competition wants: its header, its ids in order, and which class each further column is."""

    header: list[str]
    ids: list[str]
    classes: list[int]


def read_sample(path: Path, names: Sequence[str]) -> Sample:
    """A sample file for the classes `names`.

    Columns are the names of the classes, in any case; of two classes one column is enough: the probability of the
    second.

    Raises:
        InputError: it is no such table, or its columns are not these classes.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header, *rows = [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, ValueError, csv.Error):
        raise InputError(f"--sample must be a competition's sample_submission.csv, but got {str(path)!r}.") from None
    ids = [row[0] for row in rows]
    if not ids or len(header) < 2:
        raise InputError(f"--sample must have a header and a row for each image, but {str(path)!r} has not.")
    if len(set(ids)) < len(ids):
        twice = next(each for each in ids if ids.count(each) > 1)
        raise InputError(f"--sample must name each image once, but {str(path)!r} names {twice!r} twice.")
    return Sample(header, ids, _classes(header[1:], names))


def check_complete(sample: Sample, pictures: Sequence[Path]) -> None:
    """Refuse images among which one of the sample is missing, or there twice; the id is the file's stem."""
    wanted = set(sample.ids)
    found: dict[str, Path] = {}
    for picture in pictures:
        if picture.stem in wanted and picture.stem in found:
            both = f"{str(found[picture.stem])!r} and {str(picture)!r}"
            raise InputError(f"Each id of the sample must be one image, but {picture.stem!r} is {both}.")
        found[picture.stem] = picture
    _check_none_missing([each for each in sample.ids if each not in found], "is not among the images")


def submission(sample: Sample, probabilities: Mapping[str, NDArray[np.floating]]) -> str:
    """The file's text, from the probabilities of all classes by id.

    Raises:
        InputError: an image of the sample has none.
    """
    _check_none_missing([each for each in sample.ids if each not in probabilities], "cannot be read")
    file = io.StringIO()
    table = csv.writer(file, lineterminator="\n")
    table.writerow(sample.header)
    for each in sample.ids:
        table.writerow([each, *(f"{value:.9g}" for value in probabilities[each][sample.classes])])
    return file.getvalue()


def _classes(columns: Sequence[str], names: Sequence[str]) -> list[int]:
    if len(columns) == 1 and len(names) == 2:
        return [1]
    alike = len({name.casefold() for name in names}) < len(names)
    same = str.strip if alike else lambda name: name.strip().casefold()  # Kaggle's dogs are Stanford's in lower case
    position = {same(name): i for i, name in enumerate(names)}
    known = [same(column) for column in columns]
    strange = [column for column, name in zip(columns, known, strict=True) if name not in position]
    if strange:
        raise InputError(f"--sample must have a column for each class, but {strange[0]!r} is none of the winner's.")
    if sorted(known) != sorted(position):
        wrong = next(name for name in names if known.count(same(name)) != 1)
        raise InputError(f"--sample must have one column for each class of the winner, but {wrong!r} has not one.")
    return [position[name] for name in known]


def _check_none_missing(missing: Sequence[str], why: str) -> None:
    if missing:
        raise InputError(
            f"A submission needs every image of the sample, but {missing[0]!r} {why}"
            f"{f', and {len(missing) - 1} more' if len(missing) > 1 else ''}."
        )
