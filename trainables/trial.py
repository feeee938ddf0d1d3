"""One trial, top to bottom: a pure function of its config that yields a row and a state after every epoch.

`run_trial` opens the data, builds the net, trains it, and yields the rows.
"""

import math
import os
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TypedDict

import numpy as np
import torch
from numpy.typing import NDArray

from trainables.config import TrialConfig
from trainables.data.trial_data import TrialData, open_trial_data
from trainables.frozen.activations import Activations
from trainables.frozen.nearest_neighbors import neighbor_logits
from trainables.frozen.store import open_store
from trainables.learning.checkpoints import NOTHING_TRAINED, State
from trainables.learning.inputs import Inputs
from trainables.learning.losses import score
from trainables.learning.optimizers import build_optimizer, load_optimizer_tensors, optimizer_tensors
from trainables.learning.team import ALONE, Team
from trainables.learning.training import Training, train_epoch
from trainables.metrics import signed, validation_metric
from trainables.nets.averaging import Average
from trainables.nets.divided import build_divided
from trainables.nets.models import load_trained, trained_state
from trainables.place import Place

# Predictions are stored as float16, where a larger logit would become infinite.
_LARGEST_LOGIT = 65504.0


class Row(TypedDict):
    """The measurements after an epoch. Cross-entropies exclude the penalty; accuracies are counts over n."""

    epoch: int
    train_accuracy: float
    train_cross_entropy: float
    penalty: float
    val_accuracy: float
    val_cross_entropy: float
    learning_rate: float
    seconds: float
    images_per_second: float
    val_metric: float  # selects the best epoch


class Diverged(ArithmeticError):
    """The loss is not finite, or a logit is too large to store. The config is at fault."""


def run_trial(
    config: TrialConfig, place: Place, start: State | None = None, team: Team = ALONE
) -> Iterator[tuple[Row, State]]:
    """Train, and yield a row and a state after every epoch.

    Args:
        config: The trial. Equal configs give equal rows, bit for bit, on one machine.
        place: The paths of this node.
        start: The state of an earlier epoch of the same config, to resume from.
        team: The data-parallel processes of the trial. All of them run this and yield the same rows and states.

    Raises:
        Diverged: The loss is not finite, or a logit is too large to store.
        InputError: The backbone, its weights or the images cannot be used.
    """
    set_arithmetic(config)
    data = open_trial_data(config, place)
    state = start or NOTHING_TRAINED
    for phase in phases_of(config):
        if state.epoch >= phase.last:
            continue
        training = begin_phase(phase, place, data, state, team)
        while state.epoch < phase.last and not _is_out_of_patience(config, phase, state):
            row, state = run_epoch(training, state)
            yield row, state


@dataclass(frozen=True)
class Phase:
    """The epochs after `first`, up to and including `last`, under `config`: its schedule counts the phase's epochs."""

    first: int
    last: int
    config: TrialConfig


def phases_of(config: TrialConfig) -> list[Phase]:
    """Return the phases: with `frozen_epochs`, the head trains alone first; then as deep as `unfreeze` says."""
    frozen = config.frozen_epochs
    if not frozen:
        return [Phase(0, config.epochs, config)]
    rate = config.frozen_learning_rate or config.learning_rate
    whole = replace(config, frozen_epochs=0, frozen_learning_rate=None)
    head = replace(whole, unfreeze="head", epochs=frozen, learning_rate=rate)
    return [Phase(0, frozen, head), Phase(frozen, config.epochs, replace(whole, epochs=config.epochs - frozen))]


