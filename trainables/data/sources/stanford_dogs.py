"""Stanford Dogs (Khosla et al. 2011): 20,580 images of 120 breeds with an official split.

Its lists number the labels from 1 to 120 in the order of the folders, which is not the order of the breed names.
"""

from pathlib import Path

import numpy as np

from trainables.data.archives import extract_missing, fetch
from trainables.data.boxes import Box
from trainables.data.manifest import Candidate, Source
from trainables.data.sources.tree import files_below, visible_folders
from trainables.data.sources.voc import largest_box
from trainables.errors import InputError

URL = "http://vision.stanford.edu/aditya86/ImageNetDogs/"
MD5 = {
    "images.tar": "1bb1f2a596ae7057f99d7d75860002ef",
    "lists.tar": "edbb9f16854ec66506b5f09b583e0656",
    "annotation.tar": "4298cc0031f6bc6e74612ac83b5988e2",
}
# The entries that each archive adds to the data folder.
_BRINGS = {
    "images.tar": ("Images",),
    "lists.tar": ("train_list.mat", "test_list.mat"),
    "annotation.tar": ("Annotation",),
}


def candidates(data: Path, test: Path | None) -> Source:
    """Return the images; archives are unpacked into `data`.

    Raises:
        InputError: Files are missing or wrong, or `test` is given.
    """
    if test is not None:
        raise InputError(f"Stanford Dogs has its own test set, but got {test}: leave out --test.")
    for archive, brings in _BRINGS.items():
        extract_missing(data, archive, brings, MD5[archive])
    images = data / "Images"
    if not images.is_dir():
        raise InputError(f"{data} must have Images/ or images.tar of Stanford Dogs: add --download, or put it there.")
    names = [folder.name for folder in visible_folders(images)]
    split = _official_split(data, names)
    folder_of = {file: folder.name for folder in visible_folders(images) for file in files_below(folder, images)}
    missing = sorted(split.keys() - folder_of.keys())
    if missing:
        raise InputError(
            f"{len(missing)} of {len(split)} images of the lists are not in {images}, the first is "
            f"{missing[0]!r}: unpack images.tar again."
        )
    return Source(
        [
            Candidate(f"Images/{file}", _breed(name), split.get(file), _box(data, file))
            for file, name in folder_of.items()
        ],
        [_breed(name) for name in names],
    )


def download(data: Path) -> None:
    """Download the three archives, 816 MB. The server has no https, so the hashes matter.

    Raises:
        InputError: A download fails, or an archive has the wrong hash.
    """
    for archive, md5 in MD5.items():
        fetch(URL + archive, data / archive, "md5", md5)


def _breed(folder: str) -> str:
    """Return the breed of a folder: `n02086240-Shih-Tzu` gives Shih-Tzu, because only the first hyphen separates."""
    return folder.split("-", 1)[-1]


def _box(data: Path, file: str) -> Box | None:
    """Return the annotated box of an image; None if the annotations are not there."""
    annotation = data / "Annotation" / Path(file).with_suffix("")
    return largest_box(annotation) if annotation.is_file() else None


def _official_split(data: Path, folders: list[str]) -> dict[str, str]:
    """Return the official split by path below Images; empty without the lists."""
    lists = {fold: data / f"{fold}_list.mat" for fold in ("train", "test")}
    present = [fold for fold, file in lists.items() if file.exists()]
    if len(present) == 1:
        raise InputError(
            f"{data} must have both train_list.mat and test_list.mat or neither, but has one: add the other."
        )
    split = {}
    for fold in present:
        for path, label in _read_list(lists[fold]):
            if not 1 <= label <= len(folders) or path.split("/")[0] != folders[label - 1]:
                raise InputError(
                    f"{lists[fold]} gives {path!r} the label {label}, which is another folder: download it again."
                )
            split[path] = fold
    return split


def _read_list(file: Path) -> list[tuple[str, int]]:
    from scipy.io import loadmat

    try:
        content = loadmat(file)
        paths = [str(np.asarray(cell).item()) for cell in content["file_list"].ravel()]
        return list(zip(paths, content["labels"].ravel().astype(int).tolist(), strict=True))
    except Exception as error:  # scipy passes on any error of its parser
        raise InputError(
            f"{file} is not a list of Stanford Dogs ({type(error).__name__}): download it again."
        ) from error
