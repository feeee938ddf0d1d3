"""The gates before a sweep: each tests for one fault that would spoil all trials of a backbone.

A gate fails only on clear evidence: its limits on counts are binomial quantiles, and a gate with too few images passes.
(The faults come from published studies, and from issues of Keras and timm about input scales.)
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import bdtr

IMAGENET = 1000  # classes of the original head
TOP = 5  # predictions among which the true class counts as a hit
FEWEST_ZERO_SHOT = 20  # images
# Levels of the binomial quantiles. The probe's level is lenient, because hard data is not a fault.
_BEYOND_CHANCE = 0.999
_PROBE_BEYOND_CHANCE = 0.95
# The probe is judged on classes with more than _FEWEST_OTHERS images, and only if there are enough of them: a probe
# that is _WORKING_SHARE of the way from chance to perfect must fail with a probability of at most _ALMOST_NEVER.
_WORKING_SHARE, _ALMOST_NEVER = 0.2, 0.01
_FEWEST_OTHERS = 4
_LOSS_TOLERANCE = 1e-4
_INPUT_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Gate:
    """A result. `said` is a sentence without its period: the measurement, after the rule if the gate failed."""

    name: str
    passed: bool
    said: str


def input_contract(weights: Mapping[str, Any], views: NDArray[np.uint8], normalized: torch.Tensor) -> Gate:
    """G1: the net's input `normalized` (n, 3, s, s) is `views` (n, s, s, 3), normalized as the `weights` expect."""
    name = "input contract"
    missing = [part for part in ("mean", "std", "interpolation", "input_size") if not weights.get(part)]
    if missing:
        return Gate(name, False, f"the weights' configuration must have {' and '.join(missing)}, but does not")
    mean, std = np.asarray(weights["mean"], dtype=np.float64), np.asarray(weights["std"], dtype=np.float64)
    if not ((mean >= 0) & (mean <= 1) & (std > 0)).all():
        return Gate(name, False, f"the weights' mean must be for pixels from 0 to 1, but is {_numbers(mean)}")
    if int(views.max()) - int(views.min()) <= 1:
        return Gate(
            name, False, f"images must have contrast, but all pixels of {len(views)} views are {views.max()} of 255"
        )
    x = normalized.float().cpu().permute(0, 2, 3, 1).numpy()
    low, high = ((0 - mean) / std).min(), ((1 - mean) / std).max()
    reach = f"from {x.min():.2f} to {x.max():.2f}"
    slack = _INPUT_TOLERANCE * (high - low)
    if x.min() < low - slack or x.max() > high + slack:
        return Gate(name, False, f"normalized views must be within {low:.2f} and {high:.2f}, but range {reach}")
    away = float(np.abs(x - (views / 255 - mean) / std).max())
    if not away <= slack:
        rule = f"views must be normalized with the weights' mean {_numbers(mean)} and std {_numbers(std)}"
        return Gate(name, False, f"{rule}, but are off by {away:.2g}")
    size, own = views.shape[1], weights["input_size"][-1]
    return Gate(name, True, f"views of {size} px (weights: {own} px) range {reach}, within {low:.2f} and {high:.2f}")


def zero_shot(logits: torch.Tensor, wanted: Sequence[frozenset[int]]) -> Gate:
    """G2: the original head's `logits` (n, 1000) rank the true class high, far more often than chance."""
    name, n = "zero-shot identity", len(wanted)
    first = logits.topk(TOP, dim=1).indices.tolist()
    hits = sum(not wanted[i].isdisjoint(first[i]) for i in range(n))
    chance = TOP * sum(map(len, wanted)) / n / IMAGENET
    measured = f"the original head has the true class in its top {TOP} for {hits} of {n} images"
    if hits <= _most_by_chance(_BEYOND_CHANCE, n, chance):
        rule = "pretrained weights must recognize images of ImageNet classes"
        return Gate(name, False, f"{rule}, but {measured} (chance {chance:.1%}): the weights or their input are wrong")
    return Gate(name, True, f"{measured} (chance {chance:.1%})")


