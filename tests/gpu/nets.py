"""Trials, images and timings that the parts of the check share."""

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from tests.images import COLORS, config, noisy, place_of
from trainables.config import TrialConfig
from trainables.data.trial_data import open_trial_data
from trainables.frozen.activations import autocast
from trainables.learning.inputs import Inputs
from trainables.nets.prefixes import INPUT
from trainables.place import Place
from trainables.trial import build_inputs, set_arithmetic

BATCH = 64


@dataclass(frozen=True)
class Scale:
    """How much a check does: whole on a GPU, small on a CPU, where it only shows that the check itself works."""

    device: str
    backbones: tuple[str, ...]
    size: int
    images: int  # for each of three classes
    seconds: float  # of each timing
    precision: str


WHOLE = Scale("cuda", ("mobilenetv2_100", "efficientnet_b0", "resnet50", "densenet121"), 224, 100, 1.5, "bfloat16")
SMALL = Scale("cpu", ("test_efficientnet",), 32, 30, 0.02, "float32")


def trial(scale: Scale, backbone: str, depth: str, **changes: object) -> TrialConfig:
    values: dict[str, object] = {
        "backbone": backbone,
        "unfreeze": depth,
        "size": scale.size,
        "stored_side": round(scale.size / 0.875),
        "device": scale.device,
        "precision": scale.precision,
        "frozen_precision": scale.precision,
        "batch_size": BATCH,
        "block_size": BATCH,
        "steps_per_epoch": 4,
        "learning_rate": 1e-4,
    }
    return config(**(values | changes))


def photographs(scale: Scale, folder: Path) -> Place:
    """Return the place of a data set of three classes, of images of 500 x 375 pixels."""
    random = np.random.default_rng(0)
    for name, color in COLORS.items():
        (folder / "data" / name).mkdir(parents=True)
        for number in range(scale.images):
            coarse = Image.fromarray(noisy(color, random, 15, 20))
            large = coarse.resize((500, 375), Image.Resampling.BICUBIC)
            large.save(folder / "data" / name / f"{number:03d}.jpg", quality=90)
    return place_of(folder)


def inputs_of(chosen: TrialConfig, place: Place) -> Inputs:
    set_arithmetic(chosen)
    return build_inputs(chosen, place, open_trial_data(chosen, place))


def resident(inputs: Inputs) -> Inputs:
    """Let every batch be the same tensor, which stays on the device: what training costs without its data."""
    chosen, activations = inputs.config, inputs.activations
    views = torch.randint(0, 256, (BATCH, chosen.size, chosen.size, 3), generator=torch.Generator().manual_seed(1))
    x = activations.to_device(views.byte()) if activations.cut == INPUT else behind_the_cut(inputs, views.byte())
    activations.batches = lambda draws, size, universe: iter([views] * chosen.steps_per_epoch)
    activations.to_device = lambda rows: x
    return inputs


def behind_the_cut(inputs: Inputs, views: torch.Tensor) -> torch.Tensor:
    activations = inputs.activations
    precision = inputs.config.frozen_precision
    segment = activations.frozen.segment(INPUT, activations.cut, precision)
    with torch.no_grad(), autocast(inputs.config.device, precision):
        return segment(activations._normalized(views.to(inputs.config.device))).float()


def rate(action: Callable[[], object], images: int, scale: Scale) -> float:
    """Return the images per second of an action, which is repeated for a while."""
    for _ in range(2):
        action()
    wait(scale)
    began, runs = time.perf_counter(), 0
    while (passed := time.perf_counter() - began) < scale.seconds or not runs:
        action()
        wait(scale)
        runs += 1
        passed = time.perf_counter() - began
    return images * runs / passed


def wait(scale: Scale) -> None:
    if scale.device == "cuda":
        torch.cuda.synchronize()


def clear(scale: Scale) -> None:
    gc.collect()
    if scale.device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
