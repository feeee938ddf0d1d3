"""Progress messages: Python logging to standard error, at the level of --quiet and --verbose."""

import logging
import sys


class _StandardError(logging.StreamHandler):
    """Write to the current `sys.stderr`, which notebooks and tests replace."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


log = logging.getLogger("study")
log.propagate = False  # the root handler of a notebook would print every line twice
log.setLevel(logging.INFO)
if not log.handlers:
    log.addHandler(_StandardError(sys.stderr))


def set_verbosity(quiet: bool, verbose: bool) -> None:
    """Set the level: warnings only with `quiet`, every step with `verbose`, else findings and decisions."""
    log.setLevel(logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO)


def is_quiet() -> bool:
    return not log.isEnabledFor(logging.INFO)
