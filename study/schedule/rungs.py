"""Asynchronous successive halving (ASHA, Li et al. 2020) that does not bias the comparison of levels.

All trials have the same rungs. Three rules are added: audited trials are never stopped and do not count for cutoffs;
every level of every factor keeps its best two trials at each rung; a verdict is final.
"""

from bisect import bisect_right, insort
from dataclasses import dataclass, field
from typing import Any

from study.design.plan import Planned
from study.spec import Budget

# At every rung, the best trials of each level that are not stopped.
KEPT_PER_LEVEL = 2


def rung_epochs(budget: Budget) -> list[int]:
    """Return the epochs at which trials are judged: grace, grace * reduction, ... below the last epoch."""
    epochs, epoch = [], budget.grace
    while epoch < budget.epochs:
        epochs.append(epoch)
        epoch *= budget.reduction
    return epochs


@dataclass
class Rung:
    """The values of the trials that have reached one epoch. The cost of a verdict hardly grows with their number."""

    reduction: int
    counted: list[float] = field(default_factory=list)  # sorted; without audited trials
    leaders: dict[tuple[str, Any], list[float]] = field(default_factory=dict)  # the best values by level, ascending

    def goes_on(self, planned: Planned, value: float) -> bool:
        return planned.audit or self._passes(value) or self._leads_a_level(planned, value)

    def add(self, planned: Planned, value: float) -> None:
        if not planned.audit:
            insort(self.counted, value)
        for level in planned.factors.items():
            best = self.leaders.setdefault(level, [])
            insort(best, value)
            del best[:-KEPT_PER_LEVEL]

    def _passes(self, value: float) -> bool:
        """Return whether the value is in the top 1/reduction of all values so far, including itself."""
        kept = (len(self.counted) + 1) // self.reduction
        if kept == 0:  # too few to cut
            return True
        return len(self.counted) - bisect_right(self.counted, value) < kept

    def _leads_a_level(self, planned: Planned, value: float) -> bool:
        best = [self.leaders.get(level, []) for level in planned.factors.items()]
        return any(len(values) - bisect_right(values, value) < KEPT_PER_LEVEL for values in best)
