"""Run the preflight gates on one backbone: a few training images go through the same code as in trials."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from trainables.config import TrialConfig
from trainables.data.trial_data import TrialData, open_trial_data_of
from trainables.fields import STRENGTHS
from trainables.frozen.activations import Items, evaluation_draws
from trainables.keyed import key, order
from trainables.learning.checkpoints import NOTHING_TRAINED
from trainables.learning.inputs import Inputs
from trainables.learning.losses import score
from trainables.learning.optimizers import build_optimizer
from trainables.learning.training import Training, train_epoch
from trainables.nets.models import Body, original, trainable_names, weights_config
from trainables.nets.weights import find
from trainables.place import Place
from trainables.screening import gates
from trainables.screening.gates import Gate
from trainables.screening.imagenet import SYNSET, imagenet_classes
from trainables.screening.probe import hat_matrices, leave_one_out
from trainables.trial import begin_phase, build_inputs, phases_of, set_arithmetic

MOST_IMAGES = 512
# Images for the zero-shot gate, and images to overfit.
_SHOWN, _LEARNED = 64, 8
_PERMUTATIONS = 5
# Learning rates of Adam, of which at least one must work, and steps per epoch. Steps of a head are cheap.
_HEAD_RATES, _HEAD_STEPS = (1e-2, 1e-1, 1e-3), 25
_DEEP_RATES, _DEEP_STEPS = (1e-3, 1e-2, 1e-4), 5
_LOOKS = 8
_PATIENCE = 60  # seconds, after which a net is too slow to judge


@dataclass(frozen=True)
class Findings:
    """The results of the gates."""

    gates: tuple[Gate, ...]
    probe_accuracy: float | None  # a floor for fine-tuning; None if no image could be held out
    chance: float
    images: int
    gpu_share: float | None = None  # of a GPU's memory that a trial needs; None on a CPU


def examine(config: TrialConfig, depths: Sequence[str], place: Place, manifest: pd.DataFrame) -> Findings:
    """Run every gate on one backbone, and the frozen gate once per unfreeze depth in `depths`.

    Only the net, its weights, the size and the arithmetic of `config` matter; augmentation and regularization are
    switched off. The manifest need not be written to disk.

    Raises:
        InputError: The backbone has no weights here, or fewer parts than `depths` ask for.
        Unavailable: An image has changed or vanished since the scan.
    """
    set_arithmetic(config)
    plain = replace(
        config,
        augmentation="none",
        views=None,
        regularizer="none",
        **dict.fromkeys(STRENGTHS),
        mixing="none",
        mixing_alpha=None,
        label_smoothing=0.0,
        sampling="uniform",
        clip_norm=None,
        ema_decay=None,
        warmup_epochs=0,
        frozen_epochs=0,
        weight_decay=0.0,
        layer_decay=1.0,
        optimizer="adam",
        schedule="constant",
        epochs=1,
        steps_per_epoch=1,
        batch_size=_LEARNED,
        micro_batch=None,
    )
    data = open_trial_data_of(manifest, config, place)
    sample = sample_of(data.pool, manifest, config.study_seed)
    # Trials look up activations of the whole pool, so only those are worth storing.
    shared = place if np.array_equal(sample, data.pool) else replace(place, stored=frozenset())
    place = replace(place, stored=frozenset())
    labels = data.labels[sample]
    one_batch = np.sort(_alternating(sample, labels, _LEARNED))
    few = replace(data, pool=one_batch, train=one_batch)
    small = replace(plain, block_size=_LEARNED)

    whole = build_inputs(replace(small, unfreeze="all"), place, data)
    body = whole.activations.frozen.body
    probed, accuracy = _probed(build_inputs(replace(plain, unfreeze="head"), shared, data), sample)
    results = [
        _input_contract(whole, sample),
        _zero_shot(whole, sample, imagenet_classes(_names(manifest)), place),
        *probed,
        gates.first_loss(score(whole.evaluation_logits(few.train), data.labels[few.train])[1], data.classes),
        _overfit(replace(small, unfreeze=_deepest(config, depths, body)), place, few),
        *(_frozen(replace(small, unfreeze=depth, weight_decay=0.1), place, few) for depth in depths if depth != "all"),
    ]
    if config.device == "cuda":
        needed = memory_needed(replace(config, unfreeze=_deepest(config, depths, body)), place, data)
        results.append(gates.memory(needed, config.batch_size))
    else:
        needed = None
    return Findings(tuple(results), accuracy, gates.majority_share(labels), len(sample), needed)


def memory_needed(config: TrialConfig, place: Place, data: TrialData) -> float:
    """Return the share of the GPU's memory that a real step and an evaluation take; infinite if it runs out."""
    phase = phases_of(replace(config, steps_per_epoch=1))[-1]
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    try:
        training = begin_phase(phase, place, data, NOTHING_TRAINED)
        train_epoch(training, phase.first + 1)
        training.inputs.evaluation_logits(data.val[: config.block_size])
    except torch.OutOfMemoryError:
        return math.inf
    return torch.cuda.max_memory_reserved() / torch.cuda.get_device_properties().total_memory


