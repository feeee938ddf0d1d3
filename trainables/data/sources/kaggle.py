"""What Kaggle's two competitions have in common: a flat folder train/, in an archive, in a bundle, or unpacked."""

from pathlib import Path

from trainables.data.archives import extract_missing
from trainables.data.sources.tree import files_below


def unpack(data: Path, bundles: tuple[str, ...], *beside: str) -> None:
    """Unpack what is packed: a bundle brings train/ or train.zip, and what lies beside; train.zip brings train/."""
    for bundle in bundles:
        has_train = (data / "train").is_dir() or (data / "train.zip").is_file()
        extract_missing(data, bundle, beside if has_train else (*beside, "train"))
    extract_missing(data, "train.zip", ("train",))


def training_pictures(data: Path) -> dict[str, str]:
    """File name without .jpg -> path of everything in train/ that claims to be an image."""
    paths = files_below(data / "train", data)
    return {path.removeprefix("train/")[: -len(".jpg")]: path for path in paths if path.lower().endswith(".jpg")}
