"""What a study computes once and stores for all of its trials: what is frozen, and views where all trains."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from study.design.plan import search_plan
from study.design.settings import effective
from study.estimates.cost_inputs import CostInputs
from study.spec import Study
from trainables import unfreeze_depth
from trainables.augmentation.policies import POLICIES
from trainables.nets.work import work_of

# Gathering rows from mapped files, and on a GPU sending them: bytes a second, and seconds for each image.
_READ, _LOOK_UP = 1e9, 3e-6
_FLOAT32 = 4  # bytes, of every number of an evaluation


@dataclass(frozen=True)
class Candidate:
    """The activations that trials of one backbone at one unfreeze depth have in common."""

    backbone: str
    depth: str
    trials: int  # of the search that need the same views of the same images
    bytes: float  # for all views of the search
    computing: float  # seconds per image
    reading: float
    kept: bool = False

    @property
    def saved(self) -> float:
        """Seconds per image over all trials; the first of them computes, stores and reads."""
        return (self.trials - 1) * self.computing - (self.trials + 1) * self.reading


def candidates(study: Study, inputs: CostInputs, seed: int) -> list[Candidate]:
    """What could be stored, and `kept`: what saves time, the most per byte first, as far as the store has room."""
    settings = [effective(study, planned.factors) for planned in search_plan(study, study.budget.trials, seed)]
    plan = [part for values in settings for part, _ in parts_of(values, study.budget.epochs)]
    groups = Counter((values["backbone"], depth_of(values), views_of(values)) for values in plan)
    found: dict[tuple[str, str], Candidate] = {}
    for (backbone, depth, views), trials in groups.items():
        values = next(v for v in plan if (v["backbone"], depth_of(v), views_of(v)) == (backbone, depth, views))
        size = row_bytes(values, inputs) * inputs.train * view_epochs(values, study.budget.epochs)
        size += row_bytes(values, inputs, evaluation=True) * 2 * inputs.val
        before = found.get((backbone, depth))
        found[backbone, depth] = Candidate(
            backbone,
            depth,
            trials=max(trials, before.trials if before else 0),
            bytes=size + (before.bytes if before else 0.0),
            computing=computing_seconds(values, inputs),
            reading=reading_seconds(values, inputs),
        )
    left, chosen = inputs.store_bytes, []
    for each in sorted(found.values(), key=lambda c: (-c.saved / c.bytes, c.backbone, c.depth)):
        kept = each.saved > 0 and each.bytes <= left
        left -= each.bytes if kept else 0
        chosen.append(replace(each, kept=kept))
    return chosen


def worth_storing(study: Study, inputs: CostInputs, seed: int) -> frozenset[tuple[str, str]]:
    """The (backbone, unfreeze depth) of what is kept."""
    return frozenset((each.backbone, each.depth) for each in candidates(study, inputs, seed) if each.kept)


def computing_seconds(values: Mapping[str, Any], inputs: CostInputs, evaluation: bool = False) -> float:
    """From a decoded image to the activation at the cut, of the view that is trained on or evaluated."""
    rates = inputs.rates[values["backbone"]]
    rate = rates.forward if evaluation or _is_plain(values) else rates.frozen
    return rates.view + work_of(values["backbone"], depth_of(values), values["size"]).frozen / rate


def reading_seconds(values: Mapping[str, Any], inputs: CostInputs) -> float:
    return _LOOK_UP + row_bytes(values, inputs) / _READ


def row_bytes(values: Mapping[str, Any], inputs: CostInputs, evaluation: bool = False) -> float:
    """Of one image at the cut; views are bytes themselves."""
    work = work_of(values["backbone"], depth_of(values), values["size"])
    if not work.frozen:
        return work.values
    return work.values * (_FLOAT32 if evaluation or _is_plain(values) else inputs.bytes_per_value)


def _is_plain(values: Mapping[str, Any]) -> bool:
    """Whether training sees the evaluation view."""
    return POLICIES[values.get("augmentation", "none")] is None


def views_of(values: Mapping[str, Any]) -> tuple[Any, ...]:
    """Equal for settings whose trials see the same views."""
    return values.get("augmentation", "none"), values.get("views"), values["size"], values.get("region", "picture")


def view_epochs(values: Mapping[str, Any], epochs: int) -> int:
    """How many different views of each image a trial sees."""
    if _is_plain(values):
        return 1
    return min(epochs, values.get("views") or epochs)


def depth_of(values: Mapping[str, Any]) -> str:
    """Behind which nothing is shared: the unfreeze depth, or all where views are mixed before the net sees them."""
    return values.get("unfreeze", unfreeze_depth.DEFAULT) if values.get("mixing", "none") == "none" else "all"


def parts_of(values: Mapping[str, Any], epochs: float) -> list[tuple[Mapping[str, Any], float]]:
    """The phases of a trial, each with its epochs: the head alone at first, where the setting says so."""
    frozen = min(values.get("frozen_epochs", 0), epochs)
    parts = [(dict(values) | {"unfreeze": "head"}, frozen), (values, epochs - frozen)]
    return [(part, count) for part, count in parts if count]