def sample_of(pool: Items, manifest: pd.DataFrame, seed: int) -> Items:
    """Return at most `MOST_IMAGES` items of the pool, sorted, one per duplicate group."""
    shuffled = order(key("preflight", seed), pool)
    groups = manifest.set_index("item")["group"].reindex(shuffled)
    return np.sort(shuffled[~groups.duplicated().to_numpy()][:MOST_IMAGES])


def _input_contract(inputs: Inputs, sample: Items) -> Gate:
    views = _views(inputs, _alternating(sample, inputs.data.labels[sample], _SHOWN))
    weights = weights_config(inputs.activations.frozen.body.module)
    return gates.input_contract(weights, views.numpy(), inputs.activations.to_device(views))


def _zero_shot(inputs: Inputs, sample: Items, known: Mapping[int, frozenset[int]], place: Place) -> Gate:
    config, labels = inputs.config, inputs.data.labels
    weights = weights_config(inputs.activations.frozen.body.module)
    items = sample[np.isin(labels[sample], list(known))]
    items = _alternating(items, labels[items], _SHOWN)
    own = weights["input_size"][-1]
    why = {
        "the net starts from random weights": config.weights == "none",
        "the weights have no head for ImageNet's 1,000 classes": weights["num_classes"] != gates.IMAGENET,
        "too few classes have names of ImageNet classes": not known,
        f"{config.size} px is less than half of the {own} px of the weights": 2 * config.size < own,
        f"{len(items)} images of ImageNet classes are too few": len(items) < gates.FEWEST_ZERO_SHOT,
    }
    reason = next((text for text, holds in why.items() if holds), None)
    if reason is not None:
        return gates.not_applicable("zero-shot identity", reason)
    net = original(config.backbone, find(config.backbone, place.weights)).eval().to(config.device)
    with torch.no_grad():
        logits = net(inputs.activations.to_device(_views(inputs, items)))
    return gates.zero_shot(logits, [known[label] for label in labels[items]])


def _probed(inputs: Inputs, sample: Items) -> tuple[list[Gate], float | None]:
    """Return the gates of the linear probe and of the label permutation, and the accuracy of the probe."""
    config, labels = inputs.config, inputs.data.labels[sample]
    features = _pooled(inputs, sample)
    if not np.isfinite(features).all():
        return [gates.infinite_features(config.weights == "pretrained")], None
    if len(sample) < 3 or len(np.unique(labels)) < 2:
        return [gates.not_applicable("linear probe", f"{len(sample)} images are too few to hold one out")], None
    hats = hat_matrices(features)
    predicted = leave_one_out(hats, labels)
    shuffled_accuracies = []
    for number in range(_PERMUTATIONS):
        shuffled = labels[order(key("preflight labels", config.study_seed, number), np.arange(len(labels)))]
        shuffled_accuracies.append(float((leave_one_out(hats, shuffled) == shuffled).mean()))
    gate = gates.linear_probe(predicted, labels, config.weights == "pretrained")
    return [gate, gates.permuted_labels(shuffled_accuracies, labels)], float((predicted == labels).mean())


