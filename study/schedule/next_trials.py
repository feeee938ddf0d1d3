"""What a study does next, as a pure function of what it knows: so a resumed study goes the same way."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any

from search_spaces.distributions import holds
from study.design.plan import Planned, arm, nuisance_points, nuisances_at
from study.persistence.ledger import Record
from study.spec import Study
from trainables.keyed import key

# Of a study that only wants the best setting, this many of the search's settings are confirmed.
CONFIRMED_BEST = 3
# A control of fewer seeds could find nothing whatever they did.
FEWEST_CONTROL_SEEDS = 3
# Its seeds begin behind this one, where no --seeds of a confirmation will ever reach.
_BEFORE_CONTROL_SEEDS = 1000
Setting = dict[str, Any]


def winner(records: Iterable[Record]) -> Record | None:
    """The completed trial with the best validation accuracy; of equals the first in the plan."""
    completed = [record for record in records if record.status == "completed"]
    return min(completed, key=lambda record: (-record.score, record.planned.trial), default=None)


def refine_trials(study: Study, search: list[Record], seed: int) -> list[Planned]:
    """Every level of every factor with the winner's other levels, at the same few nuisance points.

    Settings that coincide run once; with test folds, once in each. The winner's levels were found in the search, on
    images that then test. They are alike for the levels that are compared, and so favor neither.
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
    """The best refined setting of every level, with several seeds and no stopping.

    A level is decided when all of its refined trials have ended; with test folds, those of the same repeat.
    """
    if study.goal == "best":
        chosen = {0: {record.planned.arm: (record.planned, ()) for record in _best_arms(search)}}
    else:
        settings, tuned = level_settings(study, search), defaultdict(list)
        for record in refined:
            tuned[record.planned.seed].append(record)
        chosen = {repeat: _best_of_levels(settings, tuned[repeat]) for repeat in study.budget.refined_on}
    return [
        Planned(
            f"confirm-{name}-{repeat}",
            "confirm",
            planned.factors,
            planned.nuisances,
            False,
            repeat,
            stands_for,
        )
        for repeat in range(1, study.budget.repeats + 1)
        for name, (planned, stands_for) in chosen[repeat if repeat in chosen else 0].items()
    ]


def confirmed_winner(confirmed: list[Record]) -> Record | None:
    """Of the setting with the best mean over its seeds, on validation, the best seed."""
    settings: dict[str, list[Record]] = {}
    for record in confirmed:
        settings.setdefault(setting_of(record), []).append(record)
    if not settings:
        return None
    best = max(sorted(settings), key=lambda one: sum(record.score for record in settings[one]) / len(settings[one]))
    return max(settings[best], key=lambda record: (record.score, -record.planned.seed))


def setting_of(record: Record) -> str:
    """A name for what a confirmed trial is a repeat of: its arm, or where every test fold has its own, its levels."""
    planned = record.planned
    return arm(planned.factors, {}) if record.config.get("test_folds") else planned.arm


def has_control(study: Study) -> bool:
    """Of test folds there is none: its rounds would have to be refined, too."""
    return study.control and not study.budget.test_folds and study.budget.seeds >= FEWEST_CONTROL_SEEDS


def control_trials(study: Study, confirmed: list[Record]) -> list[Planned]:
    """The winner once more, with as many seeds as it was confirmed with and none of the same."""
    winning, seeds = confirmed_winner(confirmed), study.budget.seeds
    if winning is None or seeds < FEWEST_CONTROL_SEEDS:
        return []
    planned = winning.planned
    return [
        Planned(
            f"control-{planned.arm}-{repeat}",
            "control",
            planned.factors,
            planned.nuisances,
            seed=_BEFORE_CONTROL_SEEDS + repeat,
        )
        for repeat in range(1, seeds + 1)
    ]


def retrain_trials(confirmed: list[Record]) -> list[Planned]:
    """The winner once more, on training and validation together, for as many epochs as its seeds took on average."""
    winning = confirmed_winner(confirmed)
    if winning is None:
        return []
    of_arm = [record.best["epoch"] for record in confirmed if record.planned.arm == winning.planned.arm and record.best]
    planned, epochs = winning.planned, max(1, round(sum(of_arm) / len(of_arm)))
    name = f"retrain-{planned.arm}-{planned.seed}"
    return [Planned(name, "retrain", planned.factors, planned.nuisances, seed=planned.seed, epochs=epochs)]


def level_settings(study: Study, search: list[Record]) -> dict[str, Setting]:
    """For every "factor=level" the setting it is judged in: the winner's, with this one level put in its place.

    A factor that does not exist in the winner's setting is judged in the best setting where it does.
    """
    best = winner(search)
    assert best is not None
    settings = {}
    for factor in study.factors:
        base = best if factor in best.planned.factors else _best_with(search, lambda f, name=factor: name in f)
        if base is None:
            continue
        for level in study.levels(factor):
            own = _best_with(search, lambda f, name=factor, level=level: f.get(name) == level)
            setting = _moved(study, base.planned.factors, factor, level, own)
            if setting is not None:
                settings[f"{factor}={level}"] = setting
    return settings


def _moved(study: Study, base: Setting, factor: str, level: Any, own: Record | None) -> Setting | None:
    """`base` with one level changed. A factor that comes into being takes the level's own best search trial's."""
    wanted = dict(base) | {factor: level}
    setting: Setting = {}
    for name, each in study.factors.items():
        if holds(each.when, setting):
            if name in wanted:
                setting[name] = wanted[name]
            elif own is not None and name in own.planned.factors:
                setting[name] = own.planned.factors[name]
            else:
                return None  # every trial that could tell has failed
    return setting


def _best_of_levels(settings: dict[str, Setting], refined: list[Record]) -> dict[str, tuple[Planned, tuple[str, ...]]]:
    stands_for: dict[str, list[str]] = {}
    best: dict[str, Planned] = {}
    for name, setting in settings.items():
        own = [each for each in refined if each.planned.factors == setting]
        record = winner(own)
        if record is not None and all(each.status is not None for each in own):
            best[record.planned.arm] = record.planned
            stands_for.setdefault(record.planned.arm, []).append(name)
    return {name: (planned, tuple(stands_for[name])) for name, planned in best.items()}


def _best_arms(search: list[Record]) -> list[Record]:
    ranked = sorted(
        (record for record in search if record.status == "completed"),
        key=lambda record: (-record.score, record.planned.trial),
    )
    distinct: Mapping[str, Record] = {record.planned.arm: record for record in reversed(ranked)}
    return [record for record in ranked if distinct[record.planned.arm] is record][:CONFIRMED_BEST]


def _best_with(search: list[Record], has: Any) -> Record | None:
    return winner(record for record in search if has(record.planned.factors))
