"""The test fold is opened once, with every model named before the first look; what comes later is another opening."""

from pathlib import Path

from study.design.plan import Planned
from study.persistence import ledger
from study.products.export import shipped
from study.schedule.state import Job, StudyState
from tests.courses import BONUS, SMALLEST, Accuracy, begin, drive, killed, mortal, phases_of, small_study, work


def test_the_opening_is_recorded_before_the_first_look_with_the_hash_of_every_model(tmp_path: Path) -> None:
    course = begin(tmp_path, small_study())
    while (job := course.next_job()) is not None and job.task == "train":
        steps = drive_one(course, job, BONUS)
        assert steps
    assert job is not None
    (opening,) = ledger.read_openings(tmp_path)
    assert opening.keys() == {record.planned.trial for record in course.confirmed()}
    assert all(len(digest) == 64 for digest in opening.values())
    assert not list((tmp_path / "models").glob("*.predictions.parquet"))


def drive_one(course: StudyState, job: Job, accuracy: Accuracy) -> bool:
    for row in work(course.out, job, accuracy):
        if not course.reported(job.trial, row):
            break
    course.ended(job)
    return True


def test_an_opening_that_was_interrupted_is_the_same_opening(tmp_path: Path) -> None:
    study = small_study(budget=SMALLEST)
    whole = begin(tmp_path / "whole", study)
    with mortal(10_000) as writes:
        drive(whole, BONUS)
    for lives in range(len(writes) - 4, len(writes)):  # the opening, then three looks
        out = tmp_path / str(lives)
        assert killed(begin(out, study), BONUS, lives)
        drive(begin(out, study), BONUS)
        assert ledger.read_openings(out) == ledger.read_openings(tmp_path / "whole")
        assert len(ledger.read_openings(out)) == 1


def test_seeds_added_before_the_opening_belong_to_it_and_later_ones_are_a_second(tmp_path: Path) -> None:
    more = small_study(budget={"seeds": 3})
    before = tmp_path / "before"
    assert killed(begin(before, small_study()), BONUS, 200)
    assert not ledger.read_openings(before)
    drive(begin(before, more), BONUS)
    assert [len(models) for models in ledger.read_openings(before)] == [9]
    after = tmp_path / "after"
    drive(begin(after, small_study()), BONUS)
    jobs = drive(begin(after, more), BONUS)
    assert [len(models) for models in ledger.read_openings(after)] == [6, 9]
    assert phases_of(jobs) == ["confirm", "test"]
    assert all(job.trial.endswith("-3") for job in jobs)


def test_an_extension_that_changes_the_winner_confirms_it_and_keeps_the_rest_apart(tmp_path: Path) -> None:
    study = small_study(budget={"trials": 12})
    before = {job.trial for job in drive(begin(tmp_path, study), BONUS)}
    longer = small_study(budget={"trials": 16})
    from study.design.plan import search_plan

    ledger.write_plan(tmp_path, search_plan(longer, 16, 0)[12:])

    def late_bloomer(planned: Planned, epoch: int) -> float | None:
        late = planned.trial not in before and planned.factors["augmentation"] == "none"
        return 0.99 if late else BONUS(planned, epoch)

    course = begin(tmp_path, longer)
    drive(course, late_bloomer)
    assert {s for levels in course.stands_for.values() for s in levels} == {
        "regularizer=none",
        "regularizer=dropout",
        "augmentation=none",
        "augmentation=light",
    }
    assert set(course.stands_for) == {record.planned.trial for record in course.confirmed()}
    assert len(course.of_phase("confirm")) > len(course.confirmed())  # those of the first winner stay, unused
    assert len(ledger.read_openings(tmp_path)) == 2


def test_a_retrained_winner_sees_the_test_fold_with_the_rest(tmp_path: Path) -> None:
    course = begin(tmp_path, small_study(retrain=True))
    jobs = drive(course, BONUS)
    assert phases_of(jobs) == ["search", "refine", "confirm", "retrain", "test"]
    (retrained,) = course.of_phase("retrain")
    best = course.winner
    assert best is not None
    assert (retrained.planned.arm, retrained.planned.seed) == (best.planned.arm, best.planned.seed)
    assert (retrained.config["trains_on"], retrained.config["epochs"]) == ("train+val", 4)  # accuracy grows to the end
    (opening,) = ledger.read_openings(tmp_path)
    assert retrained.planned.trial in opening
    assert shipped(course) is retrained
    assert drive(begin(tmp_path, small_study(retrain=True)), BONUS) == []
