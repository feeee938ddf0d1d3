"""The range of a hyperparameter, and the condition under which it exists."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# Factor levels under which something exists: {"regularizer": "dropout"}. All must hold; a tuple means any of them.
Condition = Mapping[str, Any]


def holds(condition: Condition, levels: Mapping[str, Any]) -> bool:
    """Return whether a trial with these factor levels meets the condition."""
    return all(factor in levels and levels[factor] in accepted(level) for factor, level in condition.items())


def accepted(level: Any) -> tuple[Any, ...]:
    """Return the levels that a condition accepts for one factor."""
    return level if isinstance(level, tuple) else (level,)


@dataclass(frozen=True, kw_only=True)
class Conditional:
    """A factor that exists only under some levels of another factor; unfreeze depth, for example, only with transfer.

    If the condition does not hold, a trial takes the value `otherwise` and belongs to no level.
    """

    levels: Sequence[Any]
    when: Condition
    otherwise: Any


def related(factors: Mapping[str, Conditional], names: Iterable[str]) -> dict[str, Conditional]:
    """Return the named factors and the factors that they depend on, dependencies first."""
    wanted = set(names)
    for name in reversed(list(factors)):
        if name in wanted:
            wanted |= factors[name].when.keys()
    return {name: factor for name, factor in factors.items() if name in wanted}


def combinations(factors: Mapping[str, Conditional]) -> list[dict[str, Any]]:
    """Return every combination of levels that a trial can have, without factors that do not exist in it."""
    combined: list[dict[str, Any]] = [{}]
    for name, factor in factors.items():
        levels = [{name: level} for level in factor.levels]
        combined = [before | level for before in combined for level in (levels if holds(factor.when, before) else [{}])]
    return combined


@dataclass(frozen=True, kw_only=True)
class Range:
    """A continuous nuisance hyperparameter.

    Args:
        low: the lower end.
        high: the upper end.
        log: whether the scale is logarithmic.
        when: the levels under which the nuisance exists. In other trials its column stays empty.
        sets: the config field that takes the value, by default the nuisance's own name. The learning rates of Adam and
            SGD, for example, are two nuisances that set one field.
        natural: ends beyond which no value exists, so a best value there does not mean that the range is too narrow.

    Raises:
        ValueError: the ends are not finite, not in order, or not positive on a log scale.
    """

    low: float
    high: float
    log: bool = False
    when: Condition = field(default_factory=dict)
    sets: str | None = None
    natural: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"`low < high` must hold and both be finite, but got ({self.low=}, {self.high=}).")
        if self.log and self.low <= 0:
            raise ValueError(f"`low > 0` must hold on a log scale, but got ({self.low=}).")

    def at(self, u: float) -> float:
        """Return the value at the fraction `u` of the range; outside [0, 1] it lies beyond the ends."""
        if self.log:
            return math.exp(math.log(self.low) + u * (math.log(self.high) - math.log(self.low)))
        return self.low + u * (self.high - self.low)

    def position(self, value: float) -> float:
        """Return the fraction of the range at which a value lies, the inverse of `at`."""
        if self.log:
            return (math.log(value) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        return (value - self.low) / (self.high - self.low)


Space = dict[str, Range]
