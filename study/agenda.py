"""What a study does next, as a pure function of what it knows: so a resumed study goes the same way."""

from collections.abc import Iterable, Mapping
from typing import Any

from search_spaces.distributions import holds
from study.ledger import Record
from study.plan import Planned, arm, nuisance_points, nuisances_at
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

    Settings that coincide run once.
    """
    settings = level_settings(study, search)
    points = nuisance_points(study, study.budget.refine, key("refine nuisances", seed))
    trials: dict[str, Planned] = {}
    for levels in settings.values():
        for point in points:
            nuisances = nuisances_at(study, levels, point)
            name = f"refine-{arm(levels, nuisances)}"
            trials.setdefault(name, Planned(name, "refine", levels, nuisances))
    return list(trials.values())


def confirm_trials(study: Study, search: list[Record], refined: list[Record]) -> list[Planned]:
    """The best refined setting of every level, with several seeds and no stopping.

    A level is decided when all of its refined trials have ended.
    """
    if study.goal == "best":
        chosen = {record.planned.arm: (record.planned, ()) for record in _best_arms(search)}
    else:
        chosen = _best_of_levels(study, search, refined)
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
        for repeat in range(1, study.budget.seeds + 1)
        for name, (planned, stands_for) in chosen.items()
    ]


def confirmed_winner(confirmed: list[Record]) -> Record | None:
    """Of the setting with the best mean over its seeds, on validation, the best seed."""
    by_arm: dict[str, list[Record]] = {}
    for record in confirmed:
        by_arm.setdefault(record.planned.arm, []).append(record)
    if not by_arm:
        return None
    arm = max(sorted(by_arm), key=lambda name: sum(record.score for record in by_arm[name]) / len(by_arm[name]))
    return max(by_arm[arm], key=lambda record: (record.score, -record.planned.seed))


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


def _best_of_levels(
    study: Study, search: list[Record], refined: list[Record]
) -> dict[str, tuple[Planned, tuple[str, ...]]]:
    stands_for: dict[str, list[str]] = {}
    best: dict[str, Planned] = {}
    for name, setting in level_settings(study, search).items():
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
