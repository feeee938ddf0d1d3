"""Trials and studies that fail: exceptions, a full disk, dead processes, diverged trials."""

import errno
from collections import Counter
from pathlib import Path

import pytest
import torch

from study.design.plan import Planned
from study.execution.deviations import deviations
from study.execution.worker import MOST_ERRORS, limit_gpu_memory
from study.persistence import ledger
from study.persistence.ledger import LEDGER
from tests.courses import (
    BONUS,
    SMALLEST,
    begin,
    drive,
    phases_of,
    small_study,
)
from trainables.errors import Unavailable

PLAIN = small_study(budget=SMALLEST)


def test_an_exception_is_recorded_and_the_trial_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    failures = Counter[int]()

    def fails(planned: Planned, epoch: int) -> float | None:
        failures[epoch] += planned.trial == "search-0001"
        if planned.trial == "search-0001" and epoch == 2 and failures[epoch] < MOST_ERRORS:
            raise RuntimeError("CUDA error: unspecified launch failure")
        return BONUS(planned, epoch)

    course, undisturbed = begin(tmp_path / "out", PLAIN), begin(tmp_path / "other", PLAIN)
    drive(course, fails)
    drive(undisturbed, BONUS)
    assert course.records == undisturbed.records
    assert failures == {1: 1, 2: MOST_ERRORS}
    assert len(list((course.out / LEDGER / "errors" / "search-0001").glob("*.json"))) == MOST_ERRORS - 1


def test_an_exception_that_comes_back_fails_its_trial_alone(tmp_path: Path) -> None:
    def fails(planned: Planned, epoch: int) -> float | None:
        if planned.trial == "search-0001" and epoch == 2:
            raise RuntimeError("out of memory")
        return BONUS(planned, epoch)

    course = begin(tmp_path, PLAIN)
    drive(course, fails)
    failed = [record for record in course.records.values() if record.status == "failed"]
    assert [(record.planned.trial, record.error, len(record.rows)) for record in failed] == [
        ("search-0001", "RuntimeError: out of memory", 1)
    ]


def test_memory_that_runs_out_is_told_in_one_line_with_the_way_out(tmp_path: Path) -> None:
    def fails(planned: Planned, epoch: int) -> float | None:
        if planned.trial == "search-0001":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.\nGPU 0 has\n...")
        return BONUS(planned, epoch)

    course = begin(tmp_path, PLAIN)
    drive(course, fails)
    (failed,) = [record.error for record in course.records.values() if record.status == "failed"]
    assert failed == (
        "OutOfMemoryError: the trial needs more memory than its share of the GPU: pass a larger --gpus-per-trial, or "
        "declare a smaller batch_size, micro_batch or size"
    )


def test_operations_that_may_not_repeat_are_listed_once(tmp_path: Path) -> None:
    """As on a GPU, where the worker only asks for warnings."""

    def unstable(planned: Planned, epoch: int) -> float | None:
        if planned.trial in ("search-0001", "search-0002"):
            torch.zeros(2).put_(torch.tensor([0, 1]), torch.tensor([1.0, 2.0]))
        return None if planned.trial == "search-0002" else BONUS(planned, epoch)  # a trial that fails is listed, too

    course = begin(tmp_path, PLAIN)
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        drive(course, unstable)
    finally:
        torch.use_deterministic_algorithms(False)
    assert ledger.read_nondeterministic(course.out) == {"search-0001": ["put_"], "search-0002": ["put_"]}
    assert list(deviations(course)) == [
        "trials used operations that are not deterministic on their device (put_), so a repeat may give slightly "
        "different rows"
    ]


def test_trials_on_different_devices_are_a_deviation(tmp_path: Path) -> None:
    course = begin(tmp_path, PLAIN)
    drive(course, BONUS)
    assert list(deviations(course)) == []
    ledger.write_attempt(course.out, "search-0001", "there", "NVIDIA T4")
    assert list(deviations(course)) == ["trials ran on 2 kinds of device (NVIDIA T4, cpu), which may round differently"]


@pytest.mark.parametrize(("share", "limits"), [(0.25, [0.25]), (1.0, []), (2.0, []), (0.0, [])])
def test_trials_that_share_a_gpu_get_their_part_of_its_memory(
    monkeypatch: pytest.MonkeyPatch, share: float, limits: list[float]
) -> None:
    limited: list[float] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", limited.append)
    limit_gpu_memory(share)
    assert limited == limits


def test_a_full_disk_stops_the_study_and_costs_no_trial(tmp_path: Path) -> None:
    full = True

    def fills(planned: Planned, epoch: int) -> float | None:
        if full and epoch == 2:
            raise OSError(errno.ENOSPC, "full", "f")
        return BONUS(planned, epoch)

    with pytest.raises(Unavailable, match="No space left on device at f: fix that"):
        drive(begin(tmp_path / "out", PLAIN), fills)
    assert not (tmp_path / "out" / LEDGER / "errors").exists()
    full = False
    resumed, undisturbed = begin(tmp_path / "out", PLAIN), begin(tmp_path / "other", PLAIN)
    drive(resumed, fills)
    drive(undisturbed, BONUS)
    assert resumed.records == undisturbed.records


def test_a_failed_trial_is_recorded_and_never_chosen(tmp_path: Path) -> None:
    def dropout_fails(planned: Planned, epoch: int) -> float | None:
        return None if planned.factors["regularizer"] == "dropout" and epoch == 2 else BONUS(planned, epoch)

    course = begin(tmp_path, small_study())
    drive(course, dropout_fails)
    failed = [record for record in course.records.values() if record.status == "failed"]
    assert {record.planned.factors["regularizer"] for record in failed} == {"dropout"}
    assert all(record.error == "Diverged: the loss is not finite" for record in failed)
    assert all(len(record.rows) == 1 for record in failed)
    stood_for = {level for levels in course.stands_for.values() for level in levels}
    assert stood_for == {"regularizer=none", "augmentation=none", "augmentation=light"}


def test_a_process_that_dies_for_good_is_recorded_with_what_tune_says(tmp_path: Path) -> None:
    course = begin(tmp_path, small_study())
    job = course.next_job()
    assert job is not None
    course.ended(job, "its process died 4 times")
    assert ledger.read_end(tmp_path, job.trial) == ("failed", "its process died 4 times")


def test_where_all_fail_nothing_follows_the_search(tmp_path: Path) -> None:
    course = begin(tmp_path, small_study())
    assert phases_of(drive(course, lambda planned, epoch: None)) == ["search"]
    assert course.phase == "done"
    assert course.confirmed() == []
    assert ledger.read_openings(tmp_path) == []
