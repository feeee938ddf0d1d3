"""The operations of a trial that have no deterministic implementation on its device; PyTorch only warns of them."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_WARNING = r"(\S+) does not have a deterministic implementation"


@contextmanager
def nondeterministic_operations() -> Iterator[set[str]]:
    """Yield a set that fills with the operations used within the block; their warnings are not printed."""
    found: set[str] = set()
    with warnings.catch_warnings():
        warnings.filterwarnings("always", _WARNING)  # each trial of a process must hear them
        shown = warnings.showwarning

        def note(message: Warning | str, *where: Any) -> None:
            if operation := re.match(_WARNING, str(message)):
                found.add(operation[1])
            else:
                shown(message, *where)

        warnings.showwarning = note
        yield found
