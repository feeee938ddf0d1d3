"""A report of a study that has only begun, or was killed before its first epoch."""

from pathlib import Path

import pytest

from analysis.report import main as report
from study.persistence import ledger
from study.products.outputs import write_tables
from study.schedule.state import StudyState
from study.setup.study_json import begin_study
from tests.tiny import Prepare


@pytest.mark.parametrize("epochs", [0, 1])
def test_it_says_what_there_is(ready: Prepare, epochs: int, capsys: pytest.CaptureFixture[str]) -> None:
    prepared, resources = ready()
    out = prepared.out
    begin_study(prepared, resources, "python -m study.run", None)
    course = StudyState(out, prepared.study, prepared.base, None, lambda *_: None)
    job = course.next_job()
    assert job is not None
    if epochs:
        row = dict.fromkeys(("train_accuracy", "val_accuracy", "val_metric"), 0.5) | {"epoch": 1, "penalty": 0.0}
        row |= dict.fromkeys(("train_cross_entropy", "val_cross_entropy", "learning_rate"), 1.0)
        row |= {"seconds": 1.0, "images_per_second": 10.0}
        ledger.write_report(out, job.trial, 1, row)
        course.reported(job.trial, row)
    write_tables(course)
    assert report([str(out)]) == 0
    assert capsys.readouterr().out == f"Nothing is confirmed yet.\n\n{out}/report.html\n"
    assert prepared.study.question in Path(out, "report.md").read_text()


def test_before_its_first_epoch_it_waits_for_one(ready: Prepare, capsys: pytest.CaptureFixture[str]) -> None:
    prepared, resources = ready()
    begin_study(prepared, resources, "python -m study.run", None)
    assert report([str(prepared.out)]) == 2
    assert "A study writes it after its first epoch" in capsys.readouterr().err
