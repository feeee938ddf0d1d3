import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from tests.tiny import PATIENCE
from trainables.learning.inputs import on_gpu
from trainables.learning.prefetch import ahead


def test_batches_come_in_order_and_all_of_them() -> None:
    assert list(ahead(iter(range(100)), 3)) == list(range(100))
    assert list(ahead(iter(()), 1)) == []


def test_a_few_are_made_beforehand_and_no_more() -> None:
    made: list[int] = []

    def batches() -> Iterator[int]:
        for i in range(50):
            made.append(i)
            yield i

    taken = ahead(batches(), 2)
    assert next(taken) == 0
    until = time.monotonic() + PATIENCE
    while len(made) < 4 and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.05)
    assert len(made) == 4  # one taken, two that wait, one in the thread's hands
    before = threading.active_count()
    taken.close()
    while threading.active_count() >= before and time.monotonic() < until:
        time.sleep(0.01)
    assert threading.active_count() < before  # nobody is left behind
    assert len(made) <= 5


def test_a_problem_is_raised_where_the_batches_are_used() -> None:
    def batches() -> Iterator[int]:
        yield 1
        raise ValueError("no such image")

    taken = ahead(batches(), 2)
    assert next(taken) == 1
    with pytest.raises(ValueError, match="no such image"):
        next(taken)


def test_a_prefetching_thread_computes_on_the_gpu_of_its_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for CUDA, whose current device belongs to a thread and is the first one at its start."""
    current = threading.local()

    @contextmanager
    def device(number: int) -> Iterator[None]:
        current.device = number
        yield

    monkeypatch.setattr(torch.cuda, "device", device)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda rows: rows)
    computed_on = (torch.tensor(getattr(current, "device", 0)) for _ in range(3))
    assert [int(rows) for rows in ahead(on_gpu(1, computed_on), 2)] == [1, 1, 1]
    assert not hasattr(current, "device"), "this thread stays where it was"
