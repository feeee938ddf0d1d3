"""An image that goes while a study runs: the study stops with one line, no trial is blamed, and it can go on."""

import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from study.arguments import parse
from study.design.load import load
from study.estimates.resources import Resources
from study.execution.worker import UNAVAILABLE, JobConfig, do_job, take_in
from study.persistence import ledger
from study.schedule.state import StudyState
from study.setup.prepare import Prepared, prepare_study
from study.setup.study_json import begin_study
from tests.courses import train_in_threads
from tests.tiny import make_pictures, run, write_study
from trainables.errors import Unavailable


@pytest.fixture
def begun(tmp_path: Path) -> Prepared:
    """A study that was interrupted before its first trial; then an image changed, but not its size."""
    pictures = make_pictures(tmp_path / "pictures", 5)
    chosen = parse([str(write_study(tmp_path)), "--data", str(pictures), "--cache", str(tmp_path / "cache")])
    resources = Resources(cpus=1, gpus=0, concurrent=1)
    prepared = prepare_study(load(chosen.study), chosen, resources, tmp_path / "out")
    begin_study(prepared, resources, "python -m study.run", None)
    picture = pictures / "blue" / "00.png"
    picture.write_bytes(picture.read_bytes()[:-1] + b"?")
    return prepared


def test_a_worker_says_so_and_records_no_end(begun: Prepared) -> None:
    said: list[dict[str, Any]] = []
    course = StudyState(begun.out, begun.study, begun.base, None, lambda *_: None)
    job = course.next_job()
    assert job is not None
    config = JobConfig(task=job.task, trial=job.trial, out=str(begun.out), place=begun.place, driver="here", needs=[])
    do_job(config, "here", said.append, train_in_threads)
    (line,) = (report[UNAVAILABLE] for report in said)
    assert line.endswith("00.png' changed since the data was scanned: restore it, or start a new study.")
    assert ledger.read_end(begun.out, job.trial) is None
    assert not (begun.out / ledger.LEDGER / "errors").exists()
    with pytest.raises(Unavailable, match="changed since"):
        take_in(course, job.trial, said[0])


def test_the_study_stops_with_the_line_that_lets_it_go_on(begun: Prepared, tmp_path: Path) -> None:
    places = [tmp_path / "tiny.py", "--data", tmp_path / "pictures", "--out", begun.out, "--cache", tmp_path / "cache"]
    done = run(*places, "--concurrent", 1, "--resume", expect=130)
    lines = [line for line in done.stderr.splitlines() if "changed since the data was scanned" in line]
    assert len(lines) == 1
    assert "restore it, or start a new study. Nothing is lost. Resume with: " in lines[0]
    again = shlex.split(lines[0].partition("Resume with: ")[2])
    assert Path(shutil.which(again[0]) or "").absolute() == Path(sys.executable).absolute()
    assert again[1:] == ["-m", "study.run", *map(str, places), "--concurrent", "1", "--resume"]
    assert "Traceback" not in done.stderr
    assert not (begun.out / ledger.LEDGER / "ends").exists()
    assert (begun.out / "trials.parquet").exists()
