"""What a hyperparameter may be, and under which condition it exists at all."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# Factor levels under which something exists: {"regularizer": "dropout"}, all of them at once; of a tuple any one.
Condition = Mapping[str, Any]


def holds(condition: Condition, levels: Mapping[str, Any]) -> bool:
    """Whether a trial with these factor levels meets the condition."""
    return all(factor in levels and levels[factor] in accepted(level) for factor, level in condition.items())


def accepted(level: Any) -> tuple[Any, ...]:
    """The levels that a condition names for one factor."""
    return level if isinstance(level, tuple) else (level,)


@dataclass(frozen=True, kw_only=True)
class Conditional:
    """A factor that exists only under levels of another: unfreeze depth has no meaning from scratch.

    Where the condition does not hold, trials take `otherwise` and belong to no level.
    """

    levels: Sequence[Any]
    when: Condition
    otherwise: Any


def related(factors: Mapping[str, Conditional], names: Iterable[str]) -> dict[str, Conditional]:
    """The named factors and those whose levels decide on them; a factor stands behind what it depends on."""
    asked = set(names)
    for name in reversed(list(factors)):
        if name in asked:
            asked |= factors[name].when.keys()
    return {name: factor for name, factor in factors.items() if name in asked}


def combinations(factors: Mapping[str, Conditional]) -> list[dict[str, Any]]:
    """Every combination of levels that a trial can have, without the factors that do not exist in it."""
    found: list[dict[str, Any]] = [{}]
    for name, factor in factors.items():
        levels = [{name: level} for level in factor.levels]
        found = [chosen | more for chosen in found for more in (levels if holds(factor.when, chosen) else [{}])]
    return found


@dataclass(frozen=True, kw_only=True)
class Range:
    """A continuous nuisance.

    Where `when` does not hold the trial's column stays empty. `sets` is the field of the trial's configuration
    that takes the value, by default the nuisance's own name: Adam's and SGD's learning rates are two nuisances
    that set one field. `natural` lists the ends beyond which no value exists, so that a best value there is no
    sign of a range drawn too narrow.
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
        """The value at the fraction `u` in [0, 1] of the range."""
        if self.log:
            return math.exp(math.log(self.low) + u * (math.log(self.high) - math.log(self.low)))
        return self.low + u * (self.high - self.low)


Space = dict[str, Range]
