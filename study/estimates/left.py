"""What is left of a running study: trials and cost of each phase, corrected with the speed so far."""

import time
from collections import Counter
from collections.abc import Iterable, Sequence

from study.estimates.cost_inputs import CostInputs
from study.estimates.costs import END_SECONDS, Run, estimate, planned_seconds
from study.persistence.ledger import Cut, Record
from study.results import Phase
from study.schedule.level_settings import best_trial
from study.schedule.time_limit import PhaseLeft, measured_rate, must_end
from study.spec import Study
from trainables.config import from_dict

# A limit looks at the records this often in its time.
_LOOKS = 200


def phases_left(
    study: Study, inputs: CostInputs, records: Iterable[Record], tested: int = 0, cuts: Sequence[Cut] = ()
) -> list[PhaseLeft]:
    """Return what is left of each phase.

    Args:
        tested: the number of models that have been evaluated on the test fold.
        cuts: the phases that were ended early.
    """
    records = list(records)
    winner = best_trial(record for record in records if record.planned.phase == "search")
    done = Counter[str](record.planned.phase for record in records if record.status is not None)
    done["test"] = tested
    cut = {decided.phase for decided in cuts if decided.phase != "search" or decided.planned >= study.budget.trials}
    left = []
    for cost in estimate(study, inputs, winner.planned.factors if winner else None):
        trials = 0 if cost.phase in cut else max(0, cost.trials - done[cost.phase])
        seconds = cost.seconds * trials / cost.trials if cost.trials else 0.0
        left.append(PhaseLeft(cost.phase, done[cost.phase], trials, seconds))
    return left


def rate_so_far(study: Study, inputs: CostInputs, records: Sequence[Record], seconds: float) -> float:
    """Return how many seconds a planned second takes, as measured since the study began.

    Args:
        seconds: of all workers together.
    """
    return measured_rate(seconds, _planned(study, inputs, records), _whole(study, inputs))


def seconds_spent(records: Iterable[Record], wall_seconds: float, workers: int) -> float:
    """Return the wall time of the earlier processes of a study. A killed process has not recorded its own."""
    training = sum(row["seconds"] for record in records for row in record.rows.values())
    return max(wall_seconds, training / workers)


class TimeLimit:
    """The time that a study with --hours has left, and when its phases must end.

    Args:
        seconds: wall time from now to the limit.
        records: of the trials that earlier processes ran, whose speed does not count.
    """

    def __init__(self, study: Study, inputs: CostInputs, seconds: float, records: Iterable[Record]) -> None:
        self.study, self.inputs = study, inputs
        self.began = time.monotonic()
        self.ends = self.began + seconds - END_SECONDS
        self.whole = _whole(study, inputs)
        self.before = _planned(study, inputs, records)
        self.next_look, self.between = self.began, seconds / _LOOKS

    def must_end(self, phase: Phase, records: Iterable[Record], together: int = 1) -> bool:
        """Return whether this phase must hand out no more trials. `together`: see `time_limit.must_end`."""
        now = time.monotonic()
        if now < self.next_look:  # with thousands of trials a look takes a second
            return False
        self.next_look = now + self.between
        records, workers = list(records), self.inputs.workers
        planned = _planned(self.study, self.inputs, records) - self.before
        rate = measured_rate((now - self.began) * workers, planned, self.whole)
        left = phases_left(self.study, self.inputs, records)
        return must_end(phase, self.ends - now, rate, left, workers, together)


def _planned(study: Study, inputs: CostInputs, records: Iterable[Record]) -> float:
    """Return the seconds on one worker that were planned for the epochs so far."""
    started = [record for record in records if record.rows]
    runs = [Run(from_dict(record.config), len(record.rows), record.planned.seed) for record in started]
    return planned_seconds(runs, study, inputs)


def _whole(study: Study, inputs: CostInputs) -> float:
    return sum(cost.seconds for cost in estimate(study, inputs))
