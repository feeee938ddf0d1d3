"""--hours: when a phase must end early, so that the rest of the study fits into the time that is left.

A study that --hours planned may run slower than its estimate. Then its search and its refinement end early, and the
confirmation, the control and the test keep what was planned. This is the only decision that depends on a clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from study.results import Phase

# While the search runs, this share of the refinement is kept free: the refinement can end early too, and so search and
# refinement share what is missing.
_REFINEMENT_KEPT = 0.5


@dataclass(frozen=True)
class PhaseLeft:
    """What is left of a phase."""

    phase: Phase | Literal["test"]
    done: int  # trials, or tested models
    left: int
    seconds: float  # that what is left takes on one worker
    each: float = 0.0  # seconds of one more trial, once nothing is left


def must_end(phase: Phase, seconds_left: float, left: Sequence[PhaseLeft], workers: int, together: int = 1) -> bool:
    """Return whether a phase must hand out no more trials, so that the later phases fit into the time that is left.

    Args:
        seconds_left: wall time until the limit, without the time that running trials and the report take.
        left: the phases in order.
        together: trials that are handed out together or not at all, such as one nuisance point of every level.
    """
    phases = [item.phase for item in left]
    own, later = left[phases.index(phase)], left[phases.index(phase) + 1 :]
    needed = _wall(together * _each(own), _each(own), workers)
    for item in later:
        needed += _wall(item.seconds, _each(item), workers) * (_REFINEMENT_KEPT if item.phase == "refine" else 1.0)
    return seconds_left < needed


def _each(item: PhaseLeft) -> float:
    return item.seconds / item.left if item.left else item.each


def _wall(seconds: float, longest: float, workers: int) -> float:
    """Return the most that a list of trials takes on this many workers (Graham, SIAM J. Appl. Math. 17:416, 1969)."""
    return seconds / workers + longest * (1 - 1 / workers)
