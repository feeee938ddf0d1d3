"""Estimate the cost of a study for --dry-run and --hours, from its work and the rates of this machine."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from study.budget import Budget
from study.design.plan import Levels, example_trial, search_plan
from study.design.settings import resolve
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
from study.results import MIN_SEEDS, SEEDS_FOR_A_CLAIM, Phase
from study.schedule.next_trials import CONFIRMED_BEST, has_control
from study.schedule.rungs import kept_per_level, rung_epochs
from study.spec import Study
from trainables.config import TrialConfig
from trainables.errors import InputError
from trainables.nets.work import work_of

_START_SECONDS = 15.0  # Ray, imports and the first batch
END_SECONDS = 15.0  # exporting the winner, examples and the report
_TRIAL_SECONDS = 0.1  # starting, reporting, checkpoints
_HEAD_STEP_SECONDS = 4e-4  # dispatch and optimizer of one training step of a head, at any batch size
# Later phases depend on the winner of the search. Their cost is the mean over this many possible winners.
_WINNERS_TRIED = 4
# What --hours may change: the epochs, the refinement with the fewest search trials per level, and the search trials.
_EPOCH_SHARES = (1, 0.75, 0.5, 0.35, 0.25, 0.15)
_SMALLER = ((1.0, 4), (0.5, 3), (0.25, 2))
_LEAST_REFINE = 2  # values of each nuisance, without which a level counts as not tuned
_MORE_TRIALS = 4


@dataclass(frozen=True)
class PhaseCost:
    """The expected cost of one phase."""

    phase: Phase | Literal["test"]
    trials: int
    epochs: int  # summed over trials
    seconds: float  # on one worker


# The seconds that computing stored activations has taken, by backbone, views and repeat.
Shared = dict[tuple[str, tuple[Any, ...], int], float]


class Run(NamedTuple):
    """One trial whose cost is estimated."""

    config: TrialConfig
    epochs: float  # expected number, because ASHA may stop it
    repeat: int


def estimate(study: Study, inputs: CostInputs, winner: Levels | None = None) -> list[PhaseCost]:
    """Return the expected cost of each phase.

    Args:
        winner: the levels that the search has found; None before it has.
    """
    plan = search_plan(study, study.budget.trials, inputs.base.study_seed)
    stored = worth_storing(study, inputs)
    if study.goal == "published":
        configs = [resolve(study, planned, inputs.base) for planned in plan]
        runs = [Run(config, config.epochs, config.seed) for config in configs]
        seconds, epochs = _seconds(runs, inputs, stored), sum(config.epochs for config in configs)
        testing = seconds / max(1, epochs) * len(plan) / 2
        return [PhaseCost("published", len(plan), epochs, seconds), PhaseCost("test", len(plan), 0, testing)]
    audited = sum(planned.audit for planned in plan)
    stopped = _asha_epochs(study, len(plan) - audited) / max(1, len(plan) - audited)
    search = [
        Run(resolve(study, planned, inputs.base), study.budget.epochs if planned.audit else stopped, 0)
        for planned in plan
    ]
    costs = [
        PhaseCost("search", len(plan), round(sum(run.epochs for run in search)), _seconds(search, inputs, stored)),
        _later_cost(study, inputs, stored, "refine", winner),
        confirm := _later_cost(study, inputs, stored, "confirm", winner),
    ]
    if has_control(study) and confirm.trials:
        share = study.budget.seeds / confirm.trials
        costs.append(PhaseCost("control", study.budget.seeds, round(share * confirm.epochs), share * confirm.seconds))
    tested = [cost for cost in costs if cost.phase in ("confirm", "control")]
    testing = sum(cost.seconds for cost in tested) / max(1, study.budget.epochs) / 2
    return [*costs, PhaseCost("test", sum(cost.trials for cost in tested), 0, testing)]


def _later_cost(
    study: Study,
    inputs: CostInputs,
    stored: frozenset[tuple[str, str]],
    phase: Literal["refine", "confirm"],
    winner: Levels | None,
) -> PhaseCost:
    """Return the cost of a phase whose settings depend on the winner of the search."""
    budget = study.budget
    refined = [repeat for repeat in budget.refined_on for _ in range(budget.refine)]
    repeats = refined if phase == "refine" else list(range(1, budget.repeats + 1))
    plan = search_plan(study, budget.trials, inputs.base.study_seed)
    if study.goal == "best":
        best = [resolve(study, planned, inputs.base) for planned in plan[:CONFIRMED_BEST]]
        possible = [best if phase == "confirm" else []]
    else:
        winners = [winner] if winner else [planned.factors for planned in plan[:_WINNERS_TRIED]]
        possible = [_compared(study, levels, inputs) for levels in winners]
    trials = len(possible[0]) * len(repeats)
    seconds = [
        _seconds([Run(config, budget.epochs, repeat) for repeat in repeats for config in configs], inputs, stored)
        for configs in possible
    ]
    return PhaseCost(phase, trials, trials * budget.epochs, sum(seconds) / len(seconds))


def wall_seconds(costs: list[PhaseCost], workers: int) -> float:
    """Return the expected duration of a study with this many trials at once."""
    return _START_SECONDS + sum(cost.seconds for cost in costs) / workers + END_SECONDS


def planned_seconds(runs: Sequence[Run], study: Study, inputs: CostInputs) -> float:
    """Return the seconds on one worker that the estimate expects of these runs."""
    return _seconds(runs, inputs, worth_storing(study, inputs))


def fit(study: Study, inputs: CostInputs, hours: float, taken: float = 0.0, keeps_refine: bool = False) -> Study:
    """Return the study with the trials, epochs, refinement trials and seeds that fit into the hours.

    There are 5 seeds as long as possible, because nothing is claimed below that. Then more than one epoch is kept,
    then the refinement, then the epochs. The search gets the time that is left, up to four times its declared trials.

    Args:
        taken: hours that have passed already.
        keeps_refine: whether the refinement stays as it is, because the user has set it.

    Raises:
        InputError: not even the smallest version of the study fits.
    """
    seconds = (hours - taken) * 3600
    smallest = study
    for budget in _fewest_trials(study, keeps_refine):
        smallest = replace(study, budget=budget)
        if _wall(smallest, inputs) <= seconds:
            most = max(budget.trials, _MORE_TRIALS * study.budget.trials)
            counts = range(budget.trials, most + 1)
            fitting = bisect_right(counts, seconds, key=lambda trials: _wall(_with_trials(smallest, trials), inputs))
            return _with_trials(smallest, counts[fitting - 1])
    raise InputError(
        f"--hours {hours:g} is too little: the smallest version of this study, with one confirmation of every level, "
        f"needs about {_wall(smallest, inputs) / 3600 + taken:.2g}."
    )


def _fewest_trials(study: Study, keeps_refine: bool) -> list[Budget]:
    """Return smaller and smaller budgets, each with as few search trials as it may have."""
    budget = study.budget
    levels = max((len(factor.levels) for factor in study.factors.values()), default=1)
    least = min(study.fewest_epochs(), budget.epochs)  # every declared training phase and its warm-up must fit
    epochs = sorted({max(least, round(budget.epochs * share)) for share in _EPOCH_SHARES}, reverse=True)
    possible = {budget.seeds, budget.folds} if budget.folds else {budget.seeds, SEEDS_FOR_A_CLAIM, MIN_SEEDS, 1}
    steps = []
    for seeds in sorted(possible, reverse=True):
        for trained in ([count for count in epochs if count > 1], [count for count in epochs if count == 1]):
            for share, per_level in _SMALLER[:1] if keeps_refine else _SMALLER:
                refine = max(min(budget.refine, _LEAST_REFINE), round(budget.refine * share))
                steps += [
                    replace(
                        budget, trials=per_level * levels, epochs=count, refine=refine, seeds=seeds, most_seeds=seeds
                    )
                    for count in trained
                ]
    return list(dict.fromkeys(steps))


def _with_trials(study: Study, trials: int) -> Study:
    return replace(study, budget=replace(study.budget, trials=trials))


def _wall(study: Study, inputs: CostInputs) -> float:
    return wall_seconds(estimate(study, inputs), inputs.workers)


def _compared(study: Study, winner: Levels, inputs: CostInputs) -> list[TrialConfig]:
    """Return the config of a winner, and those with one of its levels replaced."""
    whole = {name: factor.levels[0] for name, factor in study.factors.items()} | dict(winner)
    changed = [whole | {name: level} for name in study.factors for level in study.levels(name) if level != whole[name]]
    return [resolve(study, example_trial(study, levels), inputs.base) for levels in (whole, *changed)]


def _seconds(runs: Sequence[Run], inputs: CostInputs, stored: frozenset[tuple[str, str]]) -> float:
    """Return the seconds on one worker."""
    shared: Shared = {}
    return sum(added_seconds(run, inputs, stored, shared) for run in runs)


def added_seconds(run: Run, inputs: CostInputs, stored: frozenset[tuple[str, str]], shared: Shared) -> float:
    """Return the seconds on one worker that a run adds to earlier ones.

    Args:
        shared: what the earlier runs stored. The run adds the activations and views that it computes.
    """
    total = _TRIAL_SECONDS
    for config, epochs in parts_of(run.config, run.epochs):
        depth = depth_of(config)
        total += epochs * _training_seconds(config, inputs)
        training, evaluating = (computing_seconds(config, inputs, evaluation) for evaluation in (False, True))
        if (config.backbone, depth) not in stored:
            total += epochs * (inputs.train * training + 2 * inputs.val * evaluating)
            continue
        total += epochs * (inputs.train + 2 * inputs.val) * reading_seconds(config, inputs)
        once = inputs.train * view_epochs(config, round(epochs)) * training + 2 * inputs.val * evaluating
        # One pass to the deepest cut fills the shallower ones.
        images = config.backbone, views_of(config), run.repeat
        before = shared.get(images, 0.0)
        shared[images] = max(before, once)
        total += shared[images] - before
    return total


def _training_seconds(config: TrialConfig, inputs: CostInputs) -> float:
    """Return the seconds per epoch in trained layers: the training steps, and the evaluation of two folds."""
    work = work_of(config.backbone, depth_of(config), config.size).trained
    steps = inputs.train / config.batch_size
    rates = inputs.rates[config.backbone]
    return steps * _HEAD_STEP_SECONDS + work * (inputs.train / rates.trained + 2 * inputs.val / rates.forward)


def _asha_epochs(study: Study, trials: int) -> int:
    """Return the expected epochs, summed over trials, if ASHA keeps the best trials and the best of every level.

    A level's best is known only at the end: of n trials in random order, about ln(n) were the best when they arrived.
    """
    leaders = kept_per_level(study) * max((len(factor.levels) for factor in study.factors.values()), default=1)
    total, alive, before = 0.0, float(trials), 0
    for epoch in [*rung_epochs(study.budget), study.budget.epochs]:
        total += alive * (epoch - before)
        led = leaders * (1 + math.log(max(alive, leaders) / leaders))
        alive, before = min(alive, max(alive / study.budget.reduction, led)), epoch
    return round(total)
