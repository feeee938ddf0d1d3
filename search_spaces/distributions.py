"""What a nuisance hyperparameter may be: a range, on a linear or a log scale, under a condition."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Range:
    """A continuous nuisance.

    `when` names the factor levels under which it exists at all ({"regularizer": "dropout"}); elsewhere the
    trial's column stays empty. `sets` is the field of the trial's configuration that takes the value, by default
    the nuisance's own name: Adam's and SGD's learning rates are two nuisances that set one field.
    `natural` lists the ends beyond which no value exists, so that a best value there is no sign of a range
    drawn too narrow.
    """

    low: float
    high: float
    log: bool = False
    when: Mapping[str, str] = field(default_factory=dict)
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

    def exists(self, levels: Mapping[str, str]) -> bool:
        """Whether a trial with these factor levels has this nuisance."""
        return all(levels.get(factor) == level for factor, level in self.when.items())


Space = dict[str, Range]
