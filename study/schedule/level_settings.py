"""The settings in which the levels of each factor are compared: the base's, with one level replaced."""

from collections.abc import Iterable, Mapping
from typing import Any

from search_spaces.distributions import accepted, holds, related
from study.design.plan import Levels
from study.persistence.ledger import Record
from study.spec import Study


def best_trial(records: Iterable[Record]) -> Record | None:
    """Return the completed trial with the best score on validation; among equals the first by name."""
    completed = [record for record in records if record.status == "completed"]
    return min(completed, key=lambda record: (-record.score, record.planned.trial), default=None)


def level_settings(study: Study, base: Levels, search: list[Record]) -> dict[str, dict[str, Any]]:
    """Return the setting in which each "factor=level" is compared: the base, with this one level replaced.

    A factor that does not exist in the base is compared in the base with the fewest levels replaced for it to exist:
    those on which it depends, as in the best search trial that has it. A level is missing if every trial with a factor
    that would exist has failed.
    """
    settings = {}
    for factor in study.factors:
        changes = _needed_changes(study, base, factor, search)
        if changes is None:
            continue
        for level in study.levels(factor):
            setting = replaced(study, base, changes | {factor: level}, search)
            if setting is not None:
                settings[f"{factor}={level}"] = setting
    return settings


def _needed_changes(study: Study, base: Levels, factor: str, search: list[Record]) -> dict[str, Any] | None:
    """Return the levels to replace in `base` for a factor to exist; None if no trial that has it has completed."""
    if factor in base:
        return {}
    best = best_trial(record for record in search if factor in record.planned.factors)
    if best is None:
        return None
    needed = related(study.factors, [factor])
    conditions = [part.when for part in needed.values()]
    return {
        name: best.planned.factors[name]
        for name in needed
        if not all(base.get(name) in accepted(when[name]) for when in conditions if name in when)
    }


def replaced(study: Study, base: Levels, changes: Mapping[str, Any], search: list[Record]) -> dict[str, Any] | None:
    """Return `base` with changed levels; None if every search trial with a factor that now exists has failed.

    A factor that exists only after the changes takes its level from the best search trial with those changes.
    """
    wanted = dict(base) | dict(changes)
    setting: dict[str, Any] = {}
    for name, conditional in study.factors.items():
        if not holds(conditional.when, setting):
            continue
        if name not in wanted:
            best = _best_like(search, name, {each: setting[each] for each in conditional.when})
            if best is None:
                return None
            wanted[name] = best.planned.factors[name]
        setting[name] = wanted[name]
    return setting


def _best_like(search: list[Record], factor: str, levels: Levels) -> Record | None:
    """Return the best trial with a factor, under these levels of the factors on which it depends."""
    return best_trial(
        record
        for record in search
        if factor in record.planned.factors
        and all(record.planned.factors.get(name) == level for name, level in levels.items())
    )
