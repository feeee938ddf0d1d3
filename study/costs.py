"""What a study is expected to cost: a table of rates, for --dry-run and --hours. Estimates, labelled so."""

from dataclasses import dataclass, replace

from study.agenda import CONFIRMED_BEST
from study.plan import AUDITED_PER_LEVEL, search_plan
from study.rungs import KEPT_PER_LEVEL, rung_epochs
from study.settings import effective
from study.spec import Study
from trainables.errors import InputError

# Forward work of a picture of 224 px in units of 1e9 multiply-adds (timm's counts).
_WORK = {
    "mobilenetv2_100": 0.30,
    "efficientnet_b0": 0.39,
    "tf_efficientnet_lite0": 0.38,
    "tf_efficientnet_lite1": 0.60,
    "tf_efficientnet_lite2": 0.86,
    "resnet18": 1.8,
    "resnet34": 3.7,
    "resnet50": 4.1,
    "densenet121": 2.8,
    "small_cnn": 0.15,
}
_UNKNOWN_WORK = 2.0
# Pictures per second for 1e9 multiply-adds a picture: one core with AVX-512 (from the rates in
# trainables/arithmetic.py), and one recent GPU (A100 class, ResNet-50 at 2,500 pictures/s in training).
_RATE = {"cpu": 25.0, "cuda": 30_000.0}
# Backward costs twice the forward; a frozen part is passed forward only.
_TRAINING = {"head": 1.0, "all": 3.0}
_PARTLY = 1.6
# Whatever the net: decoding from the cache, cutting the view, dispatch.
_PICTURE_SECONDS = {"cpu": 8e-4, "cuda": 4e-4}
_START_SECONDS = 15.0  # Ray, imports and the first batch
_TRIAL_SECONDS = 0.5  # building a net, reading and writing


@dataclass(frozen=True)
class PhaseCost:
    phase: str
    trials: int
    epochs: int  # trial-epochs
    seconds: float  # of one worker


@dataclass(frozen=True)
class Scale:
    """What the data and the machine contribute."""

    train: int  # pictures a training epoch sees
    val: int
    device: str
    workers: int  # trials at once


def estimate(study: Study, scale: Scale, seed: int) -> list[PhaseCost]:
    """The expected cost of each phase; settings of later phases are priced as the search's average."""
    plan = search_plan(study, study.budget.trials, seed)
    seconds = [_epoch_seconds(study, planned.factors, scale) for planned in plan]
    average = sum(seconds) / len(seconds)
    levels = 1 + sum(len(factor.levels) - 1 for factor in study.factors.values())
    audited = sum(planned.audit for planned in plan)
    search = audited * study.budget.epochs + _asha_epochs(study, len(plan) - audited)
    best = study.goal == "best"
    refined = 0 if best else levels * study.budget.refine
    confirmed = (min(CONFIRMED_BEST, len(plan)) if best else levels) * study.budget.seeds
    counts = {
        "search": (len(plan), search),
        "refine": (refined, refined * study.budget.epochs),
        "confirm": (confirmed, confirmed * study.budget.epochs),
    }
    phases = [
        PhaseCost(phase, trials, epochs, epochs * average + trials * _TRIAL_SECONDS)
        for phase, (trials, epochs) in counts.items()
    ]
    return [*phases, PhaseCost("test", confirmed, 0, confirmed * (_TRIAL_SECONDS + average / 5))]


def wall_seconds(costs: list[PhaseCost], workers: int) -> float:
    return _START_SECONDS + sum(cost.seconds for cost in costs) / workers


def fit(study: Study, scale: Scale, hours: float, seed: int) -> Study:
    """The study with trials, epochs and seeds that fit the hours: the confirmation is reserved first.

    Epochs are given up before seeds, and both before the study has fewer than the audited trials.
    """
    levels = max((len(factor.levels) for factor in study.factors.values()), default=1)
    fewest = AUDITED_PER_LEVEL * levels
    budget = study.budget
    shorter = [round(budget.epochs * share) for share in (1, 0.75, 0.5, 0.35, 0.25, 0.15)]
    for seeds in sorted({budget.seeds, min(budget.seeds, 3), 1}, reverse=True):
        for epochs in sorted({max(1, epochs) for epochs in shorter}, reverse=True):
            for share in (4, 2, 1.5, 1, 0.75, 0.5, 0.35, 0.25, 0):
                trials = max(fewest, round(budget.trials * share))
                fitted = replace(study, budget=replace(budget, trials=trials, epochs=epochs, seeds=seeds))
                if wall_seconds(estimate(fitted, scale, seed), scale.workers) <= hours * 3600:
                    return fitted
    smallest = replace(study, budget=replace(budget, trials=fewest, epochs=max(1, min(shorter)), seeds=1))
    needed = wall_seconds(estimate(smallest, scale, seed), scale.workers) / 3600
    raise InputError(f"--hours {hours:g} is too little: the smallest form of this study needs about {needed:.2g}.")


def _epoch_seconds(study: Study, factors: dict, scale: Scale) -> float:
    values = effective(study, factors)
    work = _WORK.get(str(values["backbone"]).partition(".")[0], _UNKNOWN_WORK) * (values["size"] / 224) ** 2
    training = _TRAINING.get(str(values.get("unfreeze", "head")), _PARTLY)
    passes = scale.train * training + 2 * scale.val
    return passes * work / _RATE[scale.device] + (scale.train + 2 * scale.val) * _PICTURE_SECONDS[scale.device]


def _asha_epochs(study: Study, trials: int) -> int:
    """Trial-epochs of trials that ASHA may stop, which keeps the best and the leaders of every level."""
    kept = KEPT_PER_LEVEL * max((len(factor.levels) for factor in study.factors.values()), default=1)
    total, alive, before = 0, trials, 0
    for epoch in [*rung_epochs(study.budget), study.budget.epochs]:
        total += alive * (epoch - before)
        alive, before = min(alive, max(alive // study.budget.reduction, kept)), epoch
    return total
