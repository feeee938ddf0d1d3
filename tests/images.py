"""A data set small enough to train on in a test, and configs that do."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from trainables.config import TrialConfig
from trainables.data.datasets import read_manifest
from trainables.data.splits import add_folds
from trainables.place import Place

LEVEL = "60-20-20"
DEVICE_VARIABLE = "STUDY_TEST_DEVICE"  # of the trials of these tests; make gpu-test sets it to cuda
COLORS = {"blue": (90, 100, 150), "green": (90, 140, 100), "red": (150, 100, 90)}


def noisy(color: tuple[int, int, int], random: np.random.Generator, height: int, width: int) -> np.ndarray:
    return np.clip(np.array(color) + random.normal(0, 60, (height, width, 3)), 0, 255).astype(np.uint8)


def make_place(folder: Path, each: int = 15) -> Place:
    """Three classes of noisy colors, `each` images of every one in several shapes, and their manifest."""
    random = np.random.default_rng(7)
    for name, color in COLORS.items():
        (folder / "data" / name).mkdir(parents=True)
        for i in range(each):
            image = noisy(color, random, 24 + i % 5, 28 - 2 * (i % 7))
            Image.fromarray(image).save(folder / "data" / name / f"{i:02d}.png")
    return place_of(folder)


def place_of(folder: Path) -> Place:
    """Write the manifest of the class folders in `folder`/data, beside it."""
    manifest = add_folds(read_manifest("folder", folder / "data"), [LEVEL], 0, official=False, split_is_factor=False)
    manifest.to_parquet(folder / "manifest.parquet")
    return Place(folder / "manifest.parquet", folder / "data", folder / "cache")


def config(**changes: Any) -> TrialConfig:
    """A trial of seconds on the images of `make_place`: small_cnn from random numbers."""
    values: dict[str, Any] = {
        "manifest": "",
        "split": LEVEL,
        "split_levels": LEVEL,
        "official_split": False,
        "study_seed": 0,
        "backbone": "small_cnn",
        "weights": "none",
        "unfreeze": "all",
        "size": 16,
        "stored_side": 20,
        "augmentation": "none",
        "epochs": 3,
        "steps_per_epoch": 3,
        "batch_size": 8,
        "block_size": 8,
        "device": os.environ.get(DEVICE_VARIABLE, "cpu"),
    }
    return TrialConfig(**(values | changes))


def measured(row: Any) -> dict[str, Any]:
    """A row without what differs between two runs of one config."""
    return {name: value for name, value in row.items() if name not in ("seconds", "images_per_second")}
