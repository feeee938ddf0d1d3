"""One trial, top to bottom: a pure function of its config that yields a row and a state after every epoch."""

import math
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from trainables.activations import Activations
from trainables.checkpoints import State
from trainables.config import TrialConfig
from trainables.inputs import Inputs, draws
from trainables.keyed import key, uniform
from trainables.models import Net, build, load_trained, train_mode, trained_state, unfreeze
from trainables.optimizers import (
    build_optimizer,
    load_optimizer_tensors,
    optimizer_tensors,
    penalty,
    schedule,
    set_rate,
)
from trainables.place import Pictures, Place, open_pictures
from trainables.prefixes import INPUT, Frozen
from trainables.store import open_store
from trainables.weights import file_hash, find


class Row(TypedDict):
    """What is measured after an epoch. Cross-entropies are pure: no penalty; accuracies are counts over n."""

    epoch: int
    train_accuracy: float
    train_cross_entropy: float
    penalty: float
    val_accuracy: float
    val_cross_entropy: float
    learning_rate: float
    seconds: float
    images_per_second: float


class Diverged(ArithmeticError):
    """The loss is not a finite number any more; the config is at fault, not the machine."""


def run_trial(config: TrialConfig, place: Place, start: State | None = None) -> Iterator[tuple[Row, State]]:
    """Train from the beginning or from `start`, the state of an earlier epoch of the same config."""
    set_arithmetic(config)
    pictures = open_pictures(config, place)
    inputs = prepare(config, place, pictures)
    net = inputs.net
    optimizer = build_optimizer(config, net)
    epoch, best_epoch, best_accuracy, best = 0, 0, -math.inf, {}
    if start is not None:
        load_trained(net, start.net)
        load_optimizer_tensors(optimizer, start.optimizer)
        epoch, best_epoch, best_accuracy = start.epoch, start.best_epoch, start.best_val_accuracy
        best = start.best
    while epoch < config.epochs:
        epoch += 1
        began = time.perf_counter()
        rate = config.learning_rate * schedule(config, (epoch - 1) * config.steps_per_epoch)
        train_epoch(inputs, optimizer, epoch)
        trained = time.perf_counter() - began
        train = score(inputs.evaluation_logits(pictures.sample), pictures.labels[pictures.sample])
        val = score(inputs.evaluation_logits(pictures.val), pictures.labels[pictures.val])
        if not math.isfinite(train[1]) or not math.isfinite(val[1]):
            raise Diverged(f"The loss is not finite after epoch {epoch} at learning rate {config.learning_rate:.3g}.")
        if val[0] > best_accuracy:
            best_epoch, best_accuracy = epoch, val[0]
            best = trained_state(net)
        row = Row(
            epoch=epoch,
            train_accuracy=train[0],
            train_cross_entropy=train[1],
            penalty=float(penalty(config, net).detach()),
            val_accuracy=val[0],
            val_cross_entropy=val[1],
            learning_rate=rate,
            seconds=time.perf_counter() - began,
            images_per_second=config.steps_per_epoch * config.batch_size / trained,
        )
        yield (
            row,
            State(epoch, best_epoch, best_accuracy, trained_state(net), optimizer_tensors(optimizer), best),
        )


def predict(
    config: TrialConfig, place: Place, trained: dict[str, torch.Tensor], items: NDArray[np.int64]
) -> NDArray[np.float32]:
    """The logits (n, classes) of a trained net on `items`, in evaluation views."""
    set_arithmetic(config)
    pictures = open_pictures(config, place)
    inputs = prepare(config, place, pictures)
    load_trained(inputs.net, trained)
    return inputs.evaluation_logits(items).numpy()


def prepare(config: TrialConfig, place: Place, pictures: Pictures) -> Inputs:
    """The net behind its cut, and what comes to it."""
    frozen = _frozen(config, place)
    stored = frozenset(depth for backbone, depth in place.stored if backbone == config.backbone)
    store = open_store(place.cache, place.cache_gib) if stored else None
    activations = Activations(config, frozen, pictures, store, stored)
    net = _net(frozen, activations.cut, pictures.classes)
    unfreeze(net, frozen.body, config.unfreeze)
    return Inputs(config, net.to(config.device), activations, pictures)


