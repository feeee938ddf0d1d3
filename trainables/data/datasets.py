"""The datasets by name, with their sources and their overlap with the pretraining data."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pandas as pd

from trainables.data.manifest import Source, check, scan
from trainables.data.sources import cats_vs_dogs, digits, dog_breeds, folder, stanford_cars, stanford_dogs
from trainables.data.sources.groups import add_groups
from trainables.errors import InputError, did_you_mean


@dataclass(frozen=True)
class Dataset:
    """A dataset that a study can name."""

    name: str
    title: str
    source: Callable[[Path, Path | None], Source]  # (data, the user's own test folder)
    download: Callable[[Path], None] | None  # None: nothing to download
    pretraining_overlap: Literal["full", "partial", "none", "unknown"]  # with ImageNet-1k
    comes_along: bool = False  # it ships with a package, and is written to the data folder if that is empty or missing


DATASETS = {
    dataset.name: dataset
    for dataset in [
        Dataset("digits", "Handwritten digits", digits.candidates, None, "none", comes_along=True),
        Dataset("folder", "A folder of images", folder.candidates, None, "unknown"),
        # Built from ImageNet's own images; all 120 breeds are among its classes.
        Dataset("stanford_dogs", "Stanford Dogs", stanford_dogs.candidates, stanford_dogs.download, "full"),
        Dataset("dog_breeds", "Kaggle's dog breeds", dog_breeds.candidates, dog_breeds.download, "full"),
        # ImageNet has cats and dogs, but not from this site; no comparison of the images is known.
        Dataset("cats_vs_dogs", "Cats vs Dogs", cats_vs_dogs.candidates, cats_vs_dogs.download, "unknown"),
        Dataset("stanford_cars", "Stanford Cars", stanford_cars.candidates, stanford_cars.download, "none"),
    ]
}


def find(name: str, data: Path, test: Path | None = None) -> Source:
    """Return the candidate images of a dataset, with the user's own groups.

    Raises:
        InputError: The dataset is unknown, or its folder has no layout that can be read.
    """
    if name not in DATASETS:
        raise InputError(
            f"No dataset is named {name!r}: use one of {', '.join(DATASETS)}.{did_you_mean(name, DATASETS)}"
        )
    source = DATASETS[name].source(data, test)
    return replace(source, candidates=add_groups(data, source.candidates))


def read_manifest(
    name: str,
    data: Path,
    test: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    cache: Path | None = None,
    source: Source | None = None,
) -> pd.DataFrame:
    """Decode every candidate image of a dataset, group duplicates, and check that it can be trained on.

    Args:
        name: A key of `DATASETS`.
        data: The dataset's folder.
        test: The user's own test images.
        progress: Called with (done, total).
        cache: Folder that keeps the inspections, so that a second scan decodes only changed files.
        source: The result of `find` for the same dataset, if the caller has it already.

    Raises:
        InputError: The data cannot be read, or no classifier can be trained on it.
    """
    source = source or find(name, data, test)
    manifest = scan(data, source.candidates, progress, source.label_names, cache)
    check(manifest)
    return manifest
