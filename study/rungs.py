"""Asynchronous successive halving (Li et al. 2020) that does not bend the comparison.

The rungs are the same epochs for all arms. Three rules are added: an audited trial is never stopped and sets no
cut-off; every level of every factor keeps its best two at each rung; a verdict once taken is never taken again.
"""

from collections.abc import Sequence

from study.ledger import Verdict
from study.plan import Planned
from study.spec import Budget

# A level's trials that are safe from being stopped, at every rung.
KEPT_PER_LEVEL = 2


def rung_epochs(budget: Budget) -> list[int]:
    """The epochs at which trials are judged: grace, grace * reduction, ... below the last epoch."""
    epochs, epoch = [], budget.grace
    while epoch < budget.epochs:
        epochs.append(epoch)
        epoch *= budget.reduction
    return epochs


def judge(
    planned: Planned, epoch: int, value: float, earlier: Sequence[tuple[Planned, float]], reduction: int
) -> Verdict:
    """The verdict on a trial at a rung, given those that reached it earlier and their values there."""
    go_on = planned.audit or _passes(value, earlier, reduction) or _leads_a_level(planned, value, earlier)
    return Verdict(planned.trial, epoch, value, go_on)


def _passes(value: float, earlier: Sequence[tuple[Planned, float]], reduction: int) -> bool:
    """Whether the value is in the top 1/reduction of those that reached the rung so far, this one included."""
    others = [theirs for planned, theirs in earlier if not planned.audit]
    kept = (len(others) + 1) // reduction
    if kept == 0:  # too few to cut
        return True
    return sum(other > value for other in others) < kept


def _leads_a_level(planned: Planned, value: float, earlier: Sequence[tuple[Planned, float]]) -> bool:
    for factor, level in planned.factors.items():
        better = sum(theirs > value and other.factors.get(factor) == level for other, theirs in earlier)
        if better < KEPT_PER_LEVEL:
            return True
    return False
