"""One trial, top to bottom: a pure function of its config that yields a row and a state after every epoch."""

import math
import os
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from numpy.typing import NDArray

from trainables.config import TrialConfig
from trainables.frozen.activations import Activations
from trainables.frozen.neighbours import Search, vote
from trainables.frozen.store import open_store
from trainables.keyed import key
from trainables.learning.checkpoints import State
from trainables.learning.inputs import Inputs
from trainables.learning.losses import score
from trainables.learning.optimizers import build_optimizer, load_optimizer_tensors, optimizer_tensors
from trainables.learning.team import ALONE, Team
from trainables.learning.training import Training, train_epoch
from trainables.learning.training_phases import Phase, phases_of
from trainables.metrics import signed, validation_metric
from trainables.nets.averaging import Average
from trainables.nets.drop_path import key_drop_paths
from trainables.nets.models import Net, build, load_trained, trained_state, unfreeze
from trainables.nets.prefixes import INPUT, Frozen
from trainables.nets.weights import file_hash, find
from trainables.place import Pictures, Place, open_pictures

# Predictions are stored as float16: a logit beyond this would be infinite in every table.
_LARGEST_LOGIT = 65504.0
# What tips the scales between equally frequent neighbors; less would be lost in half precision.
_LEAD = 0.01


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
    val_metric: float  # what the best epoch is chosen by


class Diverged(ArithmeticError):
    """The loss is not a finite number any more, or logits are too large to be kept; the config is at fault."""


def run_trial(
    config: TrialConfig, place: Place, start: State | None = None, team: Team = ALONE
) -> Iterator[tuple[Row, State]]:
    """Train from the beginning or from `start`, the state of an earlier epoch of the same config.

    As one of a `team`, all of whom run the same; each yields the same rows and states.
    """
    set_arithmetic(config)
    pictures = open_pictures(config, place)
    state = start or State(0, 0, -math.inf, {}, {}, {})
    for phase in phases_of(config):
        if state.epoch >= phase.last:
            continue
        training = begin(phase, place, pictures, state, team)
        while state.epoch < phase.last and not _is_out_of_patience(config, phase, state):
            row, state = run_epoch(training, state)
            yield row, state


def begin(phase: Phase, place: Place, pictures: Pictures, state: State, team: Team = ALONE) -> Training:
    """The net, the optimizer and the average as `state` left them, or as a phase begins with what was learned."""
    config = phase.config
    inputs = prepare(config, place, pictures, team)
    anchor = trained_state(inputs.net) if config.l2_sp is not None else {}
    optimizer = build_optimizer(config, inputs.net)
    load_trained(inputs.net, state.net)
    average, goes_on = None, state.epoch > phase.first
    if goes_on:
        load_optimizer_tensors(optimizer, state.optimizer)
    if config.ema_decay is not None:
        steps = (state.epoch - phase.first) * config.steps_per_epoch
        average = Average(inputs.net, config.ema_decay, state.average if goes_on else {}, steps)
    return Training(inputs, optimizer, phase.first, average, anchor)


def run_epoch(training: Training, state: State) -> tuple[Row, State]:
    inputs, pictures, net = training.inputs, training.inputs.pictures, training.inputs.net
    config, epoch = inputs.config, state.epoch + 1
    began = time.perf_counter()
    train_epoch(training, epoch)
    trained = time.perf_counter() - began
    penalty = float(training.penalty().detach())
    with training.average.in_place() if training.average is not None else nullcontext():
        labels = pictures.labels[pictures.val]
        val_logits = inputs.evaluation_logits(pictures.val)
        val = score(val_logits, labels)
        train_logits = inputs.evaluation_logits(pictures.sample)
        train = score(train_logits, pictures.labels[pictures.sample])
        after = f"after epoch {epoch} at learning rate {config.learning_rate:.3g}"
        if not all(map(math.isfinite, (train[1], val[1], penalty))):
            raise Diverged(f"The loss is not finite {after}.")
        check_logits(torch.cat([val_logits, train_logits]), after)
        metric = validation_metric(config.metric, val_logits.numpy(), labels)
        best_epoch, best_score, best = state.best_epoch, state.best_score, state.best
        if config.trains_on == "train+val" or signed(config.metric, metric) > best_score:
            best_epoch, best_score, best = epoch, signed(config.metric, metric), trained_state(net)
    row = Row(
        epoch=epoch,
        train_accuracy=train[0],
        train_cross_entropy=train[1],
        penalty=penalty,
        val_accuracy=val[0],
        val_cross_entropy=val[1],
        learning_rate=config.learning_rate * training.factor(epoch),
        seconds=time.perf_counter() - began,
        images_per_second=config.steps_per_epoch * config.batch_size / trained,
        val_metric=metric,
    )
    average = {} if training.average is None else training.average.copy()
    optimizer = optimizer_tensors(training.optimizer)
    return row, State(epoch, best_epoch, best_score, trained_state(net), optimizer, best, average)


