"""Storage that gave out, an image that is gone: no trial is to blame, so the study stops and none is failed for it."""

import os
from collections.abc import Iterator

from trainables.errors import Unavailable
from trainables.storage_errors import gave_out


def unavailable(problem: BaseException | None) -> Unavailable | None:
    """What `problem`, or what it came from, says is missing for every trial; None where it is about one alone."""
    for each in (chain := list(_chain(problem))):
        if isinstance(each, Unavailable):
            return each
    for each in chain:
        if (number := gave_out(each)) is not None:
            file = getattr(each, "filename", None)
            room = "".join(f" ({note})" for note in getattr(each, "__notes__", ()))
            return Unavailable(f"{os.strerror(number)}{f' at {file}' if file else ''}{room}: put that right.")
    return None


def _chain(problem: BaseException | None) -> Iterator[BaseException]:
    while problem is not None:
        yield problem
        problem = problem.__cause__ or problem.__context__
