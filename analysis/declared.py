"""Nuisances and budget as study.json declares them. Another program may omit them or write them differently."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from analysis.decisions import Decision, decisions, is_number
from study.results import Results, level_text

_ROUNDING = 1e-9  # relative error of a value that was computed from an end of its range


@dataclass(frozen=True)
class Nuisance:
    """A nuisance. The ends of its range are NaN unless declared as numbers."""

    name: str
    column: str  # in trials.parquet; empty if there is none
    low: float  # of the range after the study's widenings
    high: float
    declared: tuple[float, float]  # ends of the range before any widening
    log: bool
    when: dict[str, list[str]] | None  # the factor levels under which it exists; None if unreadable
    natural: list[float]  # ends of the range that no value can exceed

    @property
    def has_range(self) -> bool:
        return self.low < self.high and (self.low > 0 or not self.log)

    def as_declared(self, values: pd.Series) -> pd.Series:
        """Whether each value lies within the range before any widening."""
        low, high = self.declared
        return values.between(low - _ROUNDING * abs(low), high + _ROUNDING * abs(high))

    def exists_in(self, levels: Mapping[str, str]) -> bool:
        """Whether the nuisance exists in a setting with these levels of the factors."""
        return all(levels.get(factor) in allowed for factor, allowed in (self.when or {}).items())

    def position(self, value: float) -> float:
        """Return the position of a value in the range, on its scale: 0 is the low end, 1 the high end."""
        if not self.log:
            return (value - self.low) / (self.high - self.low)
        if value <= 0:
            return -math.inf
        return math.log(value / self.low) / math.log(self.high / self.low)


def nuisances(results: Results) -> list[Nuisance]:
    """Return the nuisances of study.json that are declared by a JSON object, in its order, with widened ranges."""
    declared: Any = results.study.get("nuisances")
    pairs = declared.items() if isinstance(declared, Mapping) else []
    columns, widened = results.trials.columns, [step for step in decisions(results) if step.kind == "widen"]
    return [
        _widened(_nuisance(name, declaration, columns), widened)
        for name, declaration in pairs
        if isinstance(declaration, Mapping)
    ]


def _widened(nuisance: Nuisance, steps: Iterable[Decision]) -> Nuisance:
    """Return a nuisance with the range that the steps led to, except for steps that do not widen it."""
    for step in steps:
        if step.nuisance != nuisance.name:
            continue
        wider = replace(nuisance, **{step.end: step.after})
        if wider.has_range and wider.low <= nuisance.low and nuisance.high <= wider.high:
            nuisance = wider
    return nuisance


def _nuisance(name: str, declaration: Mapping[str, Any], columns: pd.Index) -> Nuisance:
    low, high = (float(end) if is_number(end) else math.nan for end in map(declaration.get, ("low", "high")))
    when, natural = declaration.get("when") or {}, declaration.get("natural") or []
    return Nuisance(
        name=name,
        column=next((known for known in (name, str(declaration.get("sets"))) if known in columns), ""),
        low=low,
        high=high,
        declared=(low, high),
        log=bool(declaration.get("log")),
        when={factor: list(map(level_text, _list(levels))) for factor, levels in when.items()}
        if isinstance(when, Mapping)
        else None,
        natural=[end for end in _list(natural) if is_number(end)],
    )


def budget(results: Results, key: str) -> int | None:
    """Return a number of the budget; None if study.json does not give it."""
    declared: Any = results.study.get("budget")
    value = declared.get(key) if isinstance(declared, Mapping) else None
    return int(value) if is_number(value) else None


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
