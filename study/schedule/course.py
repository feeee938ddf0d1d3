"""The course of a study: what is known, what runs, what comes next. It knows nothing of Ray.

Everything it decides is written to the ledger before it takes effect; built again from the ledger, it goes on
where it was.
"""

import hashlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from study.design.plan import Planned
from study.design.settings import Base, resolve
from study.persistence import ledger, storage
from study.persistence.ledger import Record, Verdict
from study.schedule.agenda import (
    confirm_trials,
    confirmed_winner,
    control_trials,
    has_control,
    refine_trials,
    retrain_trials,
    winner,
)
from study.schedule.rungs import Rung, rung_epochs
from study.spec import Study
from trainables.errors import InputError

PHASES = ("search", "refine", "confirm", "control", "retrain", "test", "done")
PHASES_OF_PUBLISHED = ("published", "test", "done")


@dataclass(frozen=True)
class Job:
    """One piece of work for one actor: to train a trial, or to show a confirmed model the test fold."""

    task: str  # train or test
    trial: str


class Sampler(Protocol):
    """Where the settings of a study with goal="best" come from, one by one."""

    def ask(self, trial: str) -> tuple[dict[str, Any], dict[str, float]]:
        """The factors and nuisances to try next."""
        ...

    def tell(self, trial: str, value: float | None) -> None:
        """The trial's best value; None where it failed."""
        ...


Listener = Callable[[str, Record], None]