def _overfit(config: TrialConfig, place: Place, few: TrialData) -> Gate:
    head = config.unfreeze == "head"
    config = replace(config, epochs=_LOOKS, steps_per_epoch=_HEAD_STEPS if head else _DEEP_STEPS)
    correct, deadline = {}, time.monotonic() + _PATIENCE
    with TemporaryDirectory() as cache:  # the frozen part is computed once instead of in every step
        place = replace(place, cache=Path(cache), stored=frozenset({(config.backbone, config.unfreeze)}))
        for rate in _HEAD_RATES if head else _DEEP_RATES:
            correct[rate] = _fitted_at_best(replace(config, learning_rate=rate), place, few, deadline)
            if correct[rate] == len(few.train):
                break
            if time.monotonic() > deadline:
                return gates.not_applicable("overfit", f"the net is too slow to judge within {_PATIENCE} s")
    return gates.overfit(correct, len(few.train), config.epochs * config.steps_per_epoch)


def _fitted_at_best(config: TrialConfig, place: Place, few: TrialData, deadline: float) -> int:
    """Return how many images are classified correctly at the best step, in training mode."""
    inputs = build_inputs(config, place, few)
    training = Training(inputs, build_optimizer(config, inputs.net))
    items, most = np.resize(few.train, config.batch_size), 0
    target = torch.from_numpy(few.labels[few.train])
    for epoch in range(1, config.epochs + 1):
        train_epoch(training, epoch)
        with torch.no_grad():
            [features] = inputs.training_features(items, np.zeros_like(items), epoch)
            predicted = inputs.net.logits(features).argmax(dim=1).cpu()[: len(target)]
        most = max(most, int((predicted == target).sum()))
        if most == len(target) or time.monotonic() > deadline:
            break
    return most


def _frozen(config: TrialConfig, place: Place, few: TrialData) -> Gate:
    inputs = build_inputs(config, place, few)
    before = _declared_frozen(inputs)
    train_epoch(Training(inputs, build_optimizer(config, inputs.net)), 1)
    return gates.frozen(before, _declared_frozen(inputs), config.unfreeze)


def _declared_frozen(inputs: Inputs) -> dict[str, torch.Tensor]:
    """Return a copy of all tensors that must not change: the shared backbone, and the frozen ones behind the cut."""
    body = inputs.activations.frozen.body
    trains = trainable_names(body, inputs.config.unfreeze)
    parameters = {name for name, _ in body.module.named_parameters()}
    owners = {name.rpartition(".")[0] for name in trains}
    behind = {
        name: tensor
        for name, tensor in inputs.net.backbone.state_dict().items()
        if (name not in trains if name in parameters else name.rpartition(".")[0] not in owners)
    }
    shared = {f"{name} (shared)": tensor for name, tensor in body.module.state_dict().items()}
    return {name: tensor.clone() for name, tensor in (behind | shared).items()}


def _deepest(config: TrialConfig, depths: Sequence[str], body: Body) -> str:
    """Return the depth that must be able to overfit; with random weights, everything has to train."""
    if config.weights == "none":
        return "all"
    return max(depths, key=lambda depth: len(trainable_names(body, depth)))


def _views(inputs: Inputs, items: Items) -> torch.Tensor:
    """Return the evaluation views (n, s, s, 3) of `items`, for a net without a frozen part."""
    [views] = inputs.activations.batches(evaluation_draws(items), len(items), items)
    return views


def _pooled(inputs: Inputs, items: Items) -> NDArray[np.float32]:
    batches = inputs.activations.batches(evaluation_draws(items), inputs.config.block_size, items)
    return torch.cat([rows.float().cpu() for rows in batches]).numpy()


def _names(manifest: pd.DataFrame) -> dict[int, set[str]]:
    """Return the names of every label: its class name, and any ImageNet synsets in its image paths."""
    names: dict[int, set[str]] = {}
    for label, name, path in zip(manifest["label"], manifest["label_name"], manifest["path"], strict=True):
        names.setdefault(int(label), set()).update((name, *SYNSET.findall(path)))
    return names


def _alternating(items: Items, labels: NDArray[np.int64], count: int) -> Items:
    """Return `count` of `items`, taking one from each class in turn."""
    turn = [int(np.count_nonzero(labels[:i] == labels[i])) for i in range(len(labels))]
    return items[np.argsort(turn, kind="stable")][:count]
