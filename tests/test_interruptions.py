"""What ends a trial, what ends a study, and what ends neither: deaths, errors, storage that gives out, torn files."""

import errno
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from ray.tune.experiment import Trial
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.utils.callback import _create_default_callbacks

from study import results
from study.execution.tuning import MOST_DEATHS, MOST_FALSE_STARTS, DeathLimit, Silence, StudySearcher
from study.persistence import ledger
from study.persistence.ledger import LEDGER
from study.persistence.lock import sole_driver
from study.persistence.output_dir import withdraw
from study.persistence.unavailable import unavailable
from study.schedule.state import StudyState
from tests.courses import begin, small_study
from tests.crashes.damage import workers_of
from tests.tiny import PATIENCE, command
from trainables.errors import Unavailable
from trainables.storage_errors import writing


class Killed:
    """One job as Tune keeps it: tried again as long as it has not failed more often than it may."""

    def __init__(self, course: StudyState) -> None:
        searcher = StudySearcher.__new__(StudySearcher)
        job = course.next_job()
        assert job is not None
        searcher.state, searcher.jobs = course, {"id": job}
        self.out = course.out
        self.record, self.deaths = course.records[job.trial], DeathLimit(searcher)
        self.trial = SimpleNamespace(trial_id="id", num_failures=0, max_failures=-1)

    def dies(self, begun: bool = True) -> bool:
        """Whether it is tried again."""
        if begun:
            ledger.write_attempt(self.out, self.record.planned.trial, "node", "cpu")
        self.trial.num_failures += 1
        recovers = self.trial.max_failures < 0 or self.trial.num_failures <= self.trial.max_failures
        if recovers:
            self.deaths.on_trial_recover(0, [], self.trial)
        return recovers

    def advances(self) -> None:
        epoch = len(self.record.rows) + 1
        self.record.rows[epoch] = {"epoch": epoch}
        self.deaths.on_trial_result(0, [], self.trial, {"epoch": epoch})


@pytest.fixture
def killed(tmp_path: Path) -> Killed:
    return Killed(begin(tmp_path, small_study()))


@pytest.mark.parametrize("epochs", [0, 2])
def test_the_third_death_at_one_epoch_is_the_last(killed: Killed, epochs: int) -> None:
    for _ in range(epochs):
        killed.advances()
    assert [killed.dies() for _ in range(MOST_DEATHS)] == [True, True, False]


def test_while_epochs_advance_a_process_may_die_for_ever(killed: Killed) -> None:
    for _ in range(10):
        assert killed.dies()
        assert killed.dies()
        killed.advances()


def test_processes_that_die_before_they_begin_do_not_count(killed: Killed) -> None:
    assert killed.dies()
    assert all(killed.dies(begun=False) for _ in range(MOST_FALSE_STARTS - 1))
    assert killed.dies()
    assert not killed.dies()


def test_nothing_is_tried_for_ever_that_never_begins(killed: Killed) -> None:
    tries = [killed.dies(begun=False) for _ in range(MOST_FALSE_STARTS + 1)]
    assert tries == [True] * MOST_FALSE_STARTS + [False]


def test_a_row_that_is_told_again_is_no_advance(killed: Killed) -> None:
    killed.advances()
    assert killed.dies()
    killed.deaths.on_trial_result(0, [], killed.trial, {"epoch": 1})
    assert killed.dies()
    killed.deaths.on_trial_result(0, [], killed.trial, {"epoch": 1})
    assert not killed.dies()


def test_errors_are_counted_at_each_epoch(tmp_path: Path) -> None:
    counts = [ledger.write_error(tmp_path, "t", epoch, "x") for epoch in (0, 0, 1, 2, 1, 0)]
    assert counts == [1, 2, 1, 1, 2, 3]


