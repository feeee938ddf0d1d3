"""Where a node keeps things. Nothing here changes a result, so none of it is part of a trial's config."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trainables.config import TrialConfig
from trainables.data.pixels import Pixels, open_pixels
from trainables.data.splits import Folds, divide
from trainables.keyed import key, order


@dataclass(frozen=True)
class Place:
    """Paths as this node sees them; `weights` is a folder of weight files or None for timm's own places.

    `stored` names the activations worth storing, as (backbone, unfreeze depth): what is frozen at that depth, or for
    "all" the views.
    """

    manifest: Path
    data: Path
    cache: Path
    cache_gib: float | None = None
    weights: Path | None = None
    stored: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True)
class Pictures:
    """The decoded images of a study and the folds one trial may read; all indexed by item number."""

    pixels: Pixels
    labels: NDArray[np.int64]
    classes: int
    pool: NDArray[np.int64]  # the whole training folds of all levels of the split together
    train: NDArray[np.int64]
    val: NDArray[np.int64]
    test: NDArray[np.int64]
    sample: NDArray[np.int64]  # of train, as large as val: where the training accuracy is measured


def open_pictures(config: TrialConfig, place: Place) -> Pictures:
    pixels = _open_pixels(place, config.stored_side, config.region)
    return _pictures(config, _read_manifest(place.manifest), _folds(place.manifest, config), pixels)


def train_pictures(config: TrialConfig, manifest: Path) -> int:
    """How many images a trial trains on."""
    return len(_train(config, _folds(manifest, config)))


def open_pictures_of(manifest: pd.DataFrame, config: TrialConfig, place: Place) -> Pictures:
    """The same before the manifest is written: of one in memory."""
    folds = divide(manifest, *_division(config))
    pixels = open_pixels(manifest, place.data, config.stored_side, place.cache, place.cache_gib, config.region)
    return _pictures(config, manifest, folds, pixels)


def _pictures(config: TrialConfig, manifest: pd.DataFrame, folds: Folds, pixels: Pixels) -> Pictures:
    train = _train(config, folds)
    shuffled = order(key("training sample", config.study_seed, config.seed), train)
    labels = manifest.set_index("item")["label"]
    return Pictures(
        pixels=pixels,
        labels=labels.reindex(range(manifest["item"].max() + 1), fill_value=-1).to_numpy(np.int64),
        classes=manifest["label"].max() + 1,
        pool=np.union1d(train, folds.pool),
        train=train,
        val=folds.val,
        test=folds.test,
        sample=np.sort(shuffled[: len(folds.val)]),
    )


def _train(config: TrialConfig, folds: Folds) -> NDArray[np.int64]:
    train = folds.train[config.split]
    return np.union1d(train, folds.val) if config.trains_on == "train+val" else train


def _folds(manifest: Path, config: TrialConfig) -> Folds:
    return _divide(manifest, *_division(config))


def _division(config: TrialConfig) -> tuple[tuple[str, ...], int, int, bool, int | None, float, int | None]:
    """What the folds of a trial hang on, beside the manifest."""
    levels, shares = tuple(config.split_levels.split(",")), (config.folds, config.train_fraction, config.test_folds)
    return levels, config.study_seed, config.seed, config.official_split, *shares


@lru_cache(maxsize=4)
def _read_manifest(path: Path) -> pd.DataFrame:
    return pd.read_parquet(path)


@lru_cache(maxsize=64)
def _divide(
    manifest: Path,
    levels: tuple[str, ...],
    study_seed: int,
    repeat: int,
    official: bool,
    k_fold: int | None,
    fraction: float,
    test_folds: int | None,
) -> Folds:
    return divide(_read_manifest(manifest), levels, study_seed, repeat, official, k_fold, fraction, test_folds)


@lru_cache(maxsize=4)
def _open_pixels(place: Place, stored_side: int, region: str) -> Pixels:
    manifest = _read_manifest(place.manifest)
    return open_pixels(manifest, place.data, stored_side, place.cache, place.cache_gib, region)
