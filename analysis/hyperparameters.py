"""The search space of a study as other programs describe it, and each trial's values in it."""

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

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
    """Return every factor and nuisance, with ranges that cover the value of every trial."""
    found: Space = {name: _choice(results.trials[name], levels) for name, levels in results.factors.items()}
    nuisances = results.study.get("nuisances")
    for name, declared in nuisances.items() if isinstance(nuisances, Mapping) else ():
        if name not in found and name in results.trials and isinstance(declared, Mapping):
            interval = _interval(results.trials[name], declared)
            if interval is not None:
                found[name] = interval
    return found


def values(varied: Space, row: Mapping[Hashable, Any]) -> dict[str, str | float]:
    """Return a trial's values, without conditional hyperparameters that do not exist in it."""
    present: dict[str, str | float] = {}
    for name, kind in varied.items():
        if isinstance(kind, Choice):
            level = level_text(row[name])
            if level:
                present[name] = level
        elif _finite(row[name]):
            present[name] = float(row[name])
    return present


def _choice(column: pd.Series, levels: list[str]) -> Choice:
    seen = [level_text(value) for value in column.unique()]
    return Choice(tuple(dict.fromkeys([*levels, *(level for level in seen if level)])))


def _interval(column: pd.Series, declared: Mapping[str, Any]) -> Interval | None:
    numbers = [float(value) for value in column if _finite(value)]
    numbers += [float(declared[end]) for end in ("low", "high") if _finite(declared.get(end))]
    if not numbers:
        return None
    low, high = min(numbers), max(numbers)
    return Interval(low, high, declared.get("log") is True and low > 0)


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
