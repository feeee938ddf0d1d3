"""Images per second beside those of a batch that never leaves the device; views and heads per second."""

import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.gpu.nets import BATCH, Scale, behind_the_cut, clear, inputs_of, photographs, rate, resident, trial
from trainables.augmentation.views import InputContract, ViewKey, training_views
from trainables.frozen.activations import Draws
from trainables.learning.inputs import Inputs
from trainables.learning.optimizers import build_optimizer
from trainables.learning.training import Training, train_epoch
from trainables.place import Place
from trainables.trial import run_trial

_THREADS = (1, 4, 8, 16)
_HEADS, _EPOCHS = 16, 5


def rows(scale: Scale, folder: Path) -> Iterator[dict[str, Any]]:
    place = photographs(scale, folder)
    for backbone in scale.backbones:
        yield _frozen(scale, backbone, place)
        clear(scale)
        stored = replace(place, stored=frozenset({(backbone, "last stage")}))
        yield _trained(scale, backbone, "last stage", "none", stored)
        for augmentation in ("light", "strong"):
            yield _trained(scale, backbone, "all", augmentation, place)
    yield from _views(scale)
    yield _heads(scale, place)


def _frozen(scale: Scale, backbone: str, place: Place) -> dict[str, Any]:
    """The first pass of what is frozen, on new light views."""
    inputs = inputs_of(trial(scale, backbone, "head", augmentation="light"), place)
    side = scale.size
    views = torch.randint(0, 256, (BATCH, side, side, 3), dtype=torch.uint8).to(scale.device)
    of_resident = rate(lambda: behind_the_cut(inputs, views), BATCH, scale)
    pool, epochs = inputs.data.pool, count(1)

    def first_pass() -> None:
        draws = Draws(pool, np.full_like(pool, next(epochs)), np.zeros_like(pool))
        for _ in inputs.activations.batches(draws, BATCH, pool):
            pass

    return _row(backbone, "frozen, light", rate(first_pass, len(pool), scale), of_resident, scale)


def _trained(scale: Scale, backbone: str, depth: str, augmentation: str, place: Place) -> dict[str, Any]:
    chosen = trial(scale, backbone, depth, augmentation=augmentation)
    drawn = _rate_of_training(scale, inputs_of(chosen, place))
    of_resident = _rate_of_training(scale, resident(inputs_of(chosen, place)))
    work = f"{depth}, {augmentation if depth == 'all' else 'stored'}"
    row = _row(backbone, work, drawn, of_resident, scale)
    clear(scale)
    return row


def _rate_of_training(scale: Scale, inputs: Inputs) -> float:
    chosen, epochs = inputs.config, count(1)
    training = Training(inputs, build_optimizer(chosen, inputs.net))
    return rate(lambda: train_epoch(training, next(epochs)), chosen.steps_per_epoch * BATCH, scale)


def _row(net: str, work: str, drawn: float, of_resident: float, scale: Scale) -> dict[str, Any]:
    row = {"net": net, "work": work, "images/s": round(drawn), "resident": round(of_resident)}
    row["share"] = f"{drawn / of_resident:.0%}"
    if scale.device == "cuda":
        row["peak GiB"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
    return row


def _views(scale: Scale) -> Iterator[dict[str, Any]]:
    random, items = np.random.default_rng(0), np.arange(4 * BATCH)
    images = [random.integers(0, 256, (256, 341, 3), np.uint8) for _ in items]
    contract = InputContract((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bicubic", 0.875)
    for augmentation in ("light", "strong"):
        for threads in _THREADS if scale.device == "cuda" else _THREADS[:1]:

            def cut(augmentation: str = augmentation, threads: int = threads) -> None:
                key = ViewKey(0, 0, 1)
                training_views(images, items, np.zeros_like(items), key, augmentation, scale.size, contract, threads)

            yield {"views": augmentation, "threads": threads, "views/s": round(rate(cut, len(items), scale))}


def _heads(scale: Scale, place: Place) -> dict[str, Any]:
    """Heads of one backbone, one after the other, on stored features."""
    backbone = scale.backbones[0]
    stored = replace(place, stored=frozenset({(backbone, "head")}))
    chosen = trial(scale, backbone, "head", epochs=_EPOCHS)
    list(run_trial(chosen, stored))
    began = time.perf_counter()
    for number in range(_HEADS):
        list(run_trial(replace(chosen, learning_rate=1e-3 * (number + 1)), stored))
    seconds = (time.perf_counter() - began) / _HEADS / _EPOCHS
    return {"net": backbone, "heads": _HEADS, "ms per epoch of a head": round(1e3 * seconds, 1)}
