"""Decide what is computed once and stored for all trials: activations of frozen layers, or views without them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from study.design.plan import search_plan
from study.design.settings import resolve
from study.estimates.cost_inputs import CostInputs
from study.spec import Study
from trainables.augmentation.policies import POLICIES
from trainables.config import TrialConfig
from trainables.nets.work import work_of
from trainables.trial import phases_of

# Reading rows of a memory-mapped file and copying them to a GPU: bytes per second, and seconds per image.
_READ, _LOOK_UP = 1e9, 3e-6
_FLOAT32 = 4  # bytes per value; evaluation uses float32


@dataclass(frozen=True)
class Shareable:
    """The activations that trials of one backbone at one unfreeze depth can share."""

    backbone: str
    depth: str
    trials: int  # search trials that need the same views of the same images
    bytes: float  # for all views of the search
    computing: float  # seconds per image
    reading: float  # seconds per image
    kept: bool = False  # whether they are stored

    @property
    def saved(self) -> float:
        """Seconds saved per image over all trials. The first trial computes, stores and reads."""
        return (self.trials - 1) * self.computing - (self.trials + 1) * self.reading


def shareables(study: Study, inputs: CostInputs) -> list[Shareable]:
    """Return what could be stored, most time saved per byte first. `kept` is set as long as there is room."""
    plan = search_plan(study, study.budget.trials, inputs.base.study_seed)
    configs = [resolve(study, planned, inputs.base) for planned in plan]
    parts = [part for config in configs for part, _ in parts_of(config, study.budget.epochs)]
    groups = Counter((part.backbone, depth_of(part), views_of(part)) for part in parts)
    example = {(part.backbone, depth_of(part), views_of(part)): part for part in reversed(parts)}
    merged: dict[tuple[str, str], Shareable] = {}
    for (backbone, depth, views), trials in groups.items():
        part = example[backbone, depth, views]
        size = row_bytes(part, inputs) * inputs.train * view_epochs(part, study.budget.epochs)
        size += row_bytes(part, inputs, evaluation=True) * 2 * inputs.val
        before = merged.get((backbone, depth))
        merged[backbone, depth] = Shareable(
            backbone,
            depth,
            trials=max(trials, before.trials if before else 0),
            bytes=size + (before.bytes if before else 0.0),
            computing=computing_seconds(part, inputs),
            reading=reading_seconds(part, inputs),
        )
    return _kept(list(merged.values()), inputs.store_bytes)


def _kept(candidates: Sequence[Shareable], room: float) -> list[Shareable]:
    """Decide which candidates are stored.

    Args:
        room: the capacity of the store in bytes.
    """
    decided = []
    for shareable in sorted(candidates, key=lambda each: (-each.saved / each.bytes, each.backbone, each.depth)):
        kept = shareable.saved > 0 and shareable.bytes <= room
        room -= shareable.bytes if kept else 0
        decided.append(replace(shareable, kept=kept))
    return decided


def worth_storing(study: Study, inputs: CostInputs) -> frozenset[tuple[str, str]]:
    """Return the (backbone, unfreeze depth) pairs whose activations are stored."""
    return frozenset((shareable.backbone, shareable.depth) for shareable in shareables(study, inputs) if shareable.kept)


def computing_seconds(config: TrialConfig, inputs: CostInputs, evaluation: bool = False) -> float:
    """Return the seconds from a decoded image to its activation at the cut, for a training or an evaluation view."""
    rates = inputs.rates[config.backbone]
    rate = rates.forward if evaluation or _is_plain(config) else rates.frozen
    return rates.view + work_of(config.backbone, depth_of(config), config.size).frozen / rate


def reading_seconds(config: TrialConfig, inputs: CostInputs) -> float:
    """Return the seconds to read the stored activation of one image."""
    return _LOOK_UP + row_bytes(config, inputs) / _READ


def row_bytes(config: TrialConfig, inputs: CostInputs, evaluation: bool = False) -> float:
    """Return the bytes of one image's activation at the cut. A stored view has one byte per value."""
    work = work_of(config.backbone, depth_of(config), config.size)
    if not work.frozen:
        return work.values
    return work.values * (_FLOAT32 if evaluation or _is_plain(config) else inputs.bytes_per_value)


def _is_plain(config: TrialConfig) -> bool:
    """Return whether training uses the evaluation view."""
    return POLICIES[config.augmentation] is None


def views_of(config: TrialConfig) -> tuple[Any, ...]:
    """Return a key that is equal for configs whose trials use the same views."""
    return config.augmentation, config.views, config.size, config.region


def view_epochs(config: TrialConfig, epochs: int) -> int:
    """Return how many different views of each image a trial uses in this number of epochs."""
    if _is_plain(config):
        return 1
    return min(epochs, config.views or epochs)


def depth_of(config: TrialConfig) -> str:
    """Return the depth beyond which nothing is shared: the unfreeze depth, or "all" if views are mixed first."""
    return config.unfreeze if config.mixing == "none" else "all"


def parts_of(config: TrialConfig, epochs: float) -> list[tuple[TrialConfig, float]]:
    """Return the training phases of a trial that runs for `epochs` epochs, each with its number of epochs."""
    parts = [(phase.config, min(phase.last, epochs) - phase.first) for phase in phases_of(config)]
    return [(part, count) for part, count in parts if count > 0]
