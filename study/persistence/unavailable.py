"""Failures that are not the trial's fault, such as a full disk or a missing image. They stop the study."""

import os
from collections.abc import Iterator

from trainables.errors import Unavailable
from trainables.storage_errors import gave_out


def unavailable(problem: BaseException | None) -> Unavailable | None:
    """Return what an exception, or one of its causes, says about every trial; None if it concerns one trial only."""
    chain = list(_chain(problem))
    for cause in chain:
        if isinstance(cause, Unavailable):
            return cause
    for cause in chain:
        if (number := gave_out(cause)) is not None:
            file = getattr(cause, "filename", None)
            notes = "".join(f" ({note})" for note in getattr(cause, "__notes__", ()))
            return Unavailable(f"{os.strerror(number)}{f' at {file}' if file else ''}{notes}: fix that.")
    return None


def _chain(problem: BaseException | None) -> Iterator[BaseException]:
    while problem is not None:
        yield problem
        problem = problem.__cause__ or problem.__context__
