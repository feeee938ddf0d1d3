"""Stanford Cars (Krause et al. 2013): 16,185 images of 196 models with an official split and a box each.

It was published in two layouts that number the images differently. Layout A has cars_train/ and cars_test/ with a
devkit, and layout B has car_ims/ with cars_annos.mat. Images and annotations are always read from the same layout.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainables.data.archives import extract_missing
from trainables.data.boxes import Box
from trainables.data.manifest import Candidate, Source
from trainables.data.sources.tree import files_below
from trainables.errors import InputError

MD5 = {
    "cars_train.tgz": "065e5b463ae28d29e77c1b4b166cfe61",
    "cars_test.tgz": "4ce7ebf6a94d07f1952d94dd34c4d501",
    "car_devkit.tgz": "c3b158d763b6e2245038c8ad08e45376",
    "cars_test_annos_withlabels.mat": "b0a2b23655a3edd16d84508592a98d10",
    "car_ims.tgz": "d5c8f0aa497503f355e17dc7886c3f14",
    "cars_annos.mat": "b407c6086d669747186bd1d764ff9dbc",
}
_BRINGS = {"cars_train.tgz": "cars_train", "cars_test.tgz": "cars_test", "car_devkit.tgz": "devkit"}
_BRINGS_B = {"car_ims.tgz": "car_ims"}
_TEST_LABELS = "cars_test_annos_withlabels.mat"
_EDGES = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")


@dataclass(frozen=True)
class _Annotation:
    file: str  # relative to the folder of the images
    label: int  # from 1
    box: Box
    split: str


def candidates(data: Path, test: Path | None) -> Source:
    """Return the images of the layout that is there; archives are unpacked into the data folder.

    Raises:
        InputError: Files are missing or wrong, both layouts are there, or `test` is given.
    """
    if test is not None:
        raise InputError(f"Stanford Cars has its own test set, but got {test}: leave out --test.")
    root = _root(data)
    download(data)
    return _layout_a(data, root) if (root / "cars_train").is_dir() else _layout_b(data, root)


def download(data: Path) -> None:
    """Unpack the archives that the user has downloaded, because the original URL is gone.

    Raises:
        InputError: Files are missing, or both layouts are there; the message says what to put where.
    """
    root = _root(data)
    has_a, has_b = (_has(root, *pair) for pair in (("cars_train", "cars_train.tgz"), ("car_ims", "car_ims.tgz")))
    if has_a and has_b:
        raise InputError(f"cars_train and car_ims number the images differently, but {root} has both: keep one.")
    if not has_a and not has_b:
        raise InputError(
            f"{root} must have the files of Stanford Cars, which its authors no longer offer: put "
            f"{_named('cars_train.tgz', 'cars_test.tgz', 'car_devkit.tgz', _TEST_LABELS)} there, or "
            f"{_named('car_ims.tgz', 'cars_annos.mat')}."
        )
    for archive, brings in (_BRINGS if has_a else _BRINGS_B).items():
        extract_missing(root, archive, (brings,), MD5[archive])


def _root(data: Path) -> Path:
    """Return the folder of the dataset; torchvision puts it into a subfolder."""
    return data / "stanford_cars" if (data / "stanford_cars").is_dir() else data


def _has(root: Path, *names: str) -> bool:
    return any((root / name).exists() for name in names)


def _named(*files: str) -> str:
    return " and ".join(f"{file} (MD5 {MD5[file]})" for file in files)


def _layout_a(data: Path, root: Path) -> Source:
    devkit, annotations = root / "devkit", root / "cars_annos.mat"
    if annotations.exists() and not devkit.exists():
        raise InputError(
            f"{annotations} describes the images of car_ims/, not of cars_train/: download "
            f"{_named('car_devkit.tgz', _TEST_LABELS)}, or use {_named('car_ims.tgz')} instead of cars_train/."
        )
    names = _class_names(_present(devkit / "cars_meta.mat", "car_devkit.tgz"))
    found = []
    for split, file in (
        ("train", _present(devkit / "cars_train_annos.mat", "car_devkit.tgz")),
        ("test", _test_annotations(root)),
    ):
        folder = _present(root / f"cars_{split}", f"cars_{split}.tgz")
        nested = folder / folder.name  # as in a mirror of the data
        found += _join(data, nested if nested.is_dir() else folder, _read(file, "fname", split), names, file)
    return Source(found, names)


def _layout_b(data: Path, root: Path) -> Source:
    file = _present(root / "cars_annos.mat", "cars_annos.mat")
    names, annotations = _class_names(file), _read(file, "relative_im_path", None)
    return Source(_join(data, root / "car_ims", annotations, names, file), names)


def _present(path: Path, source: str) -> Path:
    if not path.exists():
        raise InputError(f"Stanford Cars needs {path}, which does not exist: download {_named(source)}.")
    return path


def _test_annotations(root: Path) -> Path:
    """Return the test annotations with labels, which are beside the devkit or in it.

    The devkit's own cars_test_annos.mat has no labels in the original, but it has in a mirror.
    """
    places = [root / _TEST_LABELS, root / "devkit" / _TEST_LABELS, root / "devkit" / "cars_test_annos.mat"]
    return next((place for place in places if place.exists()), None) or _present(places[0], _TEST_LABELS)


def _join(data: Path, folder: Path, annotations: list[_Annotation], names: list[str], source: Path) -> list[Candidate]:
    images = {file for file in files_below(folder, folder) if file.endswith(".jpg")}
    listed = {annotation.file for annotation in annotations}
    for files, place, other in ((listed - images, source, folder), (images - listed, folder, source)):
        if files:
            raise InputError(
                f"{source} must list the images in {folder}, but {len(files)} of {place} are not in {other}, the "
                f"first is {min(files)!r}: download both again."
            )
    if len(listed) < len(annotations):
        raise InputError(
            f"{source} must list each image once, but lists {len(listed)} images in {len(annotations)} rows: "
            "download it again."
        )
    for annotation in annotations:
        if not 1 <= annotation.label <= len(names):
            raise InputError(
                f"Classes must be from 1 to {len(names)}, but {source} gives {annotation.file!r} the class "
                f"{annotation.label}: download it again."
            )
    prefix = folder.relative_to(data)
    return [
        Candidate((prefix / annotation.file).as_posix(), names[annotation.label - 1], annotation.split, annotation.box)
        for annotation in annotations
    ]


def _read(file: Path, name: str, split: str | None) -> list[_Annotation]:
    """Read the annotations of one file; without `split`, its field `test` (0 or 1) gives the fold."""
    with _is_matlab(file):
        table = _load(file)["annotations"]
        fields = {field: [np.asarray(cell).item() for cell in table[field].ravel()] for field in table.dtype.names}
    if "class" not in fields:
        raise InputError(f"{file} has no field class and so no labels: put {_named(_TEST_LABELS)} beside devkit/.")
    with _is_matlab(file):
        labels = fields["class"]
        splits = [split] * len(labels) if split else ["test" if flag else "train" for flag in fields["test"]]
        return [
            _Annotation(str(path).removeprefix("car_ims/"), int(label), Box(*map(int, edges)), side)
            for path, label, side, *edges in zip(
                fields[name], labels, splits, *(fields[edge] for edge in _EDGES), strict=True
            )
        ]


def _class_names(file: Path) -> list[str]:
    with _is_matlab(file):
        return [str(np.asarray(cell).item()) for cell in _load(file)["class_names"].ravel()]


def _load(file: Path) -> dict[str, Any]:
    from scipy.io import loadmat

    return loadmat(file)


@contextmanager
def _is_matlab(file: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # scipy passes on any error of its parser
        raise InputError(
            f"{file} is not a file of Stanford Cars ({type(error).__name__}): download it again."
        ) from error
