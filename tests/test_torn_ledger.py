"""A ledger whose objects are torn: what is torn counts as never written, and is made up for; nothing begins anew."""

from pathlib import Path
from shutil import copytree
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from study.persistence import ledger
from study.persistence.ledger import LEDGER
from study.schedule.state import StudyState
from tests.courses import BASE, BONUS, SMALLEST, begin, drive, small_study
from trainables.errors import InputError

STUDY = small_study(budget=SMALLEST)
TORN = (b"", b'{"epoch": 1, "val_me', bytes(64), b"null", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"epoch": 9}')


@pytest.fixture(scope="module")
def undamaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished")
    drive(begin(out, STUDY), BONUS)
    return out


def objects(out: Path, kind: str) -> list[Path]:
    return sorted((out / LEDGER / kind).rglob("*.json"))


def rows_of(out: Path) -> dict[str, tuple]:
    return told(ledger.read_records(out))


def told(records: dict[str, ledger.Record]) -> dict[str, tuple]:
    return {name: (one.status, sorted(one.rows.items())) for name, one in records.items()}


@given(st.data())
@settings(max_examples=15)
def test_whatever_is_torn_the_study_ends_with_the_same_rows(undamaged: Path, data: st.DataObject) -> None:
    kinds = ("settings", "reports", "ends", "verdicts", "errors")
    everything = [path for kind in kinds for path in objects(undamaged, kind)]
    torn = data.draw(st.lists(st.sampled_from(everything), min_size=1, max_size=6, unique=True))
    content = data.draw(st.sampled_from(TORN))
    with TemporaryDirectory() as folder:
        out = copytree(undamaged, Path(folder) / "out")
        for path in torn:
            (out / path.relative_to(undamaged)).write_bytes(content)
        course = begin(out, STUDY)
        drive(course, BONUS)
        assert told(course.records) == rows_of(undamaged)
        assert len(ledger.read_openings(out)) == 1
        numbers = [path.stem for path in objects(out, "verdicts")]
        assert len(numbers) == len(set(numbers)) >= len(objects(undamaged, "verdicts")), "none was written over"


def test_a_torn_row_is_missing_and_its_attempt_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for attempt, value in ((1, 0.25), (2, 0.5)):
        ledger.write_report(tmp_path, "a", attempt, {"epoch": 1, "val_metric": value})
    file = tmp_path / LEDGER / "reports" / "a" / "0001-02.json"
    file.write_bytes(b"")
    assert ledger.read_reports(tmp_path, "a") == ({1: {"epoch": 1, "val_metric": 0.25}}, 2)
    ledger.read_reports(tmp_path, "a")
    assert capsys.readouterr().err == f"{file} is damaged: it counts as never written.\n"  # said once


def test_a_finished_trial_that_lost_a_row_runs_again(undamaged: Path, tmp_path: Path) -> None:
    out = copytree(undamaged, tmp_path / "out")
    lost = objects(out, "reports")[0]
    lost.write_bytes(b"")
    jobs = drive(begin(out, STUDY), BONUS)
    assert [job.trial for job in jobs if job.task == "train"] == [lost.parent.name]
    assert rows_of(out) == rows_of(undamaged)


def test_a_torn_plan_is_refused(undamaged: Path, tmp_path: Path) -> None:
    for number, content in enumerate(TORN):
        out = copytree(undamaged, tmp_path / str(number))
        (plan,) = objects(out, "plan")
        plan.write_bytes(content)
        if content == b"[]":  # is what a study with goal="best" has: nothing planned
            continue
        with pytest.raises(
            InputError, match=r"The plan .*000.json is damaged: restore a copy of it, or choose another"
        ):
            begin(out, STUDY)


def test_a_torn_opening_still_counts_and_what_comes_after_is_another(undamaged: Path, tmp_path: Path) -> None:
    out = copytree(undamaged, tmp_path / "out")
    (opening,) = objects(out, "openings")
    opening.write_bytes(b"")
    assert ledger.read_openings(out) == [{}]
    drive(begin(out, STUDY), BONUS)
    assert len(ledger.read_openings(out)) == 1, "all predictions are there: nobody looks again"
    next((out / "models").glob("*.predictions.parquet")).unlink()
    drive(begin(out, STUDY), BONUS)
    assert len(ledger.read_openings(out)) == 2


def test_the_setting_of_a_judged_trial_that_nobody_planned_is_missed(undamaged: Path, tmp_path: Path) -> None:
    out = copytree(undamaged, tmp_path / "out")
    (plan,) = objects(out, "plan")
    plan.write_text("[]")  # as of a study with goal="best"
    judged = ledger.read_verdicts(out)[0].trial
    (out / LEDGER / "settings" / f"{judged}.json").write_bytes(b"")
    with pytest.raises(
        InputError, match=f"The setting of {judged} in .*/ledger is damaged: restore a copy of it, or choose"
    ):
        StudyState(out, STUDY, BASE, None, lambda *_: None)
