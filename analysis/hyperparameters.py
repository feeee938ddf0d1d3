"""The search space of a study in the form that other programs use, and the values of each trial in it."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from analysis.decisions import is_number
from analysis.declared import nuisances
from study.results import Results, level_text

# The phases whose trials are settings of factors and nuisances.
VARIED = ("search", "refine", "confirm")


@dataclass(frozen=True)
class Choice:
    levels: tuple[str, ...]


@dataclass(frozen=True)
class Interval:
    low: float
    high: float
    log: bool


Space = dict[str, Choice | Interval]


def space(results: Results) -> Space:
    """Return every factor and nuisance, with ranges that cover the values of all trials."""
    varied: Space = {}
    for name, levels in results.factors.items():
        tried = filter(None, map(level_text, results.trials[name].unique()))
        varied[name] = Choice(tuple(dict.fromkeys([*levels, *tried])))
    for nuisance in nuisances(results):
        if nuisance.name not in varied and nuisance.name in results.trials:
            tried = [float(value) for value in results.trials[nuisance.name] if is_number(value)]
            ends = [*tried, *(end for end in (nuisance.low, nuisance.high) if is_number(end))]
            if ends:
                varied[nuisance.name] = Interval(min(ends), max(ends), nuisance.log and min(ends) > 0)
    return varied


def values(varied: Space, row: Mapping[Hashable, Any]) -> dict[str, str | float]:
    """Return a trial's values, without conditional hyperparameters that do not exist in it."""
    present: dict[str, str | float] = {}
    for name, kind in varied.items():
        if isinstance(kind, Choice):
            level = level_text(row[name])
            if level:
                present[name] = level
        elif is_number(row[name]):
            present[name] = float(row[name])
    return present
