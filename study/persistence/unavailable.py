"""Storage that gave out, a picture that is gone: no trial is to blame, so the study stops and none is failed for it."""

import errno
import os
import re

from trainables.errors import Unavailable

_GAVE_OUT = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.ENOTCONN}
# As the libraries that write for us say it: safetensors, then Arrow.
_NUMBER = re.compile(r"os error (\d+)|errno (\d+)", re.IGNORECASE)


def unavailable(problem: BaseException | None) -> Unavailable | None:
    """What `problem`, or what it came from, says is missing for every trial; None where it is about one alone."""
    while problem is not None:
        if isinstance(problem, Unavailable):
            return problem
        number = _error_number(problem)
        if number in _GAVE_OUT:
            file = getattr(problem, "filename", None)
            return Unavailable(f"{os.strerror(number)}{f' at {file}' if file else ''}: put that right.")
        problem = problem.__cause__ or problem.__context__
    return None


def _error_number(problem: BaseException) -> int | None:
    if isinstance(problem, OSError) and problem.errno:
        return problem.errno
    said = _NUMBER.search(str(problem)) if isinstance(problem, Exception) else None
    return int(said[1] or said[2]) if said else None
