"""How far a study is and how long it still takes, on a simulated clock."""

from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest

from study.estimates.costs import END_SECONDS
from study.persistence.ledger import Record
from study.results import Status
from study.schedule.state import Job
from study.tracking.eta import makespan, seconds_left
from study.tracking.progress import Counts
from tests.courses import small_study
from tests.simulated import Clock, Simulated
from tests.test_costs import inputs

DEPTHS = {"backbone": ["tf_efficientnet_lite0", "resnet18"], "unfreeze": ["head", "last stage", "all"]}
BUDGET = {"trials": 24, "epochs": 6, "refine": 3, "seeds": 5}


def simulated(out: Path, workers: int = 2, clock: Clock | None = None, **budget: int) -> Simulated:
    study = small_study(DEPTHS, BUDGET | budget, control=True)
    return Simulated(out, study, inputs(workers=workers), clock or Clock())


def paced(one: Simulated, rate: Callable[[Record], float]) -> Callable[[Record, Job], float]:
    """An epoch, and a test, takes `rate` times what the cost model expects."""
    test = next(cost for cost in one.costs if cost.phase == "test")

    def seconds(record: Record, job: Job) -> float:
        if job.task == "test":
            return rate(record) * test.seconds / test.trials
        return rate(record) * one.progress.works[job.trial] / record.config["epochs"]

    return seconds


def of(one: Simulated) -> dict[str, tuple[int, int]]:
    """How many trials of each phase have ended, and how many are planned."""
    return {each.stage: (each.ended.total(), each.planned) for each in one.progress.counts()}


def by_depth(record: Record) -> float:
    return {"head": 4.0, "last stage": 2.0, "all": 0.7}[record.planned.factors["unfreeze"]]


@pytest.mark.parametrize("rate", [lambda record: 1.0, lambda record: 3.0, lambda record: 0.4, by_depth])
def test_from_half_time_on_the_time_left_is_right_within_a_quarter(
    tmp_path: Path, rate: Callable[[Record], float]
) -> None:
    one = simulated(tmp_path)
    said = [(now, seconds_left(one.progress)) for now in one.run(paced(one, rate))]
    end = said[-1][0] + END_SECONDS
    late = [(end - now, left) for now, left in said if now >= end / 2]
    assert len(late) > 50
    assert not [pair for pair in late if abs(pair[1] - pair[0]) > max(pair[0] / 4, end / 50)]
    assert said[-1][1] == END_SECONDS


def test_at_the_start_it_is_what_the_cost_model_expects(tmp_path: Path) -> None:
    one = simulated(tmp_path)
    expected = sum(cost.seconds for cost in one.costs) / 2
    assert seconds_left(one.progress) == pytest.approx(expected, rel=0.05)
    next(one.run(lambda record, job: 15.0))
    # The first epoch of a process comes after its imports, so it says nothing about the others.
    assert one.progress.total.seconds == 0
    assert seconds_left(one.progress) == pytest.approx(expected, rel=0.05)


def test_the_time_left_falls_between_reports_and_rises_if_none_comes(tmp_path: Path) -> None:
    one = simulated(tmp_path)
    list(islice(one.run(paced(one, lambda record: 1.0)), 60))
    before = seconds_left(one.progress)
    one.clock.now += 1e-3
    assert seconds_left(one.progress) == pytest.approx(before - 1e-3, abs=1e-2)
    one.clock.now += 1e6
    late = seconds_left(one.progress)
    assert late > before
    one.clock.now += 1e6
    assert seconds_left(one.progress) > late


def test_every_phase_counts_what_has_ended_of_what_is_planned(tmp_path: Path) -> None:
    one = simulated(tmp_path)
    expected = {cost.phase: (0, cost.trials) for cost in one.costs}
    assert of(one) == expected
    list(one.run(paced(one, lambda record: 1.0)))
    phases = Counter(record.planned.phase for record in one.course.records.values())
    tested = phases["confirm"] + phases["control"]
    assert of(one) == {name: (number, number) for name, number in phases.items()} | {"test": (tested, tested)}


def test_planned_grows_with_what_is_registered_and_never_shows_less_than_has_ended(tmp_path: Path) -> None:
    one = simulated(tmp_path)
    for _ in one.run(paced(one, lambda record: 1.0)):
        registered = Counter(record.planned.phase for record in one.course.records.values())
        for stage, (ended, planned) in of(one).items():
            assert registered[stage] <= planned
            assert ended <= planned


def test_a_resumed_study_counts_what_its_ledger_has_and_measures_anew(tmp_path: Path) -> None:
    one = simulated(tmp_path)
    next(now for now in one.run(paced(one, lambda record: 3.0)) if of(one)["test"][0] == 2)
    again = simulated(tmp_path, clock=Clock(one.clock.now))
    assert of(again) == of(one)
    assert again.progress.total.work == 0
    list(again.run(paced(again, lambda record: 3.0)))
    assert of(again)["test"][0] == of(again)["test"][1] == of(again)["confirm"][1] + of(again)["control"][1]
    assert seconds_left(again.progress) == END_SECONDS


def test_stopped_trials_are_counted_as_such(tmp_path: Path) -> None:
    one = simulated(tmp_path, seeds=1)
    list(one.run(lambda record, job: 1.0))
    search = one.course.of_phase("search")
    statuses: Counter[Status] = Counter(record.status or "failed" for record in search)
    assert one.progress.counts()[0] == Counts("search", len(search), statuses)
    assert statuses["stopped"] > 0


def test_trials_that_are_dropped_to_keep_a_time_limit_are_neither_planned_nor_waited_for(tmp_path: Path) -> None:
    one = simulated(tmp_path)
    one.course.out_of_time = lambda phase, together: phase == "search" and len(one.course.of_phase("search")) >= 14
    for _ in one.run(paced(one, lambda record: 1.0)):
        if one.course.phase == "refine":
            break
    ended, planned = of(one)["search"]
    assert ended == planned < BUDGET["trials"]
    assert one.progress.phases["search"].registered > planned
    before = seconds_left(one.progress)
    one.progress.phases["search"].waiting.clear()
    one.progress.phases["search"].stoppable.clear()
    assert seconds_left(one.progress) == before


@pytest.mark.parametrize(
    ("running", "waiting", "workers", "seconds"),
    [([], [], 2, 0), ([3], [], 2, 3), ([3, 1], [2, 2], 2, 5), ([], [1, 1, 1], 2, 2), ([1, 1, 1], [5], 2, 6)],
)
def test_makespan_by_hand(running: list[float], waiting: list[float], workers: int, seconds: float) -> None:
    assert makespan(running, waiting, workers) == seconds
