"""A whole course without Ray: phases, verdicts, failures, the test fold, and going on after a kill at any write."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces.distributions import Range
from study.design.plan import Planned
from study.design.settings import Base
from study.persistence import ledger
from study.persistence.ledger import LEDGER
from study.persistence.trial_files import checkpoint_file, model_file
from study.schedule.state import StudyState
from study.spec import Study
from tests.courses import (
    BASE,
    BONUS,
    CONDITIONAL,
    SMALLEST,
    Accuracy,
    begin,
    by_level,
    drive,
    killed,
    mortal,
    phases_of,
    small_study,
)
from trainables.learning.checkpoints import load_tensors

PLAIN = small_study(budget=SMALLEST)
# With every phase that there is.
WHOLE = small_study({"augmentation": ["none", "light"]}, SMALLEST | {"seeds": 3}, control=True, retrain=True)
# Its best learning rates lie below the range, and misled lets its search find the worse augmentation.
MOVING = small_study(
    budget=SMALLEST | {"refine": 2},
    nuisances=dict(PLAIN.nuisances) | {"learning_rate": Range(low=0.5, high=2.0, log=True)},
)
ACCURACY = by_level({"dropout": 0.1, "light": 0.2, "small_cnn": 0.1, "head": 0.05})


def misled(planned: Planned, epoch: int) -> float | None:
    return BONUS(planned, epoch - 30 * (planned.phase == "search" and planned.factors["augmentation"] == "light"))


STUDIES = ((PLAIN, ACCURACY), (small_study(CONDITIONAL, SMALLEST), ACCURACY), (WHOLE, ACCURACY), (MOVING, misled))
TEAM = replace(BASE, workers=2)

Known = tuple[str | None, str, list[tuple[int, ledger.Row]], Planned]


def told(course: StudyState) -> dict[str, Known]:
    """Everything that must not depend on how often the study was killed."""
    return {
        trial: (record.status, record.error, sorted(record.rows.items()), record.planned)
        for trial, record in course.records.items()
    }


def verdicts(out: Path) -> list[ledger.Verdict]:
    return ledger.read_verdicts(out)


def test_phases_follow_each_other_and_every_trial_is_run_once(tmp_path: Path) -> None:
    course = begin(tmp_path, small_study())
    jobs = drive(course, BONUS)
    assert phases_of(jobs) == ["search", "refine", "confirm", "test"]
    assert course.phase == "done"
    assert max(Counter(jobs).values()) == 1
    # 3 settings in the winner's neighborhood with 2 points each; 3 settings with 2 seeds each, tested once.
    assert Counter(job.trial.split("-")[0] for job in jobs if job.task == "train") == {
        "search": 12,
        "refine": 6,
        "confirm": 6,
    }
    assert sum(job.task == "test" for job in jobs) == 6
    assert not list((tmp_path / "checkpoints").glob("*.safetensors"))


def test_with_several_at_once_only_what_is_decided_begins(tmp_path: Path) -> None:
    running: dict[str, Planned] = {}

    def hear(event: str, record: ledger.Record) -> None:
        if event == "start":
            assert {planned.phase for planned in running.values()} <= {record.planned.phase}
            running[record.planned.trial] = record.planned
        elif event in ("end", "tested"):
            running.pop(record.planned.trial)

    jobs = drive(begin(tmp_path / "five", small_study(), hear), BONUS, at_once=5)
    assert not running
    assert phases_of(jobs)[-1] == "test"
    alone = drive(begin(tmp_path / "one", small_study()), BONUS)
    assert set(alone) == set(jobs)


def test_confirmed_settings_stand_for_the_levels_whose_setting_they_are(tmp_path: Path) -> None:
    course = begin(tmp_path, small_study())
    drive(course, BONUS)
    stood_for = {tuple(sorted(course.records[t].planned.factors.items())): s for t, s in course.stands_for.items()}
    assert stood_for == {
        (("augmentation", "light"), ("regularizer", "dropout")): ("regularizer=dropout", "augmentation=light"),
        (("augmentation", "light"), ("regularizer", "none")): ("regularizer=none",),
        (("augmentation", "none"), ("regularizer", "dropout")): ("augmentation=none",),
    }


def test_stopped_trials_have_a_verdict_and_audited_ones_run_to_the_end(tmp_path: Path) -> None:
    course = begin(tmp_path, small_study(budget={"trials": 24}))
    drive(course, BONUS)
    search = course.of_phase("search")
    stopped = {record.planned.trial: max(record.rows) for record in search if record.status == "stopped"}
    assert stopped
    assert stopped == {each.trial: each.epoch for each in verdicts(tmp_path) if not each.go_on}
    assert all(record.status == "completed" for record in search if record.planned.audit)
    assert all(record.status == "completed" for record in course.records.values() if record not in search)


@settings(max_examples=15)
@given(
    deaths=st.lists(st.tuples(st.integers(0, 150), st.booleans()), min_size=1, max_size=3),
    kind=st.sampled_from(STUDIES),
    base=st.sampled_from([BASE, TEAM]),
)
def test_killed_at_any_write_it_comes_to_the_same_rows_and_verdicts(
    deaths: list[tuple[int, bool]], kind: tuple[Study, Accuracy], base: Base
) -> None:
    study, accuracy = kind
    with TemporaryDirectory() as one, TemporaryDirectory() as other:
        undisturbed = begin(Path(one), study, base=base)
        drive(undisturbed, accuracy)
        assert {record.status for record in undisturbed.records.values()} <= {"completed", "stopped"}
        for lives, after in deaths:
            killed(begin(Path(other), study, base=base), accuracy, lives, after)
        resumed = begin(Path(other), study, base=base)
        drive(resumed, accuracy)
        assert told(resumed) == told(undisturbed)
        assert verdicts(Path(other)) == verdicts(Path(one))
        assert resumed.stands_for == undisturbed.stands_for
        assert resumed.decisions == undisturbed.decisions
        assert resumed.winner is not None
        assert resumed.winner is resumed.records[resumed.winner.planned.trial]
        assert ledger.read_openings(Path(other)) == ledger.read_openings(Path(one)), "of models with the same bits"
        assert ledger.repeated_epochs(Path(other)) <= len(deaths), "a kill costs the epoch that it hits"
        assert not list(Path(other).glob("checkpoints/*.safetensors"))
        third = begin(Path(other), study, base=base)
        assert told(third) == told(resumed), "what another process reads is what was known"


@settings(max_examples=6)
@given(lives=st.integers(0, 90), at_once=st.integers(2, 4))
def test_killed_with_several_at_once_no_row_changes_and_no_verdict_is_taken_twice(lives: int, at_once: int) -> None:
    with TemporaryDirectory() as one, TemporaryDirectory() as other:
        undisturbed = begin(Path(one), PLAIN)
        drive(undisturbed, BONUS)
        assert killed(begin(Path(other), PLAIN), BONUS, lives, at_once=at_once)
        before = verdicts(Path(other))
        resumed = begin(Path(other), PLAIN)
        drive(resumed, BONUS, at_once)
        assert verdicts(Path(other))[: len(before)] == before
        assert max(Counter((each.trial, each.epoch) for each in verdicts(Path(other))).values()) == 1
        assert ledger.repeated_epochs(Path(other)) <= at_once
        for trial in resumed.records.keys() & undisturbed.records.keys():
            rows, others = resumed.records[trial].rows, undisturbed.records[trial].rows
            assert all(rows[epoch] == others[epoch] for epoch in rows.keys() & others.keys())


def test_a_study_that_widens_and_moves_is_among_those_that_are_killed(tmp_path: Path) -> None:
    course = begin(tmp_path, MOVING)
    drive(course, misled)
    assert {decision["kind"] for decision in course.decisions} >= {"base", "widen", "move", "recommend"}


def test_control_and_retrain_follow_the_confirmation_and_leave_a_model_each(tmp_path: Path) -> None:
    course = begin(tmp_path, WHOLE)
    jobs = drive(course, ACCURACY, at_once=2)
    assert phases_of(jobs) == ["search", "refine", "confirm", "control", "retrain", "test"]
    assert (len(course.of_phase("control")), len(course.of_phase("retrain"))) == (3, 1)
    models = {path.stem for path in (tmp_path / "models").glob("*.safetensors")}
    assert models == {job.trial for job in jobs if job.task == "test"}
    assert models == {r.planned.trial for phase in ("confirm", "control", "retrain") for r in course.of_phase(phase)}


def test_a_model_is_that_of_the_best_epoch_even_where_the_last_came_before_a_kill(tmp_path: Path) -> None:
    def peaks_at_first(planned: Planned, epoch: int) -> float | None:
        return BONUS(planned, 5 - epoch)

    whole = begin(tmp_path / "whole", PLAIN)
    with mortal(10_000) as writes:
        drive(whole, peaks_at_first)
    model = next(place for place, path in enumerate(writes) if path.parent.name == "models")
    assert killed(begin(tmp_path / "out", PLAIN), peaks_at_first, model)
    drive(begin(tmp_path / "out", PLAIN), peaks_at_first)
    path = model_file(tmp_path / "out", writes[model].stem)
    assert load_tensors(path)["epochs"].tolist() == [1.0]
    assert path.read_bytes() == writes[model].read_bytes()


def test_of_workers_that_train_together_rank_0_writes_what_one_worker_alone_would(tmp_path: Path) -> None:
    written = []
    for base, out in ((BASE, tmp_path / "alone"), (TEAM, tmp_path / "team")):
        with mortal(10_000) as writes:
            course = begin(out, WHOLE, base=base)
            drive(course, ACCURACY)
        written.append(Counter(path.relative_to(out) for path in writes))
        assert {row["seconds"] for record in course.records.values() for row in record.rows.values()} == {0.5}
    assert written[0] == written[1]


def test_a_verdict_that_was_recorded_is_replayed_and_not_retaken(tmp_path: Path) -> None:
    study = PLAIN
    with mortal(10_000) as writes:
        drive(begin(tmp_path / "whole", study), BONUS)
    taken = [position for position, path in enumerate(writes) if path.parent.name == "verdicts"]
    assert len(taken) == 10
    for position in taken[::4]:
        out = tmp_path / str(position)
        assert killed(begin(out, study), BONUS, position, after=True)  # recorded, and then nothing more
        recorded = len(verdicts(out))
        with mortal(10_000) as later:
            drive(begin(out, study), BONUS)
        assert sum(path.parent.name == "verdicts" for path in later) == 10 - recorded
        assert verdicts(out) == verdicts(tmp_path / "whole")


def test_a_finished_study_has_nothing_left_to_do(tmp_path: Path) -> None:
    drive(begin(tmp_path, small_study()), BONUS)
    assert drive(begin(tmp_path, small_study()), BONUS) == []


def test_torn_temporary_files_in_the_ledger_are_no_objects(tmp_path: Path) -> None:
    course = begin(tmp_path, small_study())
    drive(course, BONUS)
    objects = list((tmp_path / LEDGER).rglob("*.json"))
    for path in objects:
        path.with_name(f".{path.name}.77").write_text('{"torn": ')
    again = begin(tmp_path, small_study())
    assert told(again) == told(course)
    assert drive(again, BONUS) == []
    assert ledger.write_error(tmp_path, "search-0001", 0, "x") == 1  # a torn one is not counted


def test_rows_and_settings_are_plain_json_on_disk(tmp_path: Path) -> None:
    study = small_study(
        {"learning_rate": [0.1, 1], "batch_size": [8, 16]},
        nuisances={},
        fixed={"size": 16, "split": "60-20-20", "backbone": "small_cnn", "unfreeze": "all"},
    )
    course = begin(tmp_path, study)
    drive(course, lambda planned, epoch: planned.factors["learning_rate"] / 2 + planned.factors["batch_size"] / 100)
    again = begin(tmp_path, study)
    assert told(again) == told(course)
    assert {json.dumps(list(s)) for s in course.stands_for.values()} == {
        '["learning_rate=0.1"]',
        '["learning_rate=1", "batch_size=16"]',
        '["batch_size=8"]',
    }


def test_a_checkpoint_left_by_an_ended_trial_goes_away(tmp_path: Path) -> None:
    whole = begin(tmp_path / "whole", PLAIN)
    with mortal(10_000) as writes:
        drive(whole, BONUS)
    end = next(place for place, path in enumerate(writes) if path.parent.name == "ends")
    assert killed(begin(tmp_path / "out", PLAIN), BONUS, end, after=True)
    checkpoint = checkpoint_file(tmp_path / "out", writes[end].stem)
    assert checkpoint.exists()
    begin(tmp_path / "out", PLAIN)
    assert not checkpoint.exists()
