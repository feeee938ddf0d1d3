"""Cats and dogs of Petfinder (Asirra, 2007) in either packaging: Kaggle's flat train/, or Microsoft's PetImages.

25,000 files each, in PetImages some of them broken. What decodes is kept, whatever its header says: the usual filter
for "JFIF" drops over a thousand good images.
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
SHA256 = {  # of the two editions of PetImages, the newer first
    "kagglecatsanddogs_5340.zip": "b7974bd00a84a99921f36ee4403f089853777b5ae8d151c76a86e64900334af9",
    "kagglecatsanddogs_3367a.zip": "f9553e426bd725354ed3a27e3c6920caadb55c835d1ebd880d2e56d3f1fbb22b",
}
_ALGORITHM: Algorithm = "sha256"
_BUNDLES = ("dogs-vs-cats.zip", "dogs-vs-cats-redux-kernels-edition.zip")
_LABELS = ["cat", "dog"]  # so the probability of class 1 is Kaggle's P(dog)


def candidates(data: Path, test: Path | None) -> Source:
    """The labeled images of the one packaging there is; `test` is a folder of the user's own, cat/ and dog/."""
    flat, pets = data / "train", data / "PetImages"
    if not flat.is_dir() and not pets.is_dir():
        _unpack(data)
    if flat.is_dir() and pets.is_dir():
        raise InputError(f"Kaggle's train/ and Microsoft's PetImages/ share images, but {data} holds both: keep one.")
    if not flat.is_dir() and not pets.is_dir():
        raise InputError(
            f"{data} must hold Microsoft's PetImages/ or its zip, or Kaggle's train/ of dogs-vs-cats or train.zip: "
            "add --download for the first, or put one there."
        )
    found = _from_flat(data) if flat.is_dir() else _from_pets(data)
    return Source(found + (own_test(test, found) if test else []), _LABELS)


def download(data: Path) -> None:
    """Fetch the newer edition of PetImages, 825 MB; an older one that is there will do."""
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
    pictures = kaggle.training_pictures(data)
    strange = sorted(name for name in pictures if not re.fullmatch(r"(cat|dog)\.[0-9]+", name))
    if strange or not pictures:
        got = repr(pictures[strange[0]]) if strange else "none"
        raise InputError(f"The images in {data / 'train'} are named cat.0.jpg, dog.0.jpg and so on, but got {got}.")
    return [Candidate(path, name.split(".")[0]) for name, path in pictures.items()]


def _from_pets(data: Path) -> list[Candidate]:
    found = []
    for folder, label in (("Cat", "cat"), ("Dog", "dog")):
        if not (data / "PetImages" / folder).is_dir():
            raise InputError(f"{data / 'PetImages'} must hold Cat/ and Dog/, but has no {folder}/: unpack it again.")
        files = files_below(data / "PetImages" / folder, data)
        found += [Candidate(path, label) for path in files if not is_junk(path.rpartition("/")[2])]
    return found
