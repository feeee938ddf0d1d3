"""A study's course on a simulated clock: the decisions and the ledger are real, the duration of an epoch is given."""

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from study.estimates.cost_inputs import CostInputs
from study.estimates.costs import PhaseCost, Run, Shared, added_seconds, estimate
from study.estimates.sharing import worth_storing
from study.persistence import ledger
from study.persistence.ledger import Event, Record
from study.persistence.trial_files import model_file, predictions_file
from study.schedule.state import STEPS, Job, Step, StudyState
from study.spec import Study
from study.tracking.progress import Progress
from tests.courses import begin, row
from trainables.config import from_dict

Seconds = Callable[[Record, Job], float]  # of an epoch, or of a test


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Simulated:
    """A study on a clock, with its progress."""

    out: Path
    study: Study
    inputs: CostInputs
    clock: Clock = field(default_factory=Clock)
    heard: list[tuple[Event, Record]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.course: StudyState = begin(self.out, self.study, self._hear, base=self.inputs.base)
        shared: Shared = {}
        stored = worth_storing(self.study, self.inputs)
        self.costs: Sequence[PhaseCost] = estimate(self.study, self.inputs)

        def work_of(record: Record) -> float:
            config = from_dict(record.config)
            return added_seconds(Run(config, config.epochs, config.seed), self.inputs, stored, shared)

        tested = sum(predictions_file(self.out, trial).exists() for trial in self.course.records)
        self.progress = Progress(self.course, self.costs, self.inputs.workers, work_of, tested, self.clock)

    def _hear(self, event: Event, record: Record) -> None:
        self.progress.hear(event, record)
        self.heard.append((event, record))

    def run(self, seconds: Seconds) -> Iterator[float]:
        """Run it to its end, and yield the time after every event."""
        order = count()
        due: list[tuple[float, int, Job]] = []

        def fill() -> None:
            while len(due) < self.inputs.workers and (job := self.course.next_job()) is not None:
                heapq.heappush(due, (self.clock.now + seconds(self.course.records[job.trial], job), next(order), job))

        fill()
        while due:
            self.clock.now, _, job = heapq.heappop(due)
            record = self.course.records[job.trial]
            if job.task == "test":
                predictions_file(self.out, job.trial).touch()
                self.course.ended(job)
            elif self._epoch(record):
                heapq.heappush(due, (self.clock.now + seconds(record, job), next(order), job))
            else:
                self.course.ended(job)
            fill()
            yield self.clock.now

    def _epoch(self, record: Record) -> bool:
        """Report an epoch, and return whether the trial goes on."""
        trial, epochs = record.planned.trial, record.config["epochs"]
        levels = sum(hash_of(str(level)) % 7 for level in record.planned.factors.values())
        made = row(len(record.rows) + 1, 0.5 + levels / 100 + (hash_of(trial) % 97) / 1000)
        ledger.write_report(self.out, trial, 1, made)
        goes_on = self.course.reported(trial, made)
        if len(record.rows) == epochs:
            ledger.write_end(self.out, trial, "completed")
            model_file(self.out, trial).parent.mkdir(exist_ok=True)
            model_file(self.out, trial).touch()
        return goes_on and len(record.rows) < epochs


@dataclass
class Known:
    """A course of which these records are known."""

    records: dict[str, Record]
    phase: Step = "search"
    steps: tuple[Step, ...] = STEPS

    def shown(self) -> list[Record]:
        return [record for record in self.records.values() if record.planned.phase == "confirm"]


# 20 trials of 10 seconds are expected.
COSTS = [PhaseCost("search", 12, 48, 120.0), PhaseCost("refine", 4, 16, 40.0), PhaseCost("confirm", 4, 16, 40.0)]


def progress(records: Sequence[Record] = (), clock: Clock | None = None) -> Progress:
    """The progress of a study of two workers, with these records."""
    known = Known({record.planned.trial: record for record in records})
    return Progress(known, COSTS, 2, lambda record: 10.0, 0, clock or Clock())


def hash_of(name: str) -> int:
    return sum(position * ord(letter) for position, letter in enumerate(name, 1))
