"""Storage that gave out: full, read-only, or gone. No trial is to blame for it, so none is recorded as failed."""

import errno
import os
import re

_GAVE_OUT = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.ENOTCONN}
# As the libraries that write for us say it: safetensors, then Arrow.
_NUMBER = re.compile(r"os error (\d+)|errno (\d+)", re.IGNORECASE)


def storage_problem(problem: BaseException | None) -> OSError | None:
    """The storage's error in `problem`, or in what it came from; None where storage is not the reason."""
    while problem is not None:
        number = _error_number(problem)
        if number in _GAVE_OUT:
            file = getattr(problem, "filename", None)
            return OSError(number, os.strerror(number), *([str(file)] if file else []))
        problem = problem.__cause__ or problem.__context__
    return None


def _error_number(problem: BaseException) -> int | None:
    if isinstance(problem, OSError) and problem.errno:
        return problem.errno
    said = _NUMBER.search(str(problem)) if isinstance(problem, Exception) else None
    return int(said[1] or said[2]) if said else None
