"""The common layout of two Kaggle competitions: a flat folder train/, in an archive, in a bundle, or unpacked."""

from pathlib import Path

from trainables.data.archives import extract_missing
from trainables.data.sources.tree import files_below


def unpack(data: Path, bundles: tuple[str, ...], *beside: str) -> None:
    """Unpack the archives that are there, unless their content is.

    A bundle contains train/ or train.zip and the files named in `beside`; train.zip contains train/.

    Raises:
        InputError: An archive cannot be unpacked.
    """
    for bundle in bundles:
        has_train = (data / "train").is_dir() or (data / "train.zip").is_file()
        extract_missing(data, bundle, beside if has_train else (*beside, "train"))
    extract_missing(data, "train.zip", ("train",))


def training_images(data: Path) -> dict[str, str]:
    """Return the paths of all .jpg files in train/, by name without .jpg."""
    paths = files_below(data / "train", data)
    return {path.removeprefix("train/")[: -len(".jpg")]: path for path in paths if path.lower().endswith(".jpg")}
