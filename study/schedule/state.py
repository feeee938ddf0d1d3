"""The state of a running study: what is known, what runs, what comes next. It knows nothing about Ray.

Every decision is in the ledger before it takes effect, so a state that is rebuilt from the ledger continues where the
last one stopped.
"""

import hashlib
import json
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Literal, Protocol

from study.design.plan import Planned
from study.design.settings import Base, resolve
from study.persistence import ledger, storage
from study.persistence.ledger import Cut, Event, Record, Verdict
from study.persistence.trial_files import checkpoint_file, model_file, predictions_file
from study.results import Phase
from study.schedule.next_trials import CONFIRMED_BEST
from study.schedule.phases import plan
from study.schedule.refinement import FEWEST_POINTS
from study.schedule.rungs import Rung, kept_per_level, rung_epochs
from study.spec import Study
from study.study_record import DecisionRecord
from trainables.errors import InputError

Step = Phase | Literal["", "test", "done"]  # empty: the study has not begun


@dataclass(frozen=True)
class Job:
    """One piece of work for one actor: train a trial, or evaluate a confirmed model on the test fold."""

    task: Literal["train", "test"]
    trial: str


class Sampler(Protocol):
    """Draws settings for a study with goal="best"."""

    def ask(self, trial: str) -> tuple[dict[str, Any], dict[str, float]]:
        """Return the factors and nuisances to try next."""
        ...

    def tell(self, trial: str, value: float | None) -> None:
        """Take in the best value of a trial; None if it failed."""
        ...


Listener = Callable[[Event, Record], object]
# Says whether a phase must end now to keep --hours, before a number of trials that are run together or not at all.
OutOfTime = Callable[[Phase, int], bool]


