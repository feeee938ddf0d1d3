"""Kaggle's dog-breed-identification (2017): 120 breeds, labeled by labels.csv; test/ has no labels and is not read."""

from pathlib import Path

from trainables.data.manifest import Candidate, Source
from trainables.data.sources import kaggle, table
from trainables.data.sources.class_folders import own_test
from trainables.errors import InputError

_BUNDLE = "dog-breed-identification.zip"


def candidates(data: Path, test: Path | None) -> Source:
    """Return the labeled images; `test` is a folder of the user's own test images, with one folder per breed.

    Raises:
        InputError: Files are missing, or labels.csv and train/ do not list the same images.
    """
    download(data)
    images, breeds = kaggle.training_images(data), _breeds(data / "labels.csv")
    missing, unknown = sorted(breeds.keys() - images.keys()), sorted(images.keys() - breeds.keys())
    if missing:
        raise InputError(
            f"{len(missing)} of {len(breeds)} images of {data / 'labels.csv'} are not in {data / 'train'}, the first "
            f"is {missing[0] + '.jpg'!r}: unpack train.zip again."
        )
    if unknown:
        raise InputError(
            f"{len(unknown)} of {len(images)} images in {data / 'train'} are not in labels.csv, the first is "
            f"{images[unknown[0]]!r}: move them away or download labels.csv again."
        )
    labeled = [Candidate(path, breeds[name]) for name, path in images.items()]
    return Source(labeled + (own_test(test, labeled) if test else []))


def download(data: Path) -> None:
    """Unpack the archives that the user has downloaded, because Kaggle requires a login.

    Raises:
        InputError: Files are missing; the message says what to download and where to put it.
    """
    kaggle.unpack(data, (_BUNDLE,), "labels.csv")
    if not ((data / "labels.csv").is_file() and (data / "train").is_dir()):
        raise InputError(
            f"{data} must have labels.csv and train/ of Kaggle's dog-breed-identification, or train.zip for train/, or "
            f"{_BUNDLE} for both: log in at kaggle.com, accept the rules, and put them there."
        )


def _breeds(file: Path) -> dict[str, str]:
    rows = table.read(file)
    if not {"id", "breed"} <= set(rows.columns):
        raise InputError(
            f"{file} must have the columns id and breed, but has {', '.join(rows.columns)}: download it again."
        )
    for name, breed in zip(rows["id"], rows["breed"], strict=True):
        if not name or not breed:
            raise InputError(
                f"Each row of {file} needs an id and a breed, but got {name!r}, {breed!r}: download it again."
            )
    if rows["id"].duplicated().any():
        raise InputError(f"{file} lists {rows['id'][rows['id'].duplicated()].iloc[0]!r} twice: download it again.")
    return dict(zip(rows["id"], rows["breed"], strict=True))
