"""Resolve a planned setting into the full config of a trial."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from study.declared import values_of
from study.design.plan import Planned, examples
from study.published import Published
from study.spec import Study
from trainables.config import TrialConfig
from trainables.errors import InputError
from trainables.nets.arithmetic import choose_precision


@dataclass(frozen=True)
class Base:
    """The part of a config that all trials share and no study file sets. It is fixed before the first trial."""

    manifest: str
    study_seed: int
    largest_train: int  # images in the largest training fold of repeat 0
    classes: int
    stored_side: int
    device: Literal["cpu", "cuda"]
    threads: int
    has_bfloat16: bool
    weights: str  # "pretrained", or "none" with --weights none
    weights_hashes: dict[str, str]
    metric: str = "val_accuracy"
    workers: int = 1  # of a trial
    validation_images: int = 0  # of repeat 0; 0 in a study of an earlier version
    test_images: int = 0


def resolve(study: Study, planned: Planned, base: Base) -> TrialConfig:
    """Return the full config of a trial: everything that its results depend on."""
    values = effective(study, planned.factors, base.weights)
    for name, value in planned.nuisances.items():
        values[study.nuisances[name].sets or name] = value
    # A retrained winner runs for as long as its seeds took, but long enough for every phase and its warm-up.
    least = values.get("frozen_epochs", 0) + values.get("warmup_epochs", 0) + 1
    epochs = max(planned.epochs, least) if planned.epochs else values.pop("epochs", study.budget.epochs)
    backbone = values["backbone"]
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
        steps_per_epoch=-(-base.largest_train // values["batch_size"]),
        stored_side=base.stored_side,
        device=base.device,
        workers=base.workers,
        threads=base.threads,
        precision=choose_precision(base.device, base.has_bfloat16, backbone, frozen=False),
        frozen_precision=choose_precision(base.device, base.has_bfloat16, backbone, frozen=True),
        **values,
    )


def planned_configs(study: Study, base: Base, *names: str) -> list[TrialConfig]:
    """Return a config for every combination of these hyperparameters that any trial may have; see `examples`."""
    return [resolve(study, planned, base) for planned in examples(study, *names)]


def shipped_configs(study: Study, base: Base) -> list[TrialConfig]:
    """Return a config for every kind of net that may win and be exported."""
    return planned_configs(study, base, "backbone", "weights", "size", "loss", "regularizer")


def effective(study: Study, levels: Mapping[str, Any], start: str = "pretrained") -> dict[str, Any]:
    """Return the hyperparameters of a trial with these levels, or of a published configuration; see `values_of`."""
    return values_of(study.factors, {"split": study.split_levels()[0]} | dict(study.fixed), levels, start)


def from_scratch(study: Study) -> Study:
    """Return the study with --weights none: every net starts from random numbers, whatever the study file says.

    Raises:
        InputError: nothing is left to compare, or other parts of the study depend on a removed level of `weights`.
    """
    factors = {name: factor for name, factor in study.factors.items() if name != "weights"}
    if any("weights" in part.when for part in (*factors.values(), *study.nuisances.values())):
        raise InputError(
            "--weights none removes levels of `weights` that other parts of this study depend on: leave it out."
        )
    if study.factors and not factors:
        raise InputError(
            "--weights none leaves nothing to compare, because `weights` is the study's only factor: leave it out."
        )
    fixed = {**study.fixed, "weights": "none"}
    published = study.published
    if study.goal == "published":
        published = [_untrained(study, configuration) for configuration in published]
    return replace(study, factors=factors, fixed=fixed, published=published)


def _untrained(study: Study, published: Published) -> Published:
    config = {name: value for name, value in published.config.items() if name != "weights"}
    pretrained = effective(study, published.config)["weights"] == "pretrained"
    added = ("weights none instead of pretrained, by --weights",) if pretrained else ()
    return replace(published, config=config, differs=(*published.differs, *added))
