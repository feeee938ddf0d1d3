"""The folds of a trial: the items that it trains, validates and tests on, as its config says."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trainables.config import TrialConfig
from trainables.data.splits import Folds, divide

OfficialFold = Literal["train", "val", "test"]  # as the dataset's authors or its owner divide the images
# In a manifest, "pool" marks images that any split level may train on, and "unused" those in no fold of a level.
Fold = Literal["train", "val", "test", "pool", "unused"]


@dataclass(frozen=True, kw_only=True)
class Division:
    """The config fields that determine the folds of a manifest."""

    levels: tuple[str, ...]
    seed: int
    repeat: int
    official: bool
    folds: int | None
    fraction: float
    test_folds: int | None

    def of(self, manifest: pd.DataFrame) -> Folds:
        """Divide a manifest.

        Raises:
            InputError: The manifest cannot be divided like this, see `divide`.
        """
        return divide(
            manifest,
            self.levels,
            self.seed,
            self.repeat,
            self.official,
            self.folds,
            self.fraction,
            self.test_folds,
        )


def division_of(config: TrialConfig) -> Division:
    return Division(
        levels=tuple(config.split_levels.split(",")),
        seed=config.study_seed,
        repeat=config.seed,
        official=config.official_split,
        folds=config.folds,
        fraction=config.train_fraction,
        test_folds=config.test_folds,
    )


def load_folds(manifest: Path, config: TrialConfig) -> Folds:
    """Return the folds of a trial from the manifest file; they are computed once per process and division.

    Raises:
        InputError: The manifest cannot be divided like this, see `divide`.
    """
    return _folds(manifest, division_of(config))


def training_items(config: TrialConfig, folds: Folds) -> NDArray[np.int64]:
    """Return the sorted items that a trial trains on, with those of the validation fold if `trains_on` says so."""
    train = folds.train[config.split]
    return np.union1d(train, folds.val) if config.trains_on == "train+val" else train


def count_training_images(config: TrialConfig, manifest: Path) -> int:
    return len(training_items(config, load_folds(manifest, config)))


@lru_cache(maxsize=4)
def load_manifest(file: Path) -> pd.DataFrame:
    """Return the manifest, which is read once per process: do not change it."""
    return pd.read_parquet(file)


@lru_cache(maxsize=64)
def _folds(manifest: Path, division: Division) -> Folds:
    return division.of(load_manifest(manifest))
