"""Asynchronous successive halving (ASHA, Li et al. 2020) that does not bias the comparison of levels.

All trials have the same rungs. Three rules are added: audited trials are never stopped and do not count for cutoffs;
every level of every factor keeps its best trial, or its best two, at each rung; a verdict is final.
"""

from bisect import bisect_right, insort
from dataclasses import dataclass, field
from typing import Any

from study.design.plan import Planned
from study.spec import Budget, Study


def kept_per_level(study: Study) -> int:
    """Return how many of the best trials of each level survive a rung: two where these are few of all trials."""
    levels = sum(len(factor.levels) for factor in study.factors.values())
    return 2 if study.budget.reduction * 2 * levels <= study.budget.trials else 1


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
    kept: int = 1  # of each level
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
            del best[: -self.kept]

    def _passes(self, value: float) -> bool:
        """Return whether the value is in the top 1/reduction of all values so far, including itself."""
        kept = (len(self.counted) + 1) // self.reduction
        if kept == 0:  # too few to cut
            return True
        return len(self.counted) - bisect_right(self.counted, value) < kept

    def _leads_a_level(self, planned: Planned, value: float) -> bool:
        best = [self.leaders.get(level, []) for level in planned.factors.items()]
        return any(len(values) - bisect_right(values, value) < self.kept for values in best)
