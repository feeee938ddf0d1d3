"""What a study is expected to cost, for --dry-run and --hours: counted work at this machine's rates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from study.design.plan import AUDITED_PER_LEVEL, search_plan
from study.design.settings import effective
from study.estimates.cost_inputs import CostInputs
from study.estimates.sharing import (
    computing_seconds,
    depth_of,
    parts_of,
    reading_seconds,
    view_epochs,
    views_of,
    worth_storing,
)
from study.schedule.next_trials import CONFIRMED_BEST, has_control
from study.schedule.rungs import KEPT_PER_LEVEL, rung_epochs
from study.spec import Study
from trainables.errors import InputError
from trainables.nets.work import work_of

_START_SECONDS = 15.0  # Ray, imports and the first batch
_TRIAL_SECONDS = 0.1  # starting, reporting, checkpoints
_HEAD_STEP_SECONDS = 4e-4  # a head's step, whatever the batch: dispatch, optimizer
# The settings of later phases depend on the search's winner: they are priced as if these of its trials had won.
_WINNERS_TRIED = 4


@dataclass(frozen=True)
class PhaseCost:
    phase: str
    trials: int
    epochs: int  # trial-epochs
    seconds: float  # of one worker


Setting = Mapping[str, Any]


def estimate(study: Study, inputs: CostInputs, seed: int) -> list[PhaseCost]:
    """The expected cost of each phase."""
    plan = search_plan(study, study.budget.trials, seed)
    stored = worth_storing(study, inputs, seed)
    if study.goal == "published":
        runs = [(effective(study, planned.factors), planned.seed) for planned in plan]
        lengths = [(values, values.get("epochs", study.budget.epochs), seed) for values, seed in runs]
        seconds, epochs = _seconds(lengths, inputs, stored), sum(length for _, length, _ in lengths)
        looks = seconds / max(1, epochs) * len(plan) / 2
        return [PhaseCost("published", len(plan), epochs, seconds), PhaseCost("test", len(plan), 0, looks)]
    audited = sum(planned.audit for planned in plan)
    stopped = _asha_epochs(study, len(plan) - audited) / max(1, len(plan) - audited)
    epochs = [study.budget.epochs if planned.audit else stopped for planned in plan]
    search = [(effective(study, planned.factors), length, 0) for planned, length in zip(plan, epochs, strict=True)]
    costs = [PhaseCost("search", len(plan), round(sum(epochs)), _seconds(search, inputs, stored))]
    refined = [repeat for repeat in study.budget.refined_on for _ in range(study.budget.refine)]
    repeats = {"refine": refined, "confirm": list(range(1, study.budget.repeats + 1))}
    for phase, runs in repeats.items():
        compared = [_compared(study, planned.factors) for planned in plan[:_WINNERS_TRIED]]
        if study.goal == "best":
            best = [effective(study, planned.factors) for planned in plan[:CONFIRMED_BEST]]
            compared = [best if phase == "confirm" else []]
        trials = len(compared[0]) * len(runs)
        priced = [
            _seconds([(setting, study.budget.epochs, run) for run in runs for setting in settings], inputs, stored)
            for settings in compared
        ]
        costs.append(PhaseCost(phase, trials, trials * study.budget.epochs, sum(priced) / len(priced)))
    confirmed = costs[-1]
    if has_control(study) and confirmed.trials:
        share = study.budget.seeds / confirmed.trials
        costs.append(
            PhaseCost("control", study.budget.seeds, round(share * confirmed.epochs), share * confirmed.seconds)
        )
    shown = [cost for cost in costs if cost.phase in ("confirm", "control")]
    looks = sum(cost.seconds for cost in shown) / max(1, study.budget.epochs) / 2
    return [*costs, PhaseCost("test", sum(cost.trials for cost in shown), 0, looks)]


def wall_seconds(costs: list[PhaseCost], workers: int) -> float:
    return _START_SECONDS + sum(cost.seconds for cost in costs) / workers


def fit(study: Study, inputs: CostInputs, hours: float, seed: int) -> Study:
    """The study with trials, epochs and seeds that fit the hours: the confirmation is reserved first.

    Epochs are given up before seeds, and both before the study has fewer than the audited trials.
    """
    levels = max((len(factor.levels) for factor in study.factors.values()), default=1)
    fewest = AUDITED_PER_LEVEL * levels
    budget = study.budget
    # Every declared phase and its warm-up must fit.
    least = min(study.fewest_epochs(), budget.epochs)
    shorter = [max(least, round(budget.epochs * share)) for share in (1, 0.75, 0.5, 0.35, 0.25, 0.15)]
    fewer = {budget.folds} if budget.folds else {min(budget.seeds, 3), 1}
    for seeds in sorted({budget.seeds} | fewer, reverse=True):
        for epochs in sorted(set(shorter), reverse=True):
            for share in (4, 2, 1.5, 1, 0.75, 0.5, 0.35, 0.25, 0):
                trials = max(fewest, round(budget.trials * share))
                fitted = replace(study, budget=replace(budget, trials=trials, epochs=epochs, seeds=seeds))
                if wall_seconds(estimate(fitted, inputs, seed), inputs.workers) <= hours * 3600:
                    return fitted
    smallest = replace(study, budget=replace(budget, trials=fewest, epochs=min(shorter), seeds=min(fewer)))
    needed = wall_seconds(estimate(smallest, inputs, seed), inputs.workers) / 3600
    raise InputError(f"--hours {hours:g} is too little: the smallest form of this study needs about {needed:.2g}.")


def _compared(study: Study, winner: Setting) -> list[Setting]:
    """The winner's setting and those with one level changed."""
    whole = {name: factor.levels[0] for name, factor in study.factors.items()} | winner
    changed = [whole | {name: level} for name in study.factors for level in study.levels(name) if level != whole[name]]
    return [effective(study, setting) for setting in (whole, *changed)]