def whole_net(config: TrialConfig, place: Place, classes: int) -> Net:
    """The net from the pictures on, as it is before training."""
    return _net(_frozen(config, place), INPUT, classes)


def _net(frozen: Frozen, cut: str, classes: int) -> Net:
    return Net(replace(frozen.body, module=frozen.rest(cut)), classes)


def _frozen(config: TrialConfig, place: Place) -> Frozen:
    """The backbone as the config wants it; the weights' file must be the one the study recorded."""
    path, seed = None, key("initialisation", config.study_seed, config.seed)
    if config.weights == "pretrained":
        path, seed = find(config.backbone, place.weights), 0
        if (seen := file_hash(path)) != config.weights_hash:
            raise RuntimeError(
                f"The weights of {config.backbone} must be those of the study ({config.weights_hash[:12]}), "
                f"but {path} has {seen[:12]}."
            )
    return _frozen_backbone(config.backbone, path, seed, config.size, config.device, config.channels_last)


# One on the device while its trials run, one to go back to.
@lru_cache(maxsize=2)
def _frozen_backbone(
    backbone: str, weights: Path | None, seed: int, size: int, device: str, channels_last: bool
) -> Frozen:
    body = build(backbone, weights, seed)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    module = body.module.to(device=device, memory_format=layout).requires_grad_(False)
    return Frozen(replace(body, module=module), size)


def train_epoch(inputs: Inputs, optimizer: torch.optim.Optimizer, epoch: int) -> None:
    """`steps_per_epoch` optimiser steps over keyed passes through the training fold."""
    config, net, pictures = inputs.config, inputs.net, inputs.pictures
    train_mode(net)
    order = key("order", config.study_seed, config.seed, epoch)
    items, occurrence = draws(order, pictures.train, config.steps_per_epoch * config.batch_size)
    labels = torch.from_numpy(pictures.labels[items]).to(config.device)
    for step, features in enumerate(inputs.training_features(items, occurrence, epoch)):
        batch = slice(step * config.batch_size, (step + 1) * config.batch_size)
        if config.dropout:
            features = drop(config, features, items[batch], occurrence[batch], epoch)
        loss = F.cross_entropy(net.head(features), labels[batch])
        set_rate(optimizer, schedule(config, (epoch - 1) * config.steps_per_epoch + step))
        optimizer.zero_grad(set_to_none=True)
        (loss + penalty(config, net)).backward()
        optimizer.step()


def drop(
    config: TrialConfig,
    features: torch.Tensor,
    items: NDArray[np.int64],
    occurrence: NDArray[np.int64],
    epoch: int,
) -> torch.Tensor:
    """Dropout whose mask is keyed by picture and unit, so that it too is the same in every batch order."""
    assert config.dropout is not None
    stream = key("dropout", config.study_seed, config.seed, epoch)
    u = uniform(stream, items[:, None], occurrence[:, None], np.arange(features.shape[1])[None, :])
    mask = torch.from_numpy((u >= config.dropout).astype(np.float32)).to(features.device)
    return features * mask / (1 - config.dropout)


def score(logits: torch.Tensor, labels: NDArray[np.int64]) -> tuple[float, float]:
    """Accuracy as a summed count over n, and the mean cross-entropy."""
    target = torch.from_numpy(labels)
    correct = int((logits.argmax(dim=1) == target).sum())
    return correct / len(labels), float(F.cross_entropy(logits.double(), target))


def set_arithmetic(config: TrialConfig) -> None:
    """What PyTorch keeps per process: threads, and on a GPU kernels that repeat and a float32 that is one."""
    torch.set_num_threads(config.threads)
    if config.device == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS repeats only with this
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.allow_tf32 = False