def linear_probe(predicted: NDArray[np.int64], labels: NDArray[np.int64], pretrained: bool) -> Gate:
    """G3: a held-out linear probe on frozen features beats guessing the most frequent class."""
    name = "linear probe"
    accuracy, chance = float((predicted == labels).mean()), majority_share(labels)
    measured = f"{accuracy:.1%} accuracy on {len(labels)} held-out images, most frequent class {chance:.1%}"
    if not pretrained:
        return Gate(name, True, f"{measured}; not required of a net with random weights")
    judged = np.bincount(labels)[labels] > _FEWEST_OTHERS
    n, hits = int(judged.sum()), int((predicted == labels)[judged].sum())
    guessing = majority_share(labels[judged]) if n else 1.0
    bound = _most_by_chance(_PROBE_BEYOND_CHANCE, n, guessing)
    if hits > bound:
        return Gate(name, True, measured)
    if bdtr(bound, n, guessing + _WORKING_SHARE * (1 - guessing)) > _ALMOST_NEVER:
        return Gate(name, True, f"{measured}; too few images to judge")
    rule = "a linear probe on pretrained features must beat guessing the most frequent class"
    return Gate(name, False, f"{rule}, but has {measured}: images and labels may not match")


def infinite_features(pretrained: bool) -> Gate:
    """G3: the features are not finite. This may happen with random weights, but is a fault with pretrained weights."""
    rule = "the features of pretrained weights must be finite, but are not"
    return Gate("linear probe", not pretrained, rule if pretrained else "not applicable: features are not finite")


def permuted_labels(accuracies: Sequence[float], labels: NDArray[np.int64]) -> Gate:
    """G6: with shuffled `labels`, the `accuracies` of the same probe are at chance; if higher, labels leak."""
    chance, mean, n = majority_share(labels), float(np.mean(accuracies)), len(labels)
    most = _most_by_chance(_BEYOND_CHANCE, n, chance) / n
    measured = f"{mean:.1%} accuracy with shuffled labels, most frequent class {chance:.1%} of {n} images"
    if mean > most:
        rule = f"the accuracy with shuffled labels must be at chance, at most {most:.1%}"
        return Gate("label permutation", False, f"{rule}, but the probe has {mean:.1%}: labels leak into the features")
    return Gate("label permutation", True, measured)


def first_loss(cross_entropy: float, classes: int) -> Gate:
    """G4: the first loss is ln K, because the head starts at zero, so that all classes are equally likely."""
    expected = math.log(classes)
    if abs(cross_entropy - expected) <= _LOSS_TOLERANCE:
        return Gate("first loss", True, f"{cross_entropy:.4f} is ln {classes}")
    rule = f"the loss before training must be ln {classes} = {expected:.4f}"
    return Gate("first loss", False, f"{rule}, but is {cross_entropy:.4f}: the head does not start at zero")


def overfit(correct: Mapping[float, int], images: int, steps: int) -> Gate:
    """G4: one batch can be overfit; `correct` is the number of images classified correctly, by learning rate."""
    rate, best = max(correct.items(), key=lambda pair: pair[1])
    if best == images:
        return Gate("overfit", True, f"{images} images were overfit at learning rate {rate:g}")
    tried = ", ".join(f"{count} at learning rate {rate:g}" for rate, count in correct.items())
    rule = f"{images} images must be overfit within {steps} steps"
    return Gate("overfit", False, f"{rule}, but only some were: {tried}; training does not work")


def frozen(before: Mapping[str, torch.Tensor], after: Mapping[str, torch.Tensor], depth: str) -> Gate:
    """G5: parameters and buffers that are frozen at unfreeze depth `depth` do not change in an optimizer step."""
    moved = [name for name, tensor in before.items() if not torch.equal(tensor, after[name])]
    if moved:
        rule = f"frozen tensors must not change while {depth!r} trains"
        return Gate("frozen", False, f"{rule}, but {len(moved)} of {len(before)} did, the first is {moved[0]}")
    return Gate("frozen", True, f"{len(before)} tensors are unchanged after a step of {depth!r}")


def memory(share: float, batch_size: int) -> Gate:
    """G7: a step of a whole batch at the deepest unfreeze depth takes `share` of the GPU's memory, which is there."""
    if math.isinf(share):
        return Gate("memory", False, f"a step of {batch_size} images must fit on the GPU, but its memory ran out")
    return Gate("memory", True, f"a step of {batch_size} images takes {share:.0%} of the GPU's memory")


def not_applicable(name: str, why: str) -> Gate:
    """Return a gate that passes because it cannot be measured here."""
    return Gate(name, True, f"not applicable: {why}")


def majority_share(labels: NDArray[np.int64]) -> float:
    """Return the accuracy of guessing the most frequent class."""
    return float(np.bincount(labels).max() / len(labels))


def _most_by_chance(level: float, n: int, chance: float) -> int:
    """Return the quantile of a binomial count at `level`."""
    return int(np.searchsorted(bdtr(np.arange(n + 1), n, chance), level))


def _numbers(values: NDArray[np.float64]) -> str:
    return f"({', '.join(f'{value:.4g}' for value in values)})"