class StudyState:
    """The state and the decisions of a running study.

    It calls `notify(event, record)` on every start, row, end and test, and asks `out_of_time` before each trial of the
    search.

    Raises:
        InputError: a damaged plan or setting is needed to replay the verdicts.
    """

    def __init__(
        self,
        out: Path,
        study: Study,
        base: Base,
        sampler: Sampler | None,
        notify: Listener,
        steps: tuple[Step, ...] | None = None,
        out_of_time: OutOfTime = lambda phase, together: False,
    ) -> None:
        self.steps: tuple[Step, ...] = steps or steps_of(study)
        self.out, self.study, self.base, self.sampler, self.notify = out, study, base, sampler, notify
        self.records = ledger.read_records(out)
        self.out_of_time = out_of_time
        # The plan of a cut phase may have been extended since then, which lifts the cut.
        self.cuts = {
            cut.phase: cut
            for cut in ledger.read_cuts(out)
            if cut.phase != "search" or cut.planned >= study.budget.trials
        }
        self.verdicts = {(verdict.trial, verdict.epoch): verdict for verdict in ledger.read_verdicts(out)}
        self._verdict_numbers = count(ledger.next_verdict(out))
        self._restore_judged()
        self._drop_checkpoints_of_ended()
        kept = kept_per_level(study)
        self.rungs = {epoch: Rung(study.budget.reduction, kept) for epoch in rung_epochs(study.budget)}
        for verdict in self.verdicts.values():
            self.rungs[verdict.epoch].add(self.records[verdict.trial].planned, verdict.value)
        self.phase: Step = ""
        self.stands_for: dict[str, tuple[str, ...]] = {}  # of the trials being confirmed
        self.decisions: list[DecisionRecord] = []  # those that led to the present state, in order
        self.winner: Record | None = None  # the best seed of the recommended setting, once that is chosen
        self.points: list[list[Planned]] = []  # of the present round of the refinement
        self._decided = ledger.read_decisions(out)
        self._running: set[Job] = set()
        self._begun: set[Job] = set()  # by this process, which begins no job twice
        self._queue: deque[Job] = deque()

    def next_job(self) -> Job | None:
        """Return the next job; None if it depends on running jobs, or at the end of the study."""
        job = self._waiting()
        while job is None and not self._running and self.phase != "done":
            # A phase is asked again until it plans nothing new, because its later trials depend on the first ones.
            if not self._enqueue(self._jobs_of_phase()):
                self.phase = self.steps[self.steps.index(self.phase) + 1] if self.phase else self.steps[0]
            job = self._waiting()
        if job is not None:
            self._running.add(job)
            self._begun.add(job)
            self.notify("start", self.records[job.trial])
        return job

    def reported(self, trial: str, row: ledger.Row) -> bool:
        """Take in a row. Return False if the trial must stop."""
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
        """Take in that a job has ended.

        Args:
            error: why the trial failed, if it wrote no end into the ledger.
        """
        self._running.discard(job)
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

    def of_phase(self, phase: Phase) -> list[Record]:
        return [record for record in self.records.values() if record.planned.phase == phase]

    def confirmed(self) -> list[Record]:
        """Return the completed trials that now stand for a level or a published configuration."""
        current = [record for record in self.of_phase("confirm") if record.planned.trial in self.stands_for]
        return [record for record in current + self.of_phase("published") if record.status == "completed"]

    def controls(self) -> list[Record]:
        """Return the completed control trials of the present winner."""
        completed = [record for record in self.of_phase("control") if record.status == "completed"]
        return [record for record in completed if self.winner and record.planned.arm == self.winner.planned.arm]

    def shown(self) -> list[Record]:
        """Return the models that see the test fold: the confirmed ones, the control, and the shipped one."""
        retrained = [record for record in self.of_phase("retrain") if record.status == "completed"]
        return self.confirmed() + self.controls() + retrained

    def ended_of(self, planned: list[Planned]) -> dict[str, Record] | None:
        """Return the records of planned trials by name; None if one of them has not ended.

        A trial whose setting is damaged is registered again, so that its rows and its end are found.
        """
        records = {trial.trial: self._register(trial) for trial in planned}
        return records if all(record.status is not None for record in records.values()) else None

    def decide(self, at: Mapping[str, Any], make: Callable[[], list[DecisionRecord]]) -> list[DecisionRecord]:
        """Return the decisions in a state of the study. They are made once, and recorded before they take effect."""
        state = json.dumps(at, sort_keys=True)
        if state not in self._decided:
            made = make()
            ledger.write_decisions(self.out, state, made)
            self._decided[state] = made
        return self._decided[state]

    def end_early(self, cut: Cut) -> None:
        """End a phase for lack of time. That is recorded before it takes effect."""
        ledger.write_cut(self.out, cut)
        self.cuts[cut.phase] = cut
        self._queue = deque(job for job in self._queue if job.trial not in cut.dropped)

    def kept(self, points: list[list[Planned]]) -> list[Planned]:
        """Return the trials of these points without those that were dropped for lack of time."""
        dropped = {trial for cut in self.cuts.values() for trial in cut.dropped}
        return [planned for point in points for planned in point if planned.trial not in dropped]

    def _enqueue(self, jobs: list[Job]) -> bool:
        """Queue the jobs that are new; return whether there are any."""
        new = [job for job in jobs if job not in self._begun and job not in self._queue]
        self._queue.extend(new)
        return bool(new)

    def _waiting(self) -> Job | None:
        searches = self.phase == "search" and "search" not in self.cuts
        if searches and self.out_of_time("search", 1) and self._can_end_search():
            self._cut_search()
        tunes = self.phase == "refine" and "refine" not in self.cuts and len(self.decisions) == 1  # the first round
        if tunes and self._queue and self.out_of_time("refine", len(self.points[0])):
            self._cut_refinement()
        return self._queue.popleft() if self._queue else self._sampled()

    def _jobs_of_phase(self) -> list[Job]:
        if self.phase == "test":
            return self._test_jobs()
        return [] if self.phase in ("", "done") else self._training_jobs(plan(self, self.phase))

    def _training_jobs(self, planned: list[Planned]) -> list[Job]:
        trials = [self._register(trial) for trial in planned]
        dropped = {trial for cut in self.cuts.values() for trial in cut.dropped}
        waiting = [record.planned.trial for record in trials if record.status is None]
        return [Job("train", trial) for trial in waiting if trial not in dropped]

    def _can_end_search(self) -> bool:
        """Return whether trials are left and every level has had one, without which it could not be compared."""
        waiting = {job.trial for job in self._queue}
        search = self.of_phase("search")
        if self.sampler is not None:
            return CONFIRMED_BEST <= len(search) < self.study.budget.trials
        levels, begun = (
            {level for record in records for level in record.planned.factors.items()}
            for records in (search, [record for record in search if record.planned.trial not in waiting])
        )
        return bool(waiting) and levels == begun

    def _cut_search(self) -> None:
        """End the search, except for trials that an earlier process began. The others are recorded before they go."""
        dropped = tuple(job.trial for job in self._queue if not self.records[job.trial].rows)
        self.end_early(Cut("search", self.study.budget.trials, dropped))

    def _cut_refinement(self) -> None:
        """End the first round of the refinement with the points that have begun, the same for all settings.

        At least `FEWEST_POINTS` run, because a level that was tuned at fewer is not compared.
        """
        waiting = {job.trial for job in self._queue if not self.records[job.trial].rows}
        names = [[planned.trial for planned in point] for point in self.points]
        dropped = tuple(trial for point in names[FEWEST_POINTS:] if waiting.issuperset(point) for trial in point)
        self.end_early(Cut("refine", sum(map(len, names)), dropped))

    def _test_jobs(self) -> list[Job]:
        """Return the jobs for models that are not tested yet. The opening, with all hashes, is recorded first."""
        shown = self.shown()
        storage.pull(self.out, storage.MODELS)
        if all(predictions_file(self.out, record.planned.trial).exists() for record in shown):
            return []
        models = {record.planned.trial: _file_hash(model_file(self.out, record.planned.trial)) for record in shown}
        if models not in ledger.read_openings(self.out):
            standing = {trial: list(self.stands_for.get(trial, ())) for trial in self.records}
            recommended = next((each for each in self.decisions if each["kind"] == "recommend"), None)
            ledger.write_opening(self.out, models, standing, recommended)
        return [Job("test", trial) for trial in models if not predictions_file(self.out, trial).exists()]

    def _sampled(self) -> Job | None:
        """Return the next trial of a search that is sampled instead of planned."""
        if self.sampler is None or self.phase != "search" or "search" in self.cuts:
            return None
        if len(self.of_phase("search")) >= self.study.budget.trials:
            return None
        # A trial with a damaged setting has no record, so its number is used again.
        names = (f"search-{number:04d}" for number in count(1))
        trial = next(name for name in names if name not in self.records)
        factors, nuisances = self.sampler.ask(trial)
        self._register(Planned(trial, "search", factors, nuisances))
        return Job("train", trial)

    def _restore_judged(self) -> None:
        """Restore judged trials with damaged settings from the plan, because a rung needs all of its trials."""
        judged = {trial for trial, _ in self.verdicts}
        for planned in ledger.read_plan(self.out):
            if planned.trial in judged:
                self._register(planned)
        if lost := sorted(judged - self.records.keys()):
            raise InputError(
                f"The setting of {lost[0]} in {self.out}/ledger is damaged: restore a copy of it, or choose another "
                "--out."
            )

    def _drop_checkpoints_of_ended(self) -> None:
        """Delete checkpoints of ended trials, which a kill right after the end leaves behind."""
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
        """Return the verdict on a row. An earlier verdict is replayed."""
        trial, epoch = record.planned.trial, row["epoch"]
        if (trial, epoch) not in self.verdicts:
            rung, value = self.rungs[epoch], record.score_of(row)
            verdict = Verdict(trial, epoch, value, rung.goes_on(record.planned, value))
            ledger.write_verdict(self.out, next(self._verdict_numbers), verdict)
            self.verdicts[trial, epoch] = verdict
            rung.add(record.planned, value)
        return self.verdicts[trial, epoch].go_on


STEPS: tuple[Step, ...] = ("search", "refine", "confirm", "control", "retrain", "test", "done")
STEPS_OF_PUBLISHED: tuple[Step, ...] = ("published", "test", "done")


def steps_of(study: Study) -> tuple[Step, ...]:
    return STEPS_OF_PUBLISHED if study.goal == "published" else STEPS


def _value(record: Record) -> float | None:
    return None if record.best is None or record.status == "failed" else record.score


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
