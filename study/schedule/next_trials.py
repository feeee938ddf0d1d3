"""The trials of each phase, as pure functions of earlier trials, so that a resumed study makes the same decisions."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from itertools import product
from typing import Any

from search_spaces.distributions import holds
from study.design.plan import Levels, Planned, arm, nuisance_points, nuisances_at
from study.persistence.ledger import Record
from study.spec import Study
from trainables.keyed import key
from trainables.metrics import means_over_seeds

# With goal="best", this many settings of the search are confirmed.
CONFIRMED_BEST = 3
# With fewer seeds a negative control cannot detect anything.
FEWEST_CONTROL_SEEDS = 3
# The seeds of the control begin after this one, far beyond any --seeds of a confirmation.
_BEFORE_CONTROL_SEEDS = 1000


def best_trial(records: Iterable[Record]) -> Record | None:
    """Return the completed trial with the best score on validation; among equals the first in the plan."""
    completed = [record for record in records if record.status == "completed"]
    return min(completed, key=lambda record: (-record.score, record.planned.trial), default=None)


def refine_trials(study: Study, search: list[Record], seed: int) -> list[Planned]:
    """Plan every level of every factor with the winner's other levels, at the same few nuisance points.

    Equal settings run once; with test folds, once per fold. With test folds the search has seen images that are tested
    later, but the winner's other levels are the same for all compared levels, so this favors none of them.
    """
    settings = level_settings(study, search)
    points = nuisance_points(study, study.budget.refine, key("refine nuisances", seed))
    trials: dict[str, Planned] = {}
    for repeat, levels, point in product(study.budget.refined_on, settings.values(), points):
        nuisances = nuisances_at(study, levels, point)
        name = f"refine-{arm(levels, nuisances)}" + (f"-{repeat}" if repeat else "")
        trials.setdefault(name, Planned(name, "refine", levels, nuisances, seed=repeat))
    return list(trials.values())


def confirm_trials(study: Study, search: list[Record], refined: list[Record]) -> list[Planned]:
    """Plan the best refined setting of every level, with several seeds and no stopping.

    A level is decided when all of its refined trials have ended; with test folds, those of the same repeat.
    """
    best_of_repeat: dict[int, dict[str, tuple[Planned, tuple[str, ...]]]]
    if study.goal == "best":
        best_of_repeat = {0: {record.planned.arm: (record.planned, ()) for record in _best_arms(search)}}
    else:
        settings, tuned = level_settings(study, search), defaultdict(list)
        for record in refined:
            tuned[record.planned.seed].append(record)
        best_of_repeat = {repeat: _best_of_levels(settings, tuned[repeat]) for repeat in study.budget.refined_on}
    return [
        Planned(
            trial=f"confirm-{name}-{repeat}",
            phase="confirm",
            factors=planned.factors,
            nuisances=planned.nuisances,
            seed=repeat,
            stands_for=stands_for,
        )
        for repeat in range(1, study.budget.repeats + 1)
        for name, (planned, stands_for) in best_of_repeat[repeat if repeat in best_of_repeat else 0].items()
    ]


def confirmed_winner(confirmed: list[Record]) -> Record | None:
    """Return the best seed of the setting that has the best mean over its seeds, on validation."""
    settings: dict[str, list[Record]] = {}
    for record in confirmed:
        settings.setdefault(setting_of(record), []).append(record)
    if not settings:
        return None
    names = sorted(settings)
    means = means_over_seeds([[(record.planned.seed, record.score) for record in settings[name]] for name in names])
    best = names[max(range(len(names)), key=means.__getitem__)]
    return max(settings[best], key=lambda record: (record.score, -record.planned.seed))


def setting_of(record: Record) -> str:
    """Return a name for what a confirmed trial repeats: its arm, or with test folds its levels."""
    planned = record.planned
    return arm(planned.factors, {}) if record.config.get("test_folds") else planned.arm


def has_control(study: Study) -> bool:
    """Return whether the study has a negative control. With test folds it would need another refinement per round."""
    return study.control and not study.budget.test_folds and study.budget.seeds >= FEWEST_CONTROL_SEEDS


def control_trials(study: Study, confirmed: list[Record]) -> list[Planned]:
    """Plan the winner once more, with as many seeds as in the confirmation, all of them new."""
    winner, seeds = confirmed_winner(confirmed), study.budget.seeds
    if winner is None or seeds < FEWEST_CONTROL_SEEDS:
        return []
    planned = winner.planned
    return [
        Planned(
            trial=f"control-{planned.arm}-{repeat}",
            phase="control",
            factors=planned.factors,
            nuisances=planned.nuisances,
            seed=_BEFORE_CONTROL_SEEDS + repeat,
        )
        for repeat in range(1, seeds + 1)
    ]


def retrain_trials(confirmed: list[Record]) -> list[Planned]:
    """Plan the winner once more, on training and validation data, for as many epochs as its seeds took on average."""
    winner = confirmed_winner(confirmed)
    if winner is None:
        return []
    planned = winner.planned
    best_epochs = [record.best["epoch"] for record in confirmed if record.planned.arm == planned.arm and record.best]
    epochs = max(1, round(sum(best_epochs) / len(best_epochs)))
    name = f"retrain-{planned.arm}-{planned.seed}"
    return [Planned(name, "retrain", planned.factors, planned.nuisances, seed=planned.seed, epochs=epochs)]


def level_settings(study: Study, search: list[Record]) -> dict[str, dict[str, Any]]:
    """Return the setting in which each "factor=level" is compared: the winner's, with this one level replaced.

    A factor that does not exist in the winner's setting is compared in the best setting that has it.
    """
    best = best_trial(search)
    assert best is not None
    settings = {}
    for factor in study.factors:
        base = best if factor in best.planned.factors else _best_with(search, lambda f, name=factor: name in f)
        if base is None:
            continue
        for level in study.levels(factor):
            best_of_level = _best_with(search, lambda f, name=factor, level=level: f.get(name) == level)
            setting = _moved(study, base.planned.factors, factor, level, best_of_level)
            if setting is not None:
                settings[f"{factor}={level}"] = setting
    return settings


def _moved(study: Study, base: Levels, factor: str, level: Any, best_of_level: Record | None) -> dict[str, Any] | None:
    """Return `base` with one level replaced; None if every trial with a factor that now exists has failed.

    A factor that exists only after the change takes its level from `best_of_level`.
    """
    wanted = dict(base) | {factor: level}
    setting: dict[str, Any] = {}
    for name, conditional in study.factors.items():
        if holds(conditional.when, setting):
            if name in wanted:
                setting[name] = wanted[name]
            elif best_of_level is not None and name in best_of_level.planned.factors:
                setting[name] = best_of_level.planned.factors[name]
            else:
                return None
    return setting


def _best_of_levels(
    settings: Mapping[str, Levels], refined: list[Record]
) -> dict[str, tuple[Planned, tuple[str, ...]]]:
    """Return the best refined trial of every decided level by arm, each with the levels it stands for."""
    stands_for: dict[str, list[str]] = {}
    best: dict[str, Planned] = {}
    for name, setting in settings.items():
        of_level = [record for record in refined if record.planned.factors == setting]
        winner = best_trial(of_level)
        if winner is not None and all(record.status is not None for record in of_level):
            best[winner.planned.arm] = winner.planned
            stands_for.setdefault(winner.planned.arm, []).append(name)
    return {name: (planned, tuple(stands_for[name])) for name, planned in best.items()}


def _best_arms(search: list[Record]) -> list[Record]:
    ranked = sorted(
        (record for record in search if record.status == "completed"),
        key=lambda record: (-record.score, record.planned.trial),
    )
    distinct: Mapping[str, Record] = {record.planned.arm: record for record in reversed(ranked)}
    return [record for record in ranked if distinct[record.planned.arm] is record][:CONFIRMED_BEST]


def _best_with(search: list[Record], has: Callable[[Levels], bool]) -> Record | None:
    return best_trial(record for record in search if has(record.planned.factors))