def _seconds(
    runs: Sequence[tuple[Setting, float, int]], inputs: CostInputs, stored: frozenset[tuple[str, str]]
) -> float:
    """Of one worker, for trials given as (setting, epochs, repeat): what is frozen and stored is paid for once."""
    total = 0.0
    shared: dict[Any, list[float]] = {}
    parts = [(part, count, repeat) for values, epochs, repeat in runs for part, count in parts_of(values, epochs)]
    total += _TRIAL_SECONDS * len(runs)
    for values, epochs, repeat in parts:
        backbone, depth = values["backbone"], depth_of(values)
        total += epochs * _training_seconds(values, inputs)
        training, evaluating = (computing_seconds(values, inputs, evaluation) for evaluation in (False, True))
        if (backbone, depth) not in stored:
            total += epochs * (inputs.train * training + 2 * inputs.val * evaluating)
            continue
        total += epochs * (inputs.train + 2 * inputs.val) * reading_seconds(values, inputs)
        once = inputs.train * view_epochs(values, round(epochs)) * training + 2 * inputs.val * evaluating
        shared.setdefault((backbone, views_of(values), repeat), []).append(once)
    # One pass to the deepest cut fills the shallower ones.
    return total + sum(max(passes) for passes in shared.values())


def _training_seconds(values: Setting, inputs: CostInputs) -> float:
    """An epoch of what trains: steps forward and back, and both folds forward."""
    work = work_of(values["backbone"], depth_of(values), values["size"]).trained
    steps = inputs.train / values["batch_size"]
    rates = inputs.rates[values["backbone"]]
    return steps * _HEAD_STEP_SECONDS + work * (inputs.train / rates.trained + 2 * inputs.val / rates.forward)


def _asha_epochs(study: Study, trials: int) -> int:
    """Trial-epochs of trials that ASHA may stop, which keeps the best and the leaders of every level."""
    kept = KEPT_PER_LEVEL * max((len(factor.levels) for factor in study.factors.values()), default=1)
    total, alive, before = 0, trials, 0
    for epoch in [*rung_epochs(study.budget), study.budget.epochs]:
        total += alive * (epoch - before)
        alive, before = min(alive, max(alive // study.budget.reduction, kept)), epoch
    return total
