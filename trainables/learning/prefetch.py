"""Prefetch the next batches while the device computes."""

from collections.abc import Generator, Iterator
from queue import Queue
from threading import Event, Thread
from typing import TypeVar

T = TypeVar("T")
_END = object()


def ahead(batches: Iterator[T], count: int) -> Generator[T, None, None]:
    """Yield the same batches in the same order; a thread prepares up to `count` of them ahead."""
    ready: Queue = Queue(maxsize=count)
    stop = Event()

    def make() -> None:
        try:
            for batch in batches:
                ready.put(batch)
                if stop.is_set():
                    return
            ready.put(_END)
        except BaseException as problem:  # raised in the thread that uses the batches
            ready.put(problem)

    Thread(target=make, daemon=True).start()
    try:
        while (batch := ready.get()) is not _END:
            if isinstance(batch, BaseException):
                raise batch
            yield batch
    finally:
        stop.set()
        while not ready.empty():  # unblock a thread that waits for room
            ready.get()
