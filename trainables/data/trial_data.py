"""The data of a trial: decoded images, labels and folds."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trainables.config import TrialConfig
from trainables.data.folds import division_of, load_folds, load_manifest, training_items
from trainables.data.pixels import Pixels, open_pixels
from trainables.data.splits import Folds
from trainables.keyed import key, order
from trainables.place import Place


@dataclass(frozen=True)
class TrialData:
    """The decoded images of a study, and the folds of one trial as sorted item numbers."""

    pixels: Pixels
    labels: NDArray[np.int64]  # by item number
    classes: int
    pool: NDArray[np.int64]  # the union of the training folds of all split levels
    train: NDArray[np.int64]
    val: NDArray[np.int64]
    test: NDArray[np.int64]
    sample: NDArray[np.int64]  # a sample of train, as large as val, on which training accuracy is measured


def open_trial_data(config: TrialConfig, place: Place) -> TrialData:
    """Open the images and folds of a trial; the first caller on a node decodes the images.

    Raises:
        InputError: The decoded images do not fit into the cache, or the manifest cannot be divided.
        Unavailable: An image has changed or vanished since the scan.
    """
    pixels = _open_pixels(place, config.stored_side, config.region)
    return _trial_data(config, load_manifest(place.manifest), load_folds(place.manifest, config), pixels)


def open_trial_data_of(manifest: pd.DataFrame, config: TrialConfig, place: Place) -> TrialData:
    """Open the images and folds of a trial from a manifest in memory; it raises like `open_trial_data`."""
    folds = division_of(config).of(manifest)
    pixels = open_pixels(manifest, place.data, config.stored_side, place.cache, place.cache_gib, config.region)
    return _trial_data(config, manifest, folds, pixels)


def _trial_data(config: TrialConfig, manifest: pd.DataFrame, folds: Folds, pixels: Pixels) -> TrialData:
    train = training_items(config, folds)
    shuffled = order(key("training sample", config.study_seed, config.seed), train)
    labels = manifest.set_index("item")["label"]
    return TrialData(
        pixels=pixels,
        labels=labels.reindex(range(manifest["item"].max() + 1), fill_value=-1).to_numpy(np.int64),
        classes=manifest["label"].max() + 1,
        pool=np.union1d(train, folds.pool),
        train=train,
        val=folds.val,
        test=folds.test,
        sample=np.sort(shuffled[: len(folds.val)]),
    )


@lru_cache(maxsize=4)
def _open_pixels(place: Place, stored_side: int, region: str) -> Pixels:
    manifest = load_manifest(place.manifest)
    return open_pixels(manifest, place.data, stored_side, place.cache, place.cache_gib, region)
