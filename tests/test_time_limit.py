"""--hours is held: when the search must end, and that a resume replays the decision instead of taking it again."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from study.estimates.costs import END_SECONDS, estimate
from study.estimates.left import measured_rate, phases_left, rate_so_far, seconds_spent
from study.persistence import ledger
from study.persistence.ledger import Cut
from study.results import Phase
from study.schedule.state import StudyState
from study.schedule.time_limit import PhaseLeft, must_end
from study.tracking.eta import TimeLimit, seconds_left
from tests.courses import BASE, BONUS, begin, drive, killed, small_study
from tests.simulated import Simulated
from tests.test_costs import INPUTS, inputs
from tests.test_progress import paced

STUDY = small_study()
# Planned seconds on one worker: 10 for each trial.
LEFT = [
    PhaseLeft("search", 4, 6, 60.0),
    PhaseLeft("refine", 0, 8, 80.0),
    PhaseLeft("confirm", 0, 10, 100.0),
    PhaseLeft("test", 0, 10, 0.0),
]


def test_the_rate_is_the_planned_one_until_enough_is_measured() -> None:
    assert measured_rate(0, 0, whole=1000) == 1
    assert measured_rate(60, 20, whole=1000) == pytest.approx(90 / 50)  # 30 of 50 seconds count as planned
    assert measured_rate(200, 100, whole=1000) == 2
    assert measured_rate(0, 0, whole=0) == 1


def test_what_a_phase_leaves_free_by_hand() -> None:
    # On one worker the search leaves free one more trial, half of the refinement and the confirmation: 10 + 40 + 100.
    assert not must_end("search", 150, LEFT, workers=1)
    assert must_end("search", 149, LEFT, workers=1)
    # The refinement leaves free one more trial, or four that belong together, and the confirmation.
    assert not must_end("refine", 110, LEFT, workers=1)
    assert must_end("refine", 109, LEFT, workers=1)
    assert must_end("refine", 139, LEFT, workers=1, together=4)
    # A range that widens after the last of the planned trials costs as much as trials so far.
    over = [PhaseLeft("refine", 8, 0, 0.0, each=10.0), PhaseLeft("confirm", 0, 10, 100.0)]
    assert not must_end("refine", 140, over, workers=1, together=4)
    assert must_end("refine", 139, over, workers=1, together=4)
    # On two workers a phase takes half of its seconds, and at most half a trial longer: 5 + 5, 50 + 5.
    assert not must_end("refine", 65, LEFT, workers=2)
    assert must_end("refine", 64, LEFT, workers=2)


def course(out: Path, out_of_time: list[Phase]) -> StudyState:
    begin(out, STUDY)  # writes the plan
    return StudyState(out, STUDY, BASE, None, lambda *_: None, out_of_time=lambda phase, _: phase in out_of_time)


def searched(state: StudyState) -> list[str]:
    return [record.planned.trial for record in state.of_phase("search") if record.rows]


def test_a_search_that_is_out_of_time_ends_once_every_level_has_had_a_trial(tmp_path: Path) -> None:
    state = course(tmp_path, ["search"])
    drive(state, BONUS)
    assert searched(state) == ["search-0001", "search-0002"]  # two levels each, so two trials have them all
    assert [cut.phase for cut in ledger.read_cuts(tmp_path)] == ["search"]
    assert state.phase == "done"
    assert len(state.of_phase("confirm")) == 3 * 2  # as planned, with both seeds
    assert all(record.status == "completed" for record in state.confirmed())


def test_a_refinement_that_is_out_of_time_keeps_the_same_points_for_every_setting(tmp_path: Path) -> None:
    def out_of_time(phase: Phase, together: int) -> bool:
        return phase == "refine" and sum(record.status is not None for record in state.of_phase("refine")) > 0

    study = small_study(budget={"refine": 4})
    begin(tmp_path, study)
    state = StudyState(tmp_path, study, BASE, None, lambda *_: None, out_of_time=out_of_time)
    drive(state, BONUS)
    refined = Counter(tuple(record.planned.factors.values()) for record in state.of_phase("refine") if record.rows)
    assert list(refined.values()) == [2, 2, 2], "a level that is tuned at one point is not compared"
    (cut,) = ledger.read_cuts(tmp_path)
    assert (cut.phase, cut.planned, len(cut.dropped)) == ("refine", 12, 6)
    assert [decision["kind"] for decision in state.decisions] == ["base", "recommend"], "nothing is tuned any more"
    again = begin(tmp_path, study)
    assert drive(again, BONUS) == [], "the decision is replayed"
    assert again.decisions == state.decisions


def test_a_range_that_there_is_no_time_to_widen_is_told_as_a_phase_that_ended_early(tmp_path: Path) -> None:
    def out_of_time(phase: Phase, together: int) -> bool:
        ended = sum(record.status is not None for record in state.of_phase("refine"))
        return phase == "refine" and ended == 12  # the first round is over

    study = small_study(budget={"refine": 4})
    begin(tmp_path, study)
    state = StudyState(tmp_path, study, BASE, None, lambda *_: None, out_of_time=out_of_time)
    drive(state, BONUS)
    (cut,) = ledger.read_cuts(tmp_path)
    assert (cut.phase, cut.planned, cut.dropped) == ("refine", 12, ())
    assert [decision["kind"] for decision in state.decisions] == ["base", "recommend"]
    again = begin(tmp_path, study)
    assert drive(again, BONUS) == []
    assert again.decisions == state.decisions


def test_a_resume_replays_the_decision_whatever_the_clock_says(tmp_path: Path) -> None:
    first = course(tmp_path, ["search"])
    for _ in range(3):  # two begin, and instead of the third the decision falls
        first.next_job()
    again = course(tmp_path, [])
    drive(again, BONUS)
    assert searched(again) == ["search-0001", "search-0002"]
    assert len(ledger.read_cuts(tmp_path)) == 1


def test_a_plan_that_has_grown_is_searched_whole(tmp_path: Path) -> None:
    drive(course(tmp_path, ["search"]), BONUS)
    longer = small_study(budget={"trials": 14})
    state = StudyState(tmp_path, longer, BASE, None, lambda *_: None)
    assert state.cuts == {}
    drive(state, BONUS)
    assert len(searched(state)) == 12  # the ledger's plan; a resume extends it


def test_a_damaged_decision_counts_as_never_taken(tmp_path: Path) -> None:
    ledger.write_cut(tmp_path, Cut("search", 12, ("search-0003",)))
    assert ledger.read_cuts(tmp_path) == [Cut("search", 12, ("search-0003",))]
    (tmp_path / "ledger" / "cuts" / "000.json").write_text('{"phase": "nap", "planned": 1, "dropped": []}')
    assert ledger.read_cuts(tmp_path) == []


def test_what_is_left_of_a_study(tmp_path: Path) -> None:
    costs = {cost.phase: cost for cost in estimate(STUDY, INPUTS)}
    fresh = phases_left(STUDY, INPUTS, [])
    assert [(item.phase, item.done, item.left) for item in fresh] == [
        ("search", 0, 12), ("refine", 0, 6), ("confirm", 0, 6), ("test", 0, 6),
    ]  # fmt: skip
    assert sum(item.seconds for item in fresh) == pytest.approx(sum(cost.seconds for cost in costs.values()))
    state = begin(tmp_path, STUDY)
    for _ in range(3):
        job = state.next_job()
        assert job is not None
        ledger.write_end(tmp_path, job.trial, "completed")
        state.ended(job)
    records = list(state.records.values())
    search = phases_left(STUDY, INPUTS, records)[0]
    assert (search.done, search.left) == (3, 9)
    assert search.seconds == pytest.approx(costs["search"].seconds * 9 / 12)
    cut = phases_left(STUDY, INPUTS, records, tested=2, cuts=[Cut("search", 12, ())])
    assert [(item.phase, item.done, item.left) for item in (cut[0], cut[-1])] == [("search", 3, 0), ("test", 2, 4)]


def test_a_killed_process_has_taken_at_least_the_time_of_its_epochs(tmp_path: Path) -> None:
    state = begin(tmp_path, STUDY)
    drive(state, BONUS)
    records = list(state.records.values())
    training = sum(row["seconds"] for record in records for row in record.rows.values())
    assert training > 0
    assert seconds_spent(records, 0.0, workers=2) == pytest.approx(training / 2)
    assert seconds_spent(records, 1e6, workers=2) == 1e6


def test_the_speed_so_far_corrects_the_estimate(tmp_path: Path) -> None:
    state = begin(tmp_path, STUDY)
    drive(state, BONUS)
    slow, fast = (rate_so_far(STUDY, INPUTS, list(state.records.values()), seconds) for seconds in (1e6, 1.0))
    assert slow > 1 > fast
    assert rate_so_far(STUDY, INPUTS, [], 0.0) == 1


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("rate", [0.6, 1.3, 1.6])
def test_a_study_slower_than_planned_ends_within_a_tenth_of_its_time(tmp_path: Path, rate: float, workers: int) -> None:
    """The first epoch of each process comes after its imports, which say nothing about the epochs to come."""
    study = small_study(budget={"trials": 24, "epochs": 6, "refine": 4, "seeds": 5})
    one = Simulated(tmp_path, study, inputs(workers=workers))
    given = 20 + seconds_left(one.progress)
    one.course.out_of_time = TimeLimit(one.progress, given).must_end
    imports, at_pace = [20.0] * workers, paced(one, lambda record: rate)
    *_, last = one.run(lambda record, job: at_pace(record, job) + (imports.pop() if imports else 0.0))
    assert [cut.phase for cut in one.course.cuts.values()] == ([] if rate < 1 else ["search", "refine"])
    assert last + END_SECONDS <= 1.1 * given
    assert last + END_SECONDS >= (0.6 if rate < 1 else 0.9) * given
    assert len(one.course.of_phase("confirm")) == 15, "all seeds"


def course_of(rate: float, trials: dict[Phase, int], each: float) -> tuple[float, dict[Phase, int]]:
    """The time that a course of equal trials takes whose seconds last `rate` seconds, and how many trials it ran.

    One worker, a limit of the planned time. Search and refinement end by the rule.
    """
    whole = each * sum(trials.values())
    done: dict[Phase, int] = dict.fromkeys(trials, 0)
    passed = 0.0
    for phase, count in trials.items():
        for _ in range(count):
            now = each * measured_rate(passed, each * sum(done.values()), whole)
            left = [PhaseLeft(name, done[name], n - done[name], now * (n - done[name])) for name, n in trials.items()]
            if phase != "confirm" and must_end(phase, whole - passed, left, workers=1):
                break
            passed += rate * each
            done[phase] += 1
    return passed / whole, done


@given(
    rate=st.floats(0.3, 3),
    search=st.integers(6, 60),
    refine=st.integers(12, 80),
    confirm=st.integers(10, 60),
    each=st.floats(0.1, 1e4),
)
def test_a_slow_course_ends_in_time_if_the_confirmation_alone_does(
    rate: float, search: int, refine: int, confirm: int, each: float
) -> None:
    planned: dict[Phase, int] = {"search": search, "refine": refine, "confirm": confirm}
    assume(rate * confirm < 0.8 * sum(planned.values()))
    took, done = course_of(rate, planned, each)
    assert took <= 1.0001
    assert done["confirm"] == confirm
    if rate <= 1:
        assert done == planned
    elif rate > 1.1 and done != planned:  # what is given up is given up late, so the time is used
        assert took > 0.8


def test_search_and_refinement_share_what_is_missing() -> None:
    planned: dict[Phase, int] = {"search": 20, "refine": 40, "confirm": 40}
    # 100 / 1.1 is 90 trials: the refinement gives up ten. 100 / 1.5 is 66: half of the refinement and 14 of the search.
    assert course_of(1.1, planned, 10)[1] == {"search": 20, "refine": 30, "confirm": 40}
    assert course_of(1.5, planned, 10)[1] == {"search": 6, "refine": 20, "confirm": 40}


def test_a_trial_that_an_earlier_process_began_is_not_dropped(tmp_path: Path) -> None:
    open_trials: list[str] = []
    while not open_trials:  # killed every few writes, until that falls into a trial and every level has had one
        assert killed(begin(tmp_path, STUDY), BONUS, lives=5)
        search = [record for record in ledger.read_records(tmp_path).values() if record.planned.phase == "search"]
        if sum(record.status is not None for record in search) >= 2:
            open_trials = [record.planned.trial for record in search if record.rows and record.status is None]
    state = course(tmp_path, ["search"])
    drive(state, BONUS)
    assert all(state.records[trial].status is not None for trial in open_trials)
    assert not set(open_trials) & set(ledger.read_cuts(tmp_path)[0].dropped)