def chained(*problems: Exception) -> Exception:
    for cause, problem in zip(problems[1:], problems, strict=False):
        problem.__cause__ = cause
    return problems[0]


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "/out/x"),
            "No space left on device at /out/x: fix that.",
        ),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "No space left on device: fix that."),
        (OSError("[Errno 122] Error writing bytes. Detail: [errno 122] Disk quota exceeded"), "Disk quota exceeded"),
        (chained(RuntimeError("wrapped"), OSError(errno.EROFS, "x", "f")), "Read-only file system at f"),
        (chained(ValueError("by Tune"), Unavailable("An image is gone.")), "An image is gone."),
    ],
)
def test_what_no_trial_is_to_blame_for(problem: Exception, said: str) -> None:
    found = unavailable(problem)
    assert found is not None
    assert str(found).startswith(said)


@pytest.mark.parametrize("problem", [ValueError("os error 2"), FileNotFoundError(errno.ENOENT, "x"), MemoryError()])
def test_what_a_trial_may_be_to_blame_for(problem: Exception) -> None:
    assert unavailable(problem) is None


def test_the_first_failure_is_told_and_not_what_it_led_to(tmp_path: Path) -> None:
    later = OSError(errno.ENOSPC, "x", "trials.parquet")
    later.__context__ = Unavailable("An image is gone.")
    assert str(unavailable(later)) == "An image is gone."
    with pytest.raises(OSError, match="No space") as caught, writing(tmp_path / "x", 3 * 2**20):
        raise OSError(errno.ENOSPC, "x")
    told = str(unavailable(caught.value))
    assert told.startswith(f"No space left on device at {tmp_path / 'x'} (it takes 3 MiB, and its file system /")
    assert told.endswith(" MiB left): fix that.")
    with pytest.raises(KeyError), writing(tmp_path / "x"):
        raise KeyError


def test_what_was_written_before_study_json_goes_with_the_study(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / LEDGER / "plan").mkdir(parents=True)
    (out / results.MANIFEST_FILE).write_text("")
    with sole_driver(out):
        withdraw(out)
    assert (out / LEDGER).exists()  # another process begins a study there
    withdraw(out)
    assert not out.exists()
    withdraw(out)


def test_tune_says_nothing_by_itself(capsys: pytest.CaptureFixture[str]) -> None:
    reporters = [
        each
        for each in _create_default_callbacks([Silence()], air_verbosity=None)
        if isinstance(each, TrialProgressCallback)
    ]
    trial = Trial("x", stub=True)
    for each in reporters:
        each.on_trial_complete(1, [], cast(Trial, trial))
        each.on_trial_error(1, [], cast(Trial, trial))
    assert [type(each) for each in reporters] == [Silence]
    assert capsys.readouterr() == ("", "")


# -- on a real Ray


@pytest.mark.long
def test_a_trial_whose_process_keeps_dying_is_failed_and_the_study_goes_on(shared: Path, tmp_path: Path) -> None:
    """As where memory is short: the process is gone each time before its first epoch is over."""
    out = tmp_path / "out"
    flags = ["--data", shared / "pictures", "--cache", tmp_path / "cache", "--out", out, "--concurrent", 1]
    budget = ["--trials", 3, "--epochs", 2, "--seeds", 1, "--skip-preflight"]
    process = subprocess.Popen(command(shared / "tiny.py", *flags, *budget))
    attempts = 0
    while process.poll() is None and not list((out / LEDGER / "ends").glob("[!.]*.json")):
        begun = len(list((out / LEDGER / "attempts").glob("*/[!.]*.json")))
        if begun > attempts:
            attempts = begun
            for each in workers_of(process):
                each.kill()
        time.sleep(0.005)
    assert process.wait(PATIENCE) == 0
    assert attempts == MOST_DEATHS
    failed = results.read(out).trials.query("status == 'failed'")
    assert failed["trial"].tolist() == ["search-0001"]
    assert failed["error"].str.contains(f"died {MOST_DEATHS} times at the same epoch").all()
