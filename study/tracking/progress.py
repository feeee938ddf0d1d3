"""How far a study is: the trials of every phase, and what this process has measured of their work."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal, NamedTuple, Protocol

from study.estimates.costs import PhaseCost
from study.persistence.ledger import Event, Record
from study.results import Phase, Status
from study.schedule.state import Step

Stage = Phase | Literal["test"]
Setting = tuple[str, ...]  # levels of the factors
Works = defaultdict[Setting, float]  # the work of trials, by setting
TEST: Setting = ("test",)  # in place of a setting: the tests of all models
_TESTED: tuple[Phase, ...] = ("confirm", "control", "retrain", "published")  # their models see the test fold

# The epochs that ASHA is expected to leave a trial weigh like this many measured trials.
_PRIOR_OF_STOPPING = 4


class Course(Protocol):
    """The parts of a `StudyState` that show how far it is."""

    @property
    def records(self) -> dict[str, Record]: ...

    @property
    def phase(self) -> Step: ...

    @property
    def steps(self) -> tuple[Step, ...]: ...

    def shown(self) -> list[Record]: ...


class Counts(NamedTuple):
    """The trials of a phase, or the models of the test."""

    stage: Stage
    planned: int
    ended: Counter[Status]


@dataclass
class _Phase:
    """What is expected and known of one phase. Work is in seconds on one worker."""

    trials: int = 0  # expected
    work: float = 0.0  # expected, of a trial
    registered: int = 0
    ended: Counter[Status] = field(default_factory=Counter)
    known: Works = field(default_factory=lambda: defaultdict(float))  # all registered trials
    waiting: Works = field(default_factory=lambda: defaultdict(float))  # those that have not started
    stoppable: Works = field(default_factory=lambda: defaultdict(float))  # the same, if ASHA may stop them


@dataclass
class _Measured:
    """What this process has measured of one setting."""

    trial: float = 0.0  # work of one trial
    work: float = 0.0
    seconds: float = 0.0  # that the work took


@dataclass
class _Stopping:
    """The epochs of the search trials."""

    expected: float  # of all
    audited: int = 0  # of those that ASHA may not stop
    trials: int = 0  # those that it may
    most: int = 0  # their epochs if it stops none
    ended_most: int = 0  # the same of those that have ended
    ended: int = 0  # the epochs that these ran

    def share(self) -> float:
        """Return the share of its epochs that a trial runs if ASHA may stop it."""
        if not self.most:
            return 1.0
        expected = min(1.0, max(0.0, self.expected - self.audited) / self.most)
        prior = _PRIOR_OF_STOPPING * self.most / self.trials
        return (prior * expected + self.ended) / (prior + self.ended_most)


@dataclass
class Job:
    """A trial or a test that runs."""

    stage: Stage
    setting: Setting
    work: float  # of an epoch, or of the test
    epochs: int  # done
    left: float  # epochs; 1 before the end of a test
    since: float  # time of the last report
    warm: bool  # whether its process has done its imports


class Progress:
    """Count the trials of a study and measure them; study/tracking/eta.py estimates the time that it still takes.

    Args:
        course: the state of the study. Everything in its ledger counts.
        costs: the expected cost of each phase.
        workers: the number of trials that run at once.
        work_of: returns the expected seconds of a trial that runs to its end. It is called once for each trial.
        tested: the number of models that are already tested.
        clock: returns the time in seconds.
    """

    def __init__(
        self,
        course: Course,
        costs: Sequence[PhaseCost],
        workers: int,
        work_of: Callable[[Record], float],
        tested: int,
        clock: Callable[[], float],
    ) -> None:
        self.course, self.workers, self.work_of, self.clock = course, workers, work_of, clock
        expected: dict[Stage, _Phase] = {
            cost.phase: _Phase(cost.trials, cost.seconds / max(1, cost.trials)) for cost in costs
        }
        stages: list[Stage] = [step for step in course.steps if step not in ("", "done", "test")]
        stages.append("test")
        self.phases: dict[Stage, _Phase] = {stage: expected.get(stage, _Phase()) for stage in stages}
        self.phases["test"].ended["completed"] = tested
        self.to_test: int | None = None  # models; known when the test begins
        self.expected_work = sum(cost.seconds for cost in costs)
        self.stopping = _Stopping(expected=sum(cost.epochs for cost in costs if cost.phase == "search"))
        self.works: dict[str, float] = {}  # of the registered trials
        self.measured: defaultdict[Setting, _Measured] = defaultdict(_Measured)
        self.total = _Measured()
        self.leader: tuple[float, str] | None = None  # score and trial of the refinement's and confirmation's best
        self.jobs: dict[str, Job] = {}
        self.over: set[tuple[Stage, str]] = set()
        self.started = 0  # jobs, by this process
        self.busy = 0.0  # seconds that workers were busy, up to the last reports
        self.began: float | None = None  # when this process started its first trial
        self._register()

    def hear(self, event: Event, record: Record) -> None:
        """Take in an event."""
        now, trial = self.clock(), record.planned.trial
        self._register()
        if event == "start":
            self.began = now if self.began is None else self.began
            self.jobs[trial] = self._start(record, now)
            return
        if job := self.jobs.get(trial):
            self._measure(job, len(record.rows), event == "tested", now)
        if event != "row":
            self.jobs.pop(trial, None)
            self._end(record, "test" if event == "tested" else record.planned.phase)

    def counts(self) -> list[Counts]:
        """Return the counts of every phase that has trials or will have, in the order of the phases."""
        counts = [Counts(stage, self.planned(stage), phase.ended) for stage, phase in self.phases.items()]
        return [each for each in counts if each.planned]

    def _register(self) -> None:
        """Take in the records that are new since the last event."""
        if self.course.phase == "test" and self.to_test is None:
            self.to_test = len(self.course.shown())
        if len(self.course.records) == len(self.works):
            return
        for record in islice(self.course.records.values(), len(self.works), None):
            phase, setting = self.phases[record.planned.phase], setting_of(record)
            work = self.works[record.planned.trial] = self.work_of(record)
            phase.registered += 1
            phase.known[setting] += work
            self.measured[setting].trial = work
            if _may_stop(record):
                self.stopping.trials += 1
                self.stopping.most += record.config["epochs"]
            elif record.planned.phase == "search":
                self.stopping.audited += record.config["epochs"]
            if record.status is None:
                self._waiting_of(record)[setting] += work
            else:
                self._end(record, record.planned.phase)

    def _waiting_of(self, record: Record) -> Works:
        phase = self.phases[record.planned.phase]
        return phase.stoppable if _may_stop(record) else phase.waiting

    def _start(self, record: Record, now: float) -> Job:
        self.started += 1
        warm = self.started > self.workers
        if record.status is not None:
            return Job("test", TEST, self.trial_work("test"), 0, 1, now, warm)
        setting, work = setting_of(record), self.works[record.planned.trial]
        most, done = record.config["epochs"], len(record.rows)
        self._waiting_of(record)[setting] -= work
        epochs = most * self.stopping.share() if _may_stop(record) else most
        return Job(record.planned.phase, setting, work / most, done, max(0.0, epochs - done), now, warm)

    def _measure(self, job: Job, epochs: int, is_tested: bool, now: float) -> None:
        """Take in the work that a job did since its last report, and the time that it took.

        The first report of a process is not measured, because its imports come only once.
        """
        done = int(is_tested) if job.stage == "test" else epochs - job.epochs
        if job.warm:
            for measured in (self.measured[job.setting], self.total):
                measured.work += done * job.work
                measured.seconds += now - job.since
        self.busy += now - job.since
        job.epochs, job.left, job.since, job.warm = epochs, max(0.0, job.left - done), now, True

    def _end(self, record: Record, stage: Stage) -> None:
        if (stage, record.planned.trial) in self.over:  # an earlier process may have ended it
            return
        self.over.add((stage, record.planned.trial))
        self.phases[stage].ended[record.status or "failed"] += 1
        if stage == "search" and _may_stop(record) and record.status != "failed":
            self.stopping.ended += len(record.rows)
            self.stopping.ended_most += record.config["epochs"]
        if stage in ("refine", "confirm") and record.status == "completed":
            candidate = (record.score, record.planned.trial)
            self.leader = max(self.leader or candidate, candidate)

    def is_over(self, stage: Stage) -> bool:
        """Whether the study has gone on to a later phase; trials that --hours dropped never run."""
        now, steps = self.course.phase, self.course.steps
        return now != "" and steps.index(now) > steps.index(stage)

    def planned(self, stage: Stage) -> int:
        """Return the expected trials until the phase is over, or the registered ones if they are more."""
        phase = self.phases[stage]
        if stage == "test":
            tested: list[Phase] = [name for name in _TESTED if name in self.phases]
            shown = sum(self.planned(name) - self.phases[name].ended["failed"] for name in tested)
            return max(phase.ended.total(), shown if self.to_test is None else self.to_test)
        return phase.ended.total() if self.is_over(stage) else max(phase.trials, phase.registered)

    def trial_work(self, stage: Stage) -> float:
        """Return the expected work of a trial whose setting is not known yet."""
        work, refined = self.phases[stage].work, self.phases.get("refine")
        if stage in ("search", "refine") or refined is None or not refined.registered or not refined.work:
            return work
        return work * sum(refined.known.values()) / refined.registered / refined.work


def setting_of(record: Record) -> Setting:
    """Return the levels of a trial, which determine its work, or the name of its published configuration."""
    return record.planned.published, *map(str, record.planned.factors.values())


def _may_stop(record: Record) -> bool:
    """Return whether ASHA may stop a trial."""
    return record.planned.phase == "search" and not record.planned.audit
