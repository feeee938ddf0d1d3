"""Stanford Dogs (Khosla et al. 2011): 20,580 images of 120 breeds with an official split.

Labels run from 1 to 120 in its lists, in the order of the folders, which is not that of the breeds' names.
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
# What each archive brings into the data folder.
_BRINGS = {
    "images.tar": ("Images",),
    "lists.tar": ("train_list.mat", "test_list.mat"),
    "annotation.tar": ("Annotation",),
}


def candidates(data: Path, test: Path | None) -> Source:
    """The images of the archives or of the tree unpacked from them; unpacks into `data`."""
    if test is not None:
        raise InputError(f"Stanford Dogs has a test set of its own, but got {test}: leave out --test.")
    for archive, brings in _BRINGS.items():
        extract_missing(data, archive, brings, MD5[archive])
    images = data / "Images"
    if not images.is_dir():
        raise InputError(f"{data} must hold Images/ or images.tar of Stanford Dogs: add --download or put it there.")
    names = [folder.name for folder in visible_folders(images)]
    split = _official_split(data, names)
    found = {file: folder.name for folder in visible_folders(images) for file in files_below(folder, images)}
    missing = sorted(split.keys() - found.keys())
    if missing:
        raise InputError(
            f"{len(missing)} of {len(split)} images of the lists are not in {images}, the first is "
            f"{missing[0]!r}: unpack images.tar again."
        )
    return Source(
        [Candidate(f"Images/{file}", _breed(name), split.get(file), _box(data, file)) for file, name in found.items()],
        [_breed(name) for name in names],
    )


def download(data: Path) -> None:
    """Fetch the three archives, 816 MB; the address has no https, so the hashes matter."""
    for archive, md5 in MD5.items():
        fetch(URL + archive, data / archive, "md5", md5)


def _breed(folder: str) -> str:
    """`n02086240-Shih-Tzu` is a Shih-Tzu: only the first hyphen divides."""
    return folder.split("-", 1)[-1]


def _box(data: Path, file: str) -> Box | None:
    """Annotations have the images' names without an ending; they may be left out."""
    annotation = data / "Annotation" / Path(file).with_suffix("")
    return largest_box(annotation) if annotation.is_file() else None


def _official_split(data: Path, folders: list[str]) -> dict[str, str]:
    """Official split by path below Images; empty without the lists."""
    lists = {fold: data / f"{fold}_list.mat" for fold in ("train", "test")}
    present = [fold for fold, file in lists.items() if file.exists()]
    if len(present) == 1:
        raise InputError(f"{data} must hold both train_list.mat and test_list.mat or none, but has one: add the other.")
    split = {}
    for fold in present:
        for path, label in _read_list(lists[fold]):
            if not 1 <= label <= len(folders) or path.split("/")[0] != folders[label - 1]:
                raise InputError(
                    f"{lists[fold]} gives {path!r} the label {label}, which is another folder: get it again."
                )
            split[path] = fold
    return split


def _read_list(file: Path) -> list[tuple[str, int]]:
    from scipy.io import loadmat

    try:
        content = loadmat(file)
        paths = [str(np.asarray(cell).item()) for cell in content["file_list"].ravel()]
        return list(zip(paths, content["labels"].ravel().astype(int).tolist(), strict=True))
    except Exception as error:  # scipy raises whatever its parser stumbles over
        raise InputError(f"{file} is not a list of Stanford Dogs ({type(error).__name__}): get it again.") from error
