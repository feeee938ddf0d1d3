"""What was varied, as other programs ask for it: the choices and intervals of a study, and each trial's values."""

import math
from collections.abc import Mapping
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
    """Every factor and nuisance, wide enough for every value that a trial has."""
    found: Space = {name: _choice(results.trials[name], levels) for name, levels in results.factors.items()}
    nuisances = results.study.get("nuisances")
    for name, declared in nuisances.items() if isinstance(nuisances, Mapping) else ():
        if name not in found and name in results.trials and isinstance(declared, Mapping):
            interval = _interval(results.trials[name], declared)
            if interval is not None:
                found[name] = interval
    return found


def values(varied: Space, row: Mapping[str, Any]) -> dict[str, str | float]:
    """A trial's values; a conditional one that does not exist in it is missing."""
    chosen: dict[str, str | float] = {}
    for name, kind in varied.items():
        if isinstance(kind, Choice):
            level = level_text(row[name])
            if level:
                chosen[name] = level
        elif _finite(row[name]):
            chosen[name] = float(row[name])
    return chosen


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
