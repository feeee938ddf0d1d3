"""Prefetching: the next batches are prepared while the device computes."""

from collections.abc import Generator, Iterator
from queue import Queue
from threading import Event, Thread
from typing import TypeVar

T = TypeVar("T")
_END = object()


def ahead(batches: Iterator[T], count: int) -> Generator[T, None, None]:
    """Yield the same batches in the same order; a thread prepares up to `count` of them in advance."""
    made: Queue = Queue(maxsize=count)
    over = Event()

    def make() -> None:
        try:
            for batch in batches:
                made.put(batch)
                if over.is_set():
                    return
            made.put(_END)
        except BaseException as problem:  # raised where the batches are used
            made.put(problem)

    Thread(target=make, daemon=True).start()
    try:
        while (batch := made.get()) is not _END:
            if isinstance(batch, BaseException):
                raise batch
            yield batch
    finally:
        over.set()
        while not made.empty():  # room for a thread that waits to put
            made.get()
