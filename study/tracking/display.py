"""The progress of a running study: a live table on a terminal, or else a line a minute."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import Event as Signal
from threading import RLock, Thread
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from study.messages import log
from study.persistence.ledger import Event, Record
from study.results import METRIC_COLUMN
from study.tracking.eta import seconds_left
from study.tracking.progress import Counts, Progress
from study.writing import count, printable

_BAR = 20  # characters
_MINUTE = 60.0  # seconds between two lines
_FEWEST_JOBS = 2  # shown on a terminal of any height
_SHORT = {"learning_rate": "lr"}


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Stop printing when the reader has gone. The study continues."""
        self.quiet = True


@dataclass(frozen=True)
class _Job:
    """A trial or a test that runs, as shown."""

    state: str
    setting: str


class Display:
    """A listener that shows the progress of a study. Use it as a context manager around the run.

    Args:
        metric: the validation metric that selects the best trial.
        clock: returns the time in seconds.
    """

    def __init__(
        self,
        title: str,
        metric: str,
        progress: Progress,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.title, self.metric, self.progress, self.clock = printable(title), metric, progress, clock
        # In a notebook rich would print HTML, with a separate cell output for every line.
        self.console = console or _Console(stderr=True, force_jupyter=False)
        self.is_live = self.console.is_terminal and not self.console.is_dumb_terminal
        self.began = self.said = clock()
        self.jobs: dict[str, _Job] = {}
        self.best: Record | None = None
        for record in progress.course.records.values():
            self._take_best(record)
        self.lock = RLock()  # other threads draw the table and print the lines
        self.live = Live(get_renderable=self.render, console=self.console, refresh_per_second=2)
        self.over = Signal()
        self.minutes = Thread(target=self._every_minute, daemon=True)

    def __enter__(self) -> "Display":
        if self.console.quiet:
            return self
        if self.is_live:
            self.live.start()
        else:
            self._print(self.summary())
            self.minutes.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.over.set()
        self.live.stop()
        if self.minutes.ident is not None:
            self.minutes.join()
            self._print(self.summary())

    def hear(self, event: Event, record: Record) -> None:
        """Take in an event."""
        with self.lock:
            self.progress.hear(event, record)
            if event in ("start", "row"):
                self.jobs[record.planned.trial] = self._job(record)
            else:
                self.jobs.pop(record.planned.trial, None)
            self._take_best(record)
        if event in ("end", "tested") and record.status == "failed":
            self._print(self.line(record))
        elif event == "end":
            log.debug("%s", self.line(record))

    def tick(self) -> None:
        """Print the line of a minute if it is due."""
        with self.lock:
            if self.clock() - self.said >= _MINUTE:
                self.said = self.clock()
                self._print(self.summary())

    def line(self, record: Record) -> str:
        """Describe a trial that ended."""
        score = self._value(record) if record.best else "no epoch"
        error = "".join(filter(str.isprintable, " ".join(record.error.split())))
        reason = f": {error}" if error else ""
        ending = f"{record.status} after {count(len(record.rows), 'epoch')}"
        return f"{record.planned.trial} ({setting_line(record)}) {ending}, {score}{reason}"

    def summary(self) -> str:
        """Return the state of the study in one line."""
        with self.lock:
            counts = ", ".join(f"{each.stage} {_ended_of_planned(each)}" for each in self.progress.counts())
            best = f"; best so far {self._value(self.best)}" if self.best else ""
            return f"{self.title}: {self._time()}; {counts}{best}"

    def render(self) -> Group:
        """Return the state of the study as lines that fit the terminal."""
        with self.lock:
            counts, jobs = self.progress.counts(), list(self.jobs.values())
            head = Text(f"{self.title}  ", style="bold", no_wrap=True, overflow="ellipsis").append(
                self._time(), style="not bold"
            )
            table = Table.grid(padding=(0, 2), expand=True)
            table.add_column(no_wrap=True)
            table.add_column(no_wrap=True, min_width=_BAR)
            table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
            for each in counts:
                bar = ProgressBar(total=each.planned, completed=each.ended.total(), width=_BAR)
                table.add_row(each.stage, bar, _ended_of_planned(each))
            if self.best is not None:
                table.add_row("best", self._value(self.best), Text(setting_line(self.best)))
            room = max(_FEWEST_JOBS, self.console.size.height - table.row_count - 2)
            for number, job in enumerate(jobs if len(jobs) <= room else jobs[: room - 1]):
                table.add_row("" if number else "running", job.state, Text(job.setting, style="cyan"))
            if len(jobs) > room:
                table.add_row("", f"and {len(jobs) - room + 1} more", "")
            return Group(head, table)

    def _job(self, record: Record) -> _Job:
        done, epochs = len(record.rows), record.config["epochs"]
        if record.status == "completed":
            return _Job("on the test fold", setting_line(record))
        value = f", {record.best[METRIC_COLUMN]:.3f}" if record.best else ""
        return _Job(f"epoch {done} of {epochs}{value}", setting_line(record))

    def _take_best(self, record: Record) -> None:
        """Keep the record if it is the best so far. A retrained model has seen the validation images."""
        if record.best and record.planned.phase != "retrain" and (self.best is None or record.score > self.best.score):
            self.best = replace(record, rows=dict(record.rows))  # the study keeps changing the record

    def _value(self, record: Record) -> str:
        """Return the metric at the best epoch so far."""
        assert record.best is not None
        return f"{self.metric} {record.best[METRIC_COLUMN]:.3f}"

    def _time(self) -> str:
        elapsed = f"{clock(self.clock() - self.began)} elapsed"
        if self.progress.course.phase == "done":
            return elapsed
        return f"{elapsed}, about {rough(seconds_left(self.progress))} left"

    def _print(self, line: str) -> None:
        self.console.print(Text(line), soft_wrap=True)

    def _every_minute(self) -> None:
        while not self.over.wait(1):
            self.tick()


def _ended_of_planned(counts: Counts) -> str:
    """Return how many of the planned trials have ended, and how many of these were stopped or failed."""
    others = [f"{counts.ended[status]} {status}" for status in ("stopped", "failed") if counts.ended[status]]
    return f"{counts.ended.total()} of {counts.planned}" + (f" ({', '.join(others)})" if others else "")


def setting_line(record: Record) -> str:
    """Return the levels, the nuisances and the seed of a trial on one line."""
    planned = record.planned
    nuisances = [f"{_SHORT.get(name, name)} {value:.2g}" for name, value in planned.nuisances.items()]
    seed = [f"seed {planned.seed}"] if planned.seed else []
    named = [planned.published] if planned.published else []
    return printable(", ".join([*named, *map(str, planned.factors.values()), *nuisances, *seed]))


def clock(seconds: float) -> str:
    """Return a duration in words: 42 s, 3 min 07 s, 2 h 05 min."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"


def rough(seconds: float) -> str:
    """Return an estimated duration in words, no more exact than it is: 40 s, 3 min 10 s, 25 min, 2 h 05 min."""
    unit = 5 if seconds < 60 else 10 if seconds < 600 else 60 if seconds < 3600 else 300
    rounded = unit * round(seconds / unit)
    return f"{rounded // 60} min" if unit == 60 and rounded < 3600 else clock(rounded)