class Course:
    """The state of a running study. `notify(event, record)` hears of every start, row, end and test."""

    def __init__(
        self,
        out: Path,
        study: Study,
        base: Base,
        sampler: Sampler | None,
        notify: Listener,
        phases: tuple[str, ...] | None = None,
    ) -> None:
        self.phases = phases or (PHASES_OF_PUBLISHED if study.goal == "published" else PHASES)
        self.out, self.study, self.base, self.sampler, self.notify = out, study, base, sampler, notify
        self.records = ledger.read_records(out)
        self.verdicts = {(verdict.trial, verdict.epoch): verdict for verdict in ledger.read_verdicts(out)}
        self._verdict_numbers = count(ledger.next_verdict(out))
        self._restore_judged()
        self._drop_checkpoints_of_ended()
        self.rungs = {epoch: Rung(study.budget.reduction) for epoch in rung_epochs(study.budget)}
        for verdict in self.verdicts.values():
            self.rungs[verdict.epoch].add(self.records[verdict.trial].planned, verdict.value)
        self.phase = ""
        self.stands_for: dict[str, tuple[str, ...]] = {}  # of the trials being confirmed
        self._running: set[Job] = set()
        self._begun: set[Job] = set()  # by this process; none is begun twice
        self._queue: deque[Job] = deque()
        self._news = False  # whether a trial ended since the decided levels were last looked for

    def next_job(self) -> Job | None:
        """The next job; None while only running ones can tell what comes next, or when all is done."""
        job = self._waiting()
        if job is None and self.phase == "refine" and self._news:
            # No worker waits for the last refined level: those that are decided are confirmed meanwhile.
            self._news = False
            self._enqueue(self._confirm_jobs())
            job = self._waiting()
        while job is None and not self._running and self.phase != "done":
            self.phase = self.phases[self.phases.index(self.phase) + 1] if self.phase else self.phases[0]
            self._enqueue(self._jobs_of_phase())
            job = self._waiting()
        if job is not None:
            self._running.add(job)
            self._begun.add(job)
            self.notify("start", self.records[job.trial])
        return job

    def reported(self, trial: str, row: ledger.Row) -> bool:
        """Take in a row; False where the trial is to stop."""
        record = self.records[trial]
        record.rows[row["epoch"]] = row
        judged = record.planned.phase == "search" and row["epoch"] in self.rungs
        go_on = self._verdict(record, row) if judged else True
        if not go_on and record.status is None:
            record.status = "stopped"
            ledger.write_end(self.out, trial, "stopped")
        self.notify("row", record)
        return go_on

    def ended(self, job: Job, error: str = "") -> None:
        """Take in that a job is over. The trial's own word in the ledger counts, else `error`."""
        self._running.discard(job)
        self._news = True
        record = self.records[job.trial]
        if job.task == "train":
            if record.status is None:
                storage.pull(self.out, ledger.end_file(job.trial))
                record.status, record.error = ledger.read_end(self.out, job.trial) or ("failed", error)
                ledger.write_end(self.out, job.trial, record.status, record.error)
            storage.drop(checkpoint_file(self.out, job.trial))
            if self.sampler is not None and record.planned.phase == "search":
                self.sampler.tell(job.trial, _value(record))
        else:
            storage.pull(self.out, ledger.end_file(job.trial))
            record.status, record.error = ledger.read_end(self.out, job.trial) or (record.status, record.error)
        self.notify("end" if job.task == "train" else "tested", record)

    def of_phase(self, phase: str) -> list[Record]:
        return [record for record in self.records.values() if record.planned.phase == phase]

    def confirmed(self) -> list[Record]:
        """The completed trials that stand for the levels as of now, or for what was published."""
        standing = [each for each in self.of_phase("confirm") if each.planned.trial in self.stands_for]
        return [each for each in standing + self.of_phase("published") if each.status == "completed"]

    def controls(self) -> list[Record]:
        """The completed trials that confirm the winner of now once more."""
        winning = confirmed_winner(self.confirmed())
        again = [record for record in self.of_phase("control") if record.status == "completed"]
        return [record for record in again if winning is not None and record.planned.arm == winning.planned.arm]

    def shown(self) -> list[Record]:
        """The models that see the test fold: the confirmed ones, their control, and the one that is shipped."""
        retrained = [record for record in self.of_phase("retrain") if record.status == "completed"]
        return self.confirmed() + self.controls() + retrained

    def _enqueue(self, jobs: list[Job]) -> None:
        self._queue.extend(job for job in jobs if job not in self._begun and job not in self._queue)

    def _waiting(self) -> Job | None:
        return self._queue.popleft() if self._queue else self._sampled()

    def _jobs_of_phase(self) -> list[Job]:
        if self.phase == "test":
            return self._test_jobs()
        if self.phase == "confirm":
            return self._confirm_jobs()
        return self._training_jobs(self._planned())

    def _training_jobs(self, planned: list[Planned]) -> list[Job]:
        trials = [self._register(each) for each in planned]
        return [Job("train", record.planned.trial) for record in trials if record.status is None]

    def _confirm_jobs(self) -> list[Job]:
        """The confirmations that are decided by now: all, once everything is refined."""
        search = self.of_phase("search")
        if winner(search) is None:
            return []
        planned = confirm_trials(self.study, search, self.of_phase("refine"))
        self.stands_for = {each.trial: each.stands_for for each in planned}
        return self._training_jobs(planned)

    def _planned(self) -> list[Planned]:
        search = self.of_phase("search")
        if self.phase == "published":
            return ledger.read_plan(self.out)
        if self.phase == "control":
            return control_trials(self.study, self.confirmed()) if has_control(self.study) else []
        if self.phase == "retrain":
            return retrain_trials(self.confirmed()) if self.study.retrain else []
        if self.phase == "search":
            return ledger.read_plan(self.out) if self.sampler is None else [record.planned for record in search]
        if self.phase != "refine" or winner(search) is None or self.sampler is not None:
            return []
        return refine_trials(self.study, search, self.base.study_seed)

    def _test_jobs(self) -> list[Job]:
        """Show the test fold to the confirmed models that have not seen it, all frozen before the first look."""
        shown = self.shown()
        storage.pull(self.out, storage.MODELS)
        if all(predictions_file(self.out, record.planned.trial).exists() for record in shown):
            return []
        models = {record.planned.trial: _file_hash(model_file(self.out, record.planned.trial)) for record in shown}
        if models not in ledger.read_openings(self.out):
            standing = {trial: list(self.stands_for.get(trial, ())) for trial in self.records}
            ledger.write_opening(self.out, models, standing)
        return [Job("test", trial) for trial in models if not predictions_file(self.out, trial).exists()]

    def _sampled(self) -> Job | None:
        """A further trial of a search that is sampled rather than planned."""
        asked = len(self.of_phase("search"))
        if self.sampler is None or self.phase != "search" or asked >= self.study.budget.trials:
            return None
        # One whose setting is torn has no record, but leaves its number free.
        names = (f"search-{number:04d}" for number in count(1))
        trial = next(name for name in names if name not in self.records)
        factors, nuisances = self.sampler.ask(trial)
        self._register(Planned(trial, "search", factors, nuisances))
        return Job("train", trial)

    def _restore_judged(self) -> None:
        """A rung needs the settings of those it has judged; the plan has those whose own object is torn."""
        judged = {trial for trial, _ in self.verdicts}
        for planned in ledger.read_plan(self.out):
            if planned.trial in judged:
                self._register(planned)
        if lost := sorted(judged - self.records.keys()):
            raise InputError(
                f"The setting of {lost[0]} in {self.out}/ledger is torn: put a copy back, or choose another --out."
            )

    def _drop_checkpoints_of_ended(self) -> None:
        """A kill right after a trial's end leaves its checkpoint, which nobody reads."""
        for trial, record in self.records.items():
            if record.status is not None and (checkpoint := checkpoint_file(self.out, trial)).exists():
                storage.drop(checkpoint)

    def _register(self, planned: Planned) -> Record:
        if planned.trial not in self.records:
            config = resolve(self.study, planned, self.base).to_dict()
            ledger.write_setting(self.out, planned, config)
            self.records[planned.trial] = ledger.read_record(self.out, planned, config)
        return self.records[planned.trial]

    def _verdict(self, record: Record, row: ledger.Row) -> bool:
        """A verdict once taken is replayed, never taken again."""
        trial, epoch = record.planned.trial, row["epoch"]
        if (trial, epoch) not in self.verdicts:
            rung, value = self.rungs[epoch], record.score_of(row)
            verdict = Verdict(trial, epoch, value, rung.goes_on(record.planned, value))
            ledger.write_verdict(self.out, next(self._verdict_numbers), verdict)
            self.verdicts[trial, epoch] = verdict
            rung.add(record.planned, value)
        return self.verdicts[trial, epoch].go_on


def checkpoint_file(out: Path, trial: str) -> Path:
    """Where a running trial stands."""
    return out / storage.CHECKPOINTS / f"{trial}.safetensors"


def model_file(out: Path, trial: str) -> Path:
    """What a confirmed trial has learned, at its best epoch."""
    return out / storage.MODELS / f"{trial}.safetensors"


def predictions_file(out: Path, trial: str) -> Path:
    """One confirmed trial's part of predictions.parquet."""
    return out / storage.MODELS / f"{trial}.predictions.parquet"


def names_of(trial: str) -> tuple[str, ...]:
    """What the work on one trial reads and writes below OUT."""
    here = Path()
    files = (checkpoint_file(here, trial), model_file(here, trial), predictions_file(here, trial))
    return *ledger.names_of(trial), *(file.as_posix() for file in files)


def _value(record: Record) -> float | None:
    return None if record.best is None or record.status == "failed" else record.score


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
