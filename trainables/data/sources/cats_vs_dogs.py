"""Cats and dogs from Petfinder (Asirra, 2007), as Kaggle's flat train/ or as Microsoft's PetImages.

Each has 25,000 files, and some in PetImages are corrupt. Every file that decodes is kept, because the usual filter for
the string "JFIF" drops over a thousand good images.
"""

import re
from pathlib import Path

from trainables.data.archives import Algorithm, check_hash, extract, fetch
from trainables.data.manifest import Candidate, Source
from trainables.data.sources import kaggle
from trainables.data.sources.class_folders import own_test
from trainables.data.sources.tree import files_below, is_junk
from trainables.errors import InputError

URL = "https://download.microsoft.com/download/3/E/1/3E1C3F21-ECDB-4869-8368-6DEBA77B919F/"
SHA256 = {  # the two editions of PetImages, the newer one first
    "kagglecatsanddogs_5340.zip": "b7974bd00a84a99921f36ee4403f089853777b5ae8d151c76a86e64900334af9",
    "kagglecatsanddogs_3367a.zip": "f9553e426bd725354ed3a27e3c6920caadb55c835d1ebd880d2e56d3f1fbb22b",
}
_ALGORITHM: Algorithm = "sha256"
_BUNDLES = ("dogs-vs-cats.zip", "dogs-vs-cats-redux-kernels-edition.zip")
_LABELS = ["cat", "dog"]  # so the probability of class 1 is Kaggle's P(dog)


def candidates(data: Path, test: Path | None) -> Source:
    """Return the labeled images; `test` is a folder of the user's own test images, with cat/ and dog/.

    Raises:
        InputError: The folder holds neither or both of the two layouts, or its files have unexpected names.
    """
    flat, pets = data / "train", data / "PetImages"
    if not flat.is_dir() and not pets.is_dir():
        _unpack(data)
    if flat.is_dir() and pets.is_dir():
        raise InputError(f"Kaggle's train/ and Microsoft's PetImages/ share images, but {data} has both: keep one.")
    if not flat.is_dir() and not pets.is_dir():
        raise InputError(
            f"{data} must have Microsoft's PetImages/ or its zip, or Kaggle's train/ or train.zip of dogs-vs-cats: "
            "add --download to get the first, or put one of them there."
        )
    images = _from_flat(data) if flat.is_dir() else _from_pets(data)
    return Source(images + (own_test(test, images) if test else []), _LABELS)


def download(data: Path) -> None:
    """Download the newer edition of PetImages, 825 MB, unless either dataset is there in any edition.

    Raises:
        InputError: The download fails.
    """
    if any((data / name).exists() for name in ("train", "train.zip", "PetImages", *_BUNDLES, *SHA256)):
        return
    name = next(iter(SHA256))
    fetch(URL + name, data / name, _ALGORITHM, SHA256[name])


def _unpack(data: Path) -> None:
    for name, sha256 in SHA256.items():
        if (data / name).is_file():
            check_hash(data / name, _ALGORITHM, sha256)
            return extract(data / name, data)
    kaggle.unpack(data, _BUNDLES)


def _from_flat(data: Path) -> list[Candidate]:
    images = kaggle.training_images(data)
    unexpected = sorted(name for name in images if not re.fullmatch(r"(cat|dog)\.[0-9]+", name))
    if unexpected or not images:
        got = repr(images[unexpected[0]]) if unexpected else "none"
        raise InputError(f"The images in {data / 'train'} must be named cat.0.jpg, dog.0.jpg, ..., but got {got}.")
    return [Candidate(path, name.split(".")[0]) for name, path in images.items()]


def _from_pets(data: Path) -> list[Candidate]:
    candidates = []
    for folder, label in (("Cat", "cat"), ("Dog", "dog")):
        if not (data / "PetImages" / folder).is_dir():
            raise InputError(f"{data / 'PetImages'} must have Cat/ and Dog/, but has no {folder}/: unpack it again.")
        files = files_below(data / "PetImages" / folder, data)
        candidates += [Candidate(path, label) for path in files if not is_junk(path.rpartition("/")[2])]
    return candidates
