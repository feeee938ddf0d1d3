"""The gates applied to one backbone, on a few training images and through the code that trials run."""

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
from trainables.trial import build_inputs, set_arithmetic

MOST_IMAGES = 512
# Of these the original head is shown so many, and so many are overfit.
_SHOWN, _LEARNED = 64, 8
_PERMUTATIONS = 5
# Learning rates of Adam, of which one must work; steps between two looks, and looks. A head's steps cost little.
_HEAD_RATES, _HEAD_STEPS = (1e-2, 1e-1, 1e-3), 25
_DEEP_RATES, _DEEP_STEPS = (1e-3, 1e-2, 1e-4), 5
_LOOKS = 8
_PATIENCE = 60  # seconds; what has not learned by then is too slow to be judged


@dataclass(frozen=True)
class Findings:
    """`probe_accuracy` is a floor for what is fine-tuned; None where no image could be held out."""

    gates: tuple[Gate, ...]
    probe_accuracy: float | None
    chance: float
    pictures: int


def examine(config: TrialConfig, depths: Sequence[str], place: Place, manifest: pd.DataFrame) -> Findings:
    """Every gate on one backbone, those of what is frozen for each of the study's unfreeze `depths`.

    Of `config` the net, its start, the size and the arithmetic count; augmentation and regularizer are left out. The
    manifest need not be written yet.
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
    )
    data = open_trial_data_of(manifest, config, place)
    sample = sample_of(data.pool, manifest, config.study_seed)
    # Of activations only the whole pool's are those that trials look for.
    shared = place if np.array_equal(sample, data.pool) else replace(place, stored=frozenset())
    place = replace(place, stored=frozenset())
    labels = data.labels[sample]
    learned = _mixed(sample, labels, _LEARNED)
    few = replace(data, pool=np.sort(learned), train=np.sort(learned))
    small = replace(plain, block_size=_LEARNED)

    whole = build_inputs(replace(small, unfreeze="all"), place, data)
    body = whole.activations.frozen.body
    probed, accuracy = _probed(build_inputs(replace(plain, unfreeze="head"), shared, data), sample)
    found = [
        _input_contract(whole, sample),
        _zero_shot(whole, sample, imagenet_classes(_names(manifest)), place),
        *probed,
        gates.first_loss(score(whole.evaluation_logits(few.train), data.labels[few.train])[1], data.classes),
        _overfit(replace(small, unfreeze=_deepest(config, depths, body)), place, few),
        *(_frozen(replace(small, unfreeze=depth, weight_decay=0.1), place, few) for depth in depths if depth != "all"),
    ]
    return Findings(tuple(found), accuracy, gates.majority_share(labels), len(sample))


def sample_of(pool: Items, manifest: pd.DataFrame, seed: int) -> Items:
    """At most `MOST_IMAGES` of the pool, sorted, and one of each duplicate group."""
    shuffled = order(key("preflight", seed), pool)
    groups = manifest.set_index("item")["group"].reindex(shuffled)
    return np.sort(shuffled[~groups.duplicated().to_numpy()][:MOST_IMAGES])


def _input_contract(inputs: Inputs, sample: Items) -> Gate:
    views = _views(inputs, _mixed(sample, inputs.data.labels[sample], _SHOWN))
    weights = weights_config(inputs.activations.frozen.body.module)
    return gates.input_contract(weights, views.numpy(), inputs.activations.to_device(views))


def _zero_shot(inputs: Inputs, sample: Items, known: Mapping[int, frozenset[int]], place: Place) -> Gate:
    config, labels = inputs.config, inputs.data.labels
    weights = weights_config(inputs.activations.frozen.body.module)
    items = sample[np.isin(labels[sample], list(known))]
    items = _mixed(items, labels[items], _SHOWN)
    own = weights["input_size"][-1]
    why = {
        "the net starts from random numbers": config.weights == "none",
        "the weights' head is not that of ImageNet's 1,000 classes": weights["num_classes"] != gates.IMAGENET,
        "too few classes bear the names of ImageNet's": not known,
        f"{config.size} px are less than half of the weights' {own} px": 2 * config.size < own,
        f"{len(items)} images of ImageNet's classes are too few": len(items) < gates.FEWEST_ZERO_SHOT,
    }
    reason = next((text for text, holds in why.items() if holds), None)
    if reason is not None:
        return gates.not_applicable("zero-shot identity", reason)
    net = original(config.backbone, find(config.backbone, place.weights)).eval().to(config.device)
    with torch.no_grad():
        logits = net(inputs.activations.to_device(_views(inputs, items)))
    return gates.zero_shot(logits, [known[label] for label in labels[items]])


def _probed(inputs: Inputs, sample: Items) -> tuple[list[Gate], float | None]:
    """The probe and its permutation, and the accuracy of the former."""
    config, labels = inputs.config, inputs.data.labels[sample]
    features = _pooled(inputs, sample)
    if not np.isfinite(features).all():
        return [gates.infinite_features(config.weights == "pretrained")], None
    if len(sample) < 3 or len(np.unique(labels)) < 2:
        return [gates.not_applicable("linear probe", f"{len(sample)} images are too few to hold one out")], None
    hats = hat_matrices(features)
    predicted = leave_one_out(hats, labels)
    by_chance = []
    for number in range(_PERMUTATIONS):
        shuffled = labels[order(key("preflight labels", config.study_seed, number), np.arange(len(labels)))]
        by_chance.append(float((leave_one_out(hats, shuffled) == shuffled).mean()))
    gate = gates.linear_probe(predicted, labels, config.weights == "pretrained")
    return [gate, gates.permuted_labels(by_chance, labels)], float((predicted == labels).mean())


def _overfit(config: TrialConfig, place: Place, few: TrialData) -> Gate:
    head = config.unfreeze == "head"
    config = replace(config, epochs=_LOOKS, steps_per_epoch=_HEAD_STEPS if head else _DEEP_STEPS)
    right, deadline = {}, time.monotonic() + _PATIENCE
    with TemporaryDirectory() as cache:  # what is frozen is computed once, not in every step
        place = replace(place, cache=Path(cache), stored=frozenset({(config.backbone, config.unfreeze)}))
        for rate in _HEAD_RATES if head else _DEEP_RATES:
            right[rate] = _fitted_at_best(replace(config, learning_rate=rate), place, few, deadline)
            if right[rate] == len(few.train):
                break
            if time.monotonic() > deadline:
                return gates.not_applicable("overfit", f"{_PATIENCE} s are too few for so slow a net")
    return gates.overfit(right, len(few.train), config.epochs * config.steps_per_epoch)


def _fitted_at_best(config: TrialConfig, place: Place, few: TrialData, deadline: float) -> int:
    """How many of the images are classified right, in training mode, when it goes best."""
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
    """A copy of what must not change: the backbone that trials share, and what is frozen behind the cut."""
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
    """What trains when images are overfit: of random numbers everything has to."""
    if config.weights == "none":
        return "all"
    return max(depths, key=lambda depth: len(trainable_names(body, depth)))


def _views(inputs: Inputs, items: Items) -> torch.Tensor:
    """The evaluation views (n, s, s, 3) of `items`, of a net that trains from the images on."""
    [views] = inputs.activations.batches(evaluation_draws(items), len(items), items)
    return views


def _pooled(inputs: Inputs, items: Items) -> NDArray[np.float32]:
    batches = inputs.activations.batches(evaluation_draws(items), inputs.config.block_size, items)
    return torch.cat([rows.float().cpu() for rows in batches]).numpy()


def _names(manifest: pd.DataFrame) -> dict[int, set[str]]:
    """By label its name, and what its images' paths name of ImageNet's synsets, as those of Stanford Dogs do."""
    names: dict[int, set[str]] = {}
    for label, name, path in zip(manifest["label"], manifest["label_name"], manifest["path"], strict=True):
        names.setdefault(int(label), set()).update((name, *SYNSET.findall(path)))
    return names


def _mixed(items: Items, labels: NDArray[np.int64], count: int) -> Items:
    """The first `count` of `items`, taken from all classes in turn."""
    turn = [int(np.count_nonzero(labels[:i] == labels[i])) for i in range(len(labels))]
    return items[np.argsort(turn, kind="stable")][:count]
