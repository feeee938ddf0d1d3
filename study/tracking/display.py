"""The progress of a running study: a live table on a terminal, or else one line per finished trial."""

import time
from collections import Counter
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from study.persistence.ledger import Event, Record
from study.results import METRIC_COLUMN, PHASES, STATUSES, Phase, Status

_BAR = 20  # characters


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Stop printing when the reader has gone. The study continues."""
        self.quiet = True


class Display:
    """A listener that shows the progress of a study. Use it as a context manager around the run.

    Args:
        metric: the validation metric that selects the best trial.
    """

    def __init__(
        self, title: str, epochs: int, expected_seconds: float, metric: str, console: Console | None = None
    ) -> None:
        self.title, self.epochs, self.expected, self.metric = title, epochs, expected_seconds, metric
        # In a notebook rich would print HTML, with a separate cell output for every line.
        self.console = console or _Console(stderr=True, force_jupyter=False)
        self.began = time.monotonic()
        self.running: dict[str, Record] = {}
        self.counts: Counter[tuple[Phase, Status]] = Counter()
        self.tested = 0
        self.best: Record | None = None
        self.live = Live(get_renderable=self.render, console=self.console, refresh_per_second=2, transient=True)

    def __enter__(self) -> "Display":
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.live.stop()

    def hear(self, event: Event, record: Record) -> None:
        """Take in an event."""
        trial = record.planned.trial
        if event in ("start", "row"):
            self.running[trial] = record
        else:
            self.running.pop(trial, None)
        if event == "end":
            self.counts[record.planned.phase, record.status or "failed"] += 1
            if not self.console.is_terminal:
                self.console.print(Text(self.line(record)), soft_wrap=True)
        self.tested += event == "tested"
        if event == "tested" and record.status == "failed":
            self.console.print(Text(self.line(record)), soft_wrap=True)
        if record.best and (self.best is None or record.score > self.best.score):
            self.best = record

    def line(self, record: Record) -> str:
        """Describe a trial that ended."""
        score = self._value(record) if record.best else "no epoch"
        error = "".join(filter(str.isprintable, " ".join(record.error.split())))
        reason = f": {error}" if error else ""
        epochs = "1 epoch" if len(record.rows) == 1 else f"{len(record.rows)} epochs"
        return f"{record.planned.trial} {record.status} after {epochs}, {score}{reason}"

    def render(self) -> Table:
        table = Table.grid(padding=(0, 2))
        table.add_row(Text(self.title, style="bold"), Text(self._time()))
        for phase in PHASES:
            if any(counted == phase for counted, _ in self.counts):
                table.add_row(phase, Text(self._phase(phase)))
        if self.tested:
            table.add_row("test", f"{self.tested} models evaluated on the test fold")
        if self.best is not None:
            table.add_row("best so far", Text(f"{self._value(self.best)}  {setting_line(self.best)}"))
        for trial, record in sorted(self.running.items()):
            done = len(record.rows)
            state = f"epoch {done} of {self.epochs}" + (f", {self._value(record)}" if record.best else "")
            progress = Table.grid(padding=(0, 1))
            progress.add_row(ProgressBar(total=self.epochs, completed=done, width=_BAR), state)
            table.add_row(Text(trial, style="cyan"), progress)
        return table

    def _value(self, record: Record) -> str:
        """Return the metric at the best epoch so far."""
        assert record.best is not None
        return f"{self.metric} {record.best[METRIC_COLUMN]:.3f}"

    def _phase(self, phase: Phase) -> str:
        parts = [
            f"{self.counts[phase, status]} {'finished' if status == 'completed' else status}"
            for status in STATUSES
            if self.counts[phase, status]
        ]
        return ", ".join(parts)

    def _time(self) -> str:
        passed = time.monotonic() - self.began
        left = max(0.0, self.expected - passed)
        return f"{clock(passed)} elapsed, about {clock(left)} left" if left else f"{clock(passed)} elapsed"


def setting_line(record: Record) -> str:
    """Return the levels and nuisances of a trial on one line."""
    planned = record.planned
    nuisances = [f"{name} {value:.2g}" for name, value in planned.nuisances.items()]
    return ", ".join([*map(str, planned.factors.values()), *nuisances])


def clock(seconds: float) -> str:
    """Return a duration in words: 42 s, 3 min 07 s, 2 h 05 min."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
