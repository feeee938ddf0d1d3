"""Nuisances and budget as study.json declares them. Another program may omit them or write them differently."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

import pandas as pd

from study.results import Results, level_text


@dataclass(frozen=True)
class Nuisance:
    """A nuisance; `low` and `high` are NaN unless declared as numbers."""

    name: str
    column: str  # in trials.parquet; empty if there is none
    low: float
    high: float
    log: bool
    when: dict[str, list[str]] | None  # the factor levels under which it exists; None if unreadable
    natural: list[float]  # ends of the range that no value can exceed

    @property
    def has_range(self) -> bool:
        return self.low < self.high and (self.low > 0 or not self.log)

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
    """Return the nuisances of study.json that are declared by a JSON object, in its order."""
    declared: Any = results.study.get("nuisances")
    pairs = declared.items() if isinstance(declared, Mapping) else []
    columns = results.trials.columns
    return [_nuisance(name, declaration, columns) for name, declaration in pairs if isinstance(declaration, Mapping)]


def _nuisance(name: str, declaration: Mapping[str, Any], columns: pd.Index) -> Nuisance:
    low, high = (float(end) if is_number(end) else math.nan for end in map(declaration.get, ("low", "high")))
    when, natural = declaration.get("when") or {}, declaration.get("natural") or []
    return Nuisance(
        name=name,
        column=next((known for known in (name, str(declaration.get("sets"))) if known in columns), ""),
        low=low,
        high=high,
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


def is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
