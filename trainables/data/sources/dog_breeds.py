"""Kaggle's dog-breed-identification (2017): 120 breeds named by labels.csv; test/ has no labels and stays out."""

from pathlib import Path

from trainables.data.manifest import Candidate, Source
from trainables.data.sources import kaggle, table
from trainables.data.sources.class_folders import own_test
from trainables.errors import InputError

_BUNDLE = "dog-breed-identification.zip"


def candidates(data: Path, test: Path | None) -> Source:
    """The labeled images; `test` is a folder of the user's own images, a folder per breed."""
    download(data)
    pictures, breeds = kaggle.training_pictures(data), _breeds(data / "labels.csv")
    missing, unknown = sorted(breeds.keys() - pictures.keys()), sorted(pictures.keys() - breeds.keys())
    if missing:
        raise InputError(
            f"{len(missing)} of {len(breeds)} images of {data / 'labels.csv'} are not in {data / 'train'}, the first "
            f"is {missing[0] + '.jpg'!r}: unpack train.zip again."
        )
    if unknown:
        raise InputError(
            f"{len(unknown)} of {len(pictures)} images in {data / 'train'} are not in labels.csv, the first is "
            f"{pictures[unknown[0]]!r}: move them away or get labels.csv again."
        )
    found = [Candidate(path, breeds[name]) for name, path in pictures.items()]
    return Source(found + (own_test(test, found) if test else []))


def download(data: Path) -> None:
    """Kaggle wants a login: what is there is unpacked, and an error says what to place where."""
    kaggle.unpack(data, (_BUNDLE,), "labels.csv")
    if not ((data / "labels.csv").is_file() and (data / "train").is_dir()):
        raise InputError(
            f"{data} must hold labels.csv and train/ of Kaggle's dog-breed-identification, or train.zip for train/, or "
            f"{_BUNDLE} for both: log in at kaggle.com, accept its rules, and put them there."
        )


def _breeds(file: Path) -> dict[str, str]:
    rows = table.read(file)
    if not {"id", "breed"} <= set(rows.columns):
        raise InputError(f"{file} must have the columns id and breed, but has {', '.join(rows.columns)}: get it again.")
    for name, breed in zip(rows["id"], rows["breed"], strict=True):
        if not name or not breed:
            raise InputError(f"Each row of {file} needs an id and a breed, but got {name!r}, {breed!r}: get it again.")
    if rows["id"].duplicated().any():
        raise InputError(f"{file} lists {rows['id'][rows['id'].duplicated()].iloc[0]!r} twice: get it again.")
    return dict(zip(rows["id"], rows["breed"], strict=True))
