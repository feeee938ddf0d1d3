"""From a planned setting to the full config of a trial."""

from dataclasses import dataclass
from typing import Any

from search_spaces.distributions import holds
from study.design.plan import Planned, search_plan
from study.spec import Study
from trainables.config import FROM_SCRATCH, STRENGTHS, TrialConfig
from trainables.nets.arithmetic import choose_precision

BATCH_SIZE = 32  # of a study that does not say


@dataclass(frozen=True)
class Base:
    """What all trials of a study share and no study file says; decided once, before the first trial."""

    manifest: str
    study_seed: int
    largest_train: int  # pictures in the largest training fold of repeat 0
    classes: int
    stored_side: int
    device: str
    threads: int
    has_bfloat16: bool
    weights: str  # "pretrained", or "none" where --weights none starts everything from random numbers
    weights_hashes: dict[str, str]
    metric: str = "val_accuracy"
    workers: int = 1  # of a trial


def resolve(study: Study, planned: Planned, base: Base) -> TrialConfig:
    """Everything this trial depends on, each under its own name."""
    values = effective(study, planned.factors)
    for name, value in planned.nuisances.items():
        values[study.nuisances[name].sets or name] = value
    for name in STRENGTHS:
        if values.get("regularizer", "none") != name:
            values.pop(name, None)
    if values.get("mixing", "none") == "none":
        values.pop("mixing_alpha", None)
    epochs = planned.epochs or min(values.pop("epochs", study.budget.epochs), study.budget.epochs)
    values["frozen_epochs"] = min(values.get("frozen_epochs", 0), epochs - 1)
    values["warmup_epochs"] = min(values.get("warmup_epochs", 0), epochs - 1)
    backbone = values["backbone"]
    values["weights"] = weights_of(values, base.weights)
    return TrialConfig(
        manifest=base.manifest,
        split_levels=",".join(study.split_levels()),
        official_split=study.uses_official_split(),
        study_seed=base.study_seed,
        seed=planned.seed,
        trains_on="train+val" if planned.phase == "retrain" else "train",
        folds=study.budget.folds,
        test_folds=study.budget.test_folds,
        weights_hash=base.weights_hashes[backbone] if values["weights"] == "pretrained" else "",
        epochs=epochs,
        metric=base.metric,
        steps_per_epoch=-(-base.largest_train // values.setdefault("batch_size", BATCH_SIZE)),
        stored_side=base.stored_side,
        device=base.device,
        workers=base.workers,
        threads=base.threads,
        precision=choose_precision(base.device, base.has_bfloat16, backbone, frozen=False),
        frozen_precision=choose_precision(base.device, base.has_bfloat16, backbone, frozen=True),
        **values,
    )


def planned_configs(study: Study, base: Base) -> list[TrialConfig]:
    """Of the search, drawn so large that every level is in it."""
    most = max((len(factor.levels) for factor in study.factors.values()), default=1)
    plan = search_plan(study, max(min(study.budget.trials, 1000), most), base.study_seed)
    return [resolve(study, planned, base) for planned in plan]


def effective(study: Study, factors: dict[str, Any]) -> dict[str, Any]:
    """The fixed hyperparameters and the factors, with what conditional factors take where they do not exist."""
    values = {"split": study.split_levels()[0]} | dict(study.fixed)
    if study.goal == "published":
        return values | factors
    chosen: dict[str, Any] = {}
    for name, factor in study.factors.items():
        if holds(factor.when, chosen):
            chosen[name] = factors[name]
        else:
            values[name] = factor.otherwise
    return values | chosen


def weights_of(values: dict[str, Any], default: str) -> str:
    """Whether a trial starts from pretrained weights: what it says itself, unless none are to be used or exist."""
    if default == "none" or values["backbone"] in FROM_SCRATCH:
        return "none"
    return values.get("weights", default)