def check_logits(logits: torch.Tensor, when: str) -> None:
    """Refuse logits that cannot be kept.

    Raises:
        Diverged: one is not finite, or too large for the half precision that they are stored in.
    """
    largest = float(logits.abs().max()) if len(logits) else 0.0
    if not largest <= _LARGEST_LOGIT:
        raise Diverged(f"A logit of {largest:.3g} {when} is beyond the {_LARGEST_LOGIT:,.0f} that can be stored.")


def _is_out_of_patience(config: TrialConfig, phase: Phase, state: State) -> bool:
    """A phase always begins; then the best epoch, or the phase's first, must not lie too long ago."""
    return config.patience is not None and state.epoch - max(state.best_epoch, phase.first) >= config.patience


def predict(
    config: TrialConfig, place: Place, trained: dict[str, torch.Tensor], items: NDArray[np.int64]
) -> NDArray[np.float32]:
    """The logits (n, classes) of a trained net on `items`, in evaluation views.

    Raises:
        Diverged: they cannot be kept.
    """
    set_arithmetic(config)
    pictures = open_pictures(config, place)
    inputs = prepare(config, place, pictures)
    load_trained(inputs.net, trained)
    if config.neighbours is not None:
        return _votes(config, inputs, items)
    logits = inputs.evaluation_logits(items)
    check_logits(logits, "on images that were not trained on")
    return logits.numpy()


def _votes(config: TrialConfig, inputs: Inputs, items: NDArray[np.int64]) -> NDArray[np.float32]:
    """Logits whose softmax is the share of votes, smoothed by one vote for all classes together."""
    assert config.neighbours is not None
    pictures, train = inputs.pictures, inputs.pictures.train
    gallery, queries = (inputs.evaluation_features(each).numpy() for each in (train, items))
    nearest = Search(gallery, config.distance).nearest(queries, min(config.neighbours, len(train)))
    labels = pictures.labels[train][nearest]
    counts = np.stack([(labels == label).sum(axis=1) for label in range(pictures.classes)], axis=1)
    # Of equally frequent classes that of the nearest counts, as far as it is rounded to half precision.
    counts = counts + 1 / pictures.classes
    counts[np.arange(len(items)), vote(labels)] *= 1 + _LEAD
    return np.log(counts).astype(np.float32)


def prepare(config: TrialConfig, place: Place, pictures: Pictures, team: Team = ALONE) -> Inputs:
    """The net behind its cut, and what comes to it."""
    frozen = _frozen(config, place)
    stored = frozenset(depth for backbone, depth in place.stored if backbone == config.backbone)
    store = open_store(place.cache, place.cache_gib) if stored else None
    activations = Activations(config, frozen, pictures, store, stored)
    net = _net(config, frozen, activations.cut, pictures.classes)
    unfreeze(net, frozen.body, config.unfreeze)
    drop_paths = [] if config.drop_path is None else key_drop_paths(net.backbone, config.drop_path)
    team.synchronise_norms(net)
    return Inputs(config, net.to(config.device), activations, pictures, drop_paths, team)


def whole_net(config: TrialConfig, place: Place, classes: int) -> Net:
    """The net from the images on, as it is before training."""
    return _net(config, _frozen(config, place), INPUT, classes)


def _net(config: TrialConfig, frozen: Frozen, cut: str, classes: int) -> Net:
    outputs = 1 if config.loss == "binary_cross_entropy" else classes
    return Net(replace(frozen.body, module=frozen.rest(cut)), outputs)


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
    drop_paths = config.drop_path is not None
    return _frozen_backbone(config.backbone, path, seed, config.size, config.device, config.channels_last, drop_paths)


# One on the device while its trials run, one to go back to.
@lru_cache(maxsize=2)
def _frozen_backbone(
    backbone: str, weights: Path | None, seed: int, size: int, device: str, channels_last: bool, drop_paths: bool
) -> Frozen:
    body = build(backbone, weights, seed, drop_paths)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    module = body.module.to(device=device, memory_format=layout).requires_grad_(False)
    return Frozen(replace(body, module=module), size)


def set_arithmetic(config: TrialConfig) -> None:
    """What PyTorch keeps per process: threads, and on a GPU kernels that repeat and a float32 that is one."""
    torch.set_num_threads(config.threads)
    if config.device == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS repeats only with this
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.allow_tf32 = False
