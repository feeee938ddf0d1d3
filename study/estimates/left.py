"""What is left of a running study: trials and cost of each phase, corrected with the speed so far."""

from collections import Counter
from collections.abc import Iterable, Sequence

from study.estimates.cost_inputs import CostInputs
from study.estimates.costs import Run, estimate, planned_seconds
from study.persistence.ledger import Cut, Record
from study.schedule.level_settings import best_trial
from study.schedule.time_limit import PhaseLeft
from study.spec import Study
from trainables.config import from_dict

# Until this share of the study has been measured, the rest of it counts at the planned rate, or the first trials would
# decide.
_MEASURED_SHARE = 0.05


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
    whole = sum(cost.seconds for cost in estimate(study, inputs))
    return measured_rate(seconds, _planned(study, inputs, records), whole)


def measured_rate(actual: float, planned: float, whole: float) -> float:
    """Return how many seconds a planned second takes. It is 1 before anything has been measured.

    Args:
        actual: seconds that all workers together have taken so far.
        planned: seconds that were planned for the same work.
        whole: seconds that are planned for the whole study.
    """
    least = _MEASURED_SHARE * whole
    missing = max(0.0, least - planned)
    return (actual + missing) / (planned + missing) if planned + missing > 0 else 1.0


def seconds_spent(records: Iterable[Record], wall_seconds: float, workers: int) -> float:
    """Return the wall time of the earlier processes of a study. A killed process has not recorded its own."""
    training = sum(row["seconds"] for record in records for row in record.rows.values())
    return max(wall_seconds, training / workers)


def _planned(study: Study, inputs: CostInputs, records: Iterable[Record]) -> float:
    """Return the seconds on one worker that were planned for the epochs so far."""
    started = [record for record in records if record.rows]
    runs = [Run(from_dict(record.config), len(record.rows), record.planned.seed) for record in started]
    return planned_seconds(runs, study, inputs)