def begin_phase(phase: Phase, place: Place, data: TrialData, state: State, team: Team = ALONE) -> Training:
    """Restore net, optimizer and average from `state`; a new phase takes over only the weights of the net."""
    config = phase.config
    inputs = build_inputs(config, place, data, team)
    anchor = trained_state(inputs.net) if config.l2_sp is not None else {}
    optimizer = build_optimizer(config, inputs.net)
    load_trained(inputs.net, state.net)
    average, resumes = None, state.epoch > phase.first
    if resumes:
        load_optimizer_tensors(optimizer, state.optimizer)
    if config.ema_decay is not None:
        steps = (state.epoch - phase.first) * config.steps_per_epoch
        average = Average(inputs.net, config.ema_decay, state.average if resumes else {}, steps)
    return Training(inputs, optimizer, phase.first, average, anchor)


def run_epoch(training: Training, state: State) -> tuple[Row, State]:
    """Train for one epoch, evaluate, and return the row and the state after it.

    Raises:
        Diverged: The loss is not finite, or a logit is too large to store.
    """
    inputs, data, net = training.inputs, training.inputs.data, training.inputs.net
    config, epoch = inputs.config, state.epoch + 1
    began = time.perf_counter()
    train_epoch(training, epoch)
    penalty = float(training.penalty().detach())  # waits for a GPU
    trained = time.perf_counter() - began
    with training.average.in_place() if training.average is not None else nullcontext():
        labels = data.labels[data.val]
        val_logits = inputs.evaluation_logits(data.val)
        val = score(val_logits, labels)
        train_logits = inputs.evaluation_logits(data.sample)
        train = score(train_logits, data.labels[data.sample])
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
    """Check that logits can be stored.

    Raises:
        Diverged: A logit is not finite, or too large for half precision.
    """
    largest = float(logits.abs().max()) if len(logits) else 0.0
    if not largest <= _LARGEST_LOGIT:
        raise Diverged(f"A logit of {largest:.3g} {when} is beyond the {_LARGEST_LOGIT:,.0f} that can be stored.")


def _is_out_of_patience(config: TrialConfig, phase: Phase, state: State) -> bool:
    """Whether `patience` epochs have passed since the best epoch, or since the phase began."""
    return config.patience is not None and state.epoch - max(state.best_epoch, phase.first) >= config.patience


def predict(
    config: TrialConfig, place: Place, trained: dict[str, torch.Tensor], items: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return the logits (n, classes) of a trained net on the evaluation views of `items`, shape (n,).

    Raises:
        Diverged: A logit cannot be stored.
    """
    set_arithmetic(config)
    data = open_trial_data(config, place)
    inputs = build_inputs(config, place, data)
    load_trained(inputs.net, trained)
    if config.neighbours is not None:
        gallery, queries = (inputs.evaluation_features(fold).numpy() for fold in (data.train, items))
        labels = data.labels[data.train]
        return neighbor_logits(gallery, labels, queries, config.neighbours, config.distance, data.classes)
    logits = inputs.evaluation_logits(items)
    check_logits(logits, "on images that were not trained on")
    return logits.numpy()


def build_inputs(config: TrialConfig, place: Place, data: TrialData, team: Team = ALONE) -> Inputs:
    """Build the net of a trial and connect it to its data, through the store of activations if `place` says so.

    Raises:
        InputError: The backbone is unknown, has no weights here, or has fewer parts than `unfreeze` asks for.
    """
    divided = build_divided(config, place, data.classes)
    stored_depths = frozenset(depth for backbone, depth in place.stored if backbone == config.backbone)
    store = open_store(place.cache, place.cache_gib) if stored_depths else None
    activations = Activations(config, divided.frozen, divided.cut, data, store, stored_depths)
    team.synchronize_norms(divided.net)
    return Inputs(config, divided.net.to(config.device), activations, data, divided.drop_paths, team)


def set_arithmetic(config: TrialConfig) -> None:
    """Set PyTorch's process-wide state: threads, and on a GPU deterministic kernels and full float32 (no TF32)."""
    torch.set_num_threads(config.threads)
    if config.device == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with this
        torch.use_deterministic_algorithms(True, warn_only=True)
        # Otherwise deterministic mode fills every new tensor, which triples the kernels of a training step.
        torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.allow_tf32 = False
