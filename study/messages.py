"""Progress messages: Python logging to standard error, as much of it as --quiet and --verbose ask for."""

import logging
import sys


class _StandardError(logging.StreamHandler):
    """Write to what `sys.stderr` is when a message comes: notebooks and tests replace it."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


log = logging.getLogger("study")
log.propagate = False  # a root handler, as notebooks have one, would print every line twice
log.setLevel(logging.INFO)
if not log.handlers:
    log.addHandler(_StandardError(sys.stderr))


def set_verbosity(quiet: bool, verbose: bool) -> None:
    """Print warnings only, or also every step; without both flags, what a study finds and decides."""
    log.setLevel(logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO)


def is_quiet() -> bool:
    return not log.isEnabledFor(logging.INFO)
