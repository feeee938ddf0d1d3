"""How far a study is, and how long it still takes: the cost model, corrected by what this process has measured.

The cost model gives every trial its work, in expected seconds on one worker. The seconds that workers really took per
second of work are a setting's rate. A setting that is not measured yet has the rate of all settings.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heapreplace
from itertools import islice
from typing import Literal, NamedTuple, Protocol

from study.estimates.costs import PhaseCost
from study.persistence.ledger import Event, Record
from study.results import Phase, Status
from study.schedule.state import Step

Stage = Phase | Literal["test"]
Setting = tuple[str, ...]  # levels of the factors
Works = defaultdict[Setting, float]  # the work of trials, by setting
_TEST: Setting = ("test",)  # in place of a setting: the tests of all models
_TESTED: tuple[Phase, ...] = ("confirm", "control", "retrain", "published")  # their models see the test fold

# What is expected weighs like measurements: of this share of all work for the rate of all settings, of this many trials
# for the rate of one setting, and of this many trials for the epochs at which ASHA stops a trial.
_PRIOR, _PRIOR_OF_SETTING, _PRIOR_OF_STOPPING = 0.05, 1, 4
# The assumption that every worker is busy weighs like this many seconds.
_PRIOR_OF_WORKERS = 30.0
# Above this many trials per worker, the order in which they run does not matter.
_MANY = 8
# What a process needs before its first epoch.
_IMPORT_SECONDS = 15.0
# After the last test: the export of the model, the examples and the report.
_LAST_SECONDS = 10.0


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
class _Job:
    """A trial or a test that runs."""

    stage: Stage
    setting: Setting
    work: float  # of an epoch, or of the test
    epochs: int  # done
    left: float  # epochs; 1 before the end of a test
    since: float  # time of the last report
    warm: bool  # whether its process has done its imports


class Progress:
    """Count the trials of a study, and estimate the time that it still takes.

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
        self.prior = _PRIOR * sum(cost.seconds for cost in costs)
        self.stopping = _Stopping(expected=sum(cost.epochs for cost in costs if cost.phase == "search"))
        self.works: dict[str, float] = {}  # of the registered trials
        self.measured: defaultdict[Setting, _Measured] = defaultdict(_Measured)
        self.total = _Measured()
        self.mean = 1.0  # rate of all settings
        self.leader: tuple[float, str] | None = None  # score and trial of the refinement's and confirmation's best
        self.jobs: dict[str, _Job] = {}
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
        counts = [Counts(stage, self._planned(stage), phase.ended) for stage, phase in self.phases.items()]
        return [each for each in counts if each.planned]

    def seconds_left(self) -> float:
        """Return the expected time to the end of the study."""
        at_once, self.mean = self._at_once(), self._mean()
        return sum(self._seconds_of(stage, at_once) for stage in self.phases) + _LAST_SECONDS

    def _register(self) -> None:
        """Take in the records that are new since the last event."""
        if self.course.phase == "test" and self.to_test is None:
            self.to_test = len(self.course.shown())
        if len(self.course.records) == len(self.works):
            return
        for record in islice(self.course.records.values(), len(self.works), None):
            phase, setting = self.phases[record.planned.phase], _setting(record)
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

    def _start(self, record: Record, now: float) -> _Job:
        self.started += 1
        warm = self.started > self.workers
        if record.status is not None:
            return _Job("test", _TEST, self._trial_work("test"), 0, 1, now, warm)
        setting, work = _setting(record), self.works[record.planned.trial]
        most, done = record.config["epochs"], len(record.rows)
        self._waiting_of(record)[setting] -= work
        epochs = most * self.stopping.share() if _may_stop(record) else most
        return _Job(record.planned.phase, setting, work / most, done, max(0.0, epochs - done), now, warm)

    def _measure(self, job: _Job, epochs: int, is_tested: bool, now: float) -> None:
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

    def _planned(self, stage: Stage) -> int:
        """Return the expected trials until the phase is over, or the registered ones if they are more."""
        phase, steps = self.phases[stage], self.course.steps
        if stage == "test":
            tested: list[Phase] = [name for name in _TESTED if name in self.phases]
            shown = sum(self._planned(name) - self.phases[name].ended["failed"] for name in tested)
            return max(phase.ended.total(), shown if self.to_test is None else self.to_test)
        is_over = self.course.phase != "" and steps.index(self.course.phase) > steps.index(stage)
        return phase.registered if is_over else max(phase.trials, phase.registered)

    def _seconds_of(self, stage: Stage, at_once: float) -> float:
        """Return the expected time until a phase is over."""
        running = [self._seconds_of_job(job) for job in self.jobs.values() if job.stage == stage]
        groups = [*self._waiting(stage), self._unregistered(stage)]
        if sum(trials for trials, _ in groups) > _MANY * self.workers:
            return (sum(running) + sum(trials * seconds for trials, seconds in groups)) / at_once
        return makespan(running, [seconds for trials, seconds in groups for _ in range(round(trials))], self.workers)

    def _seconds_of_job(self, job: _Job) -> float:
        """Return the time that a job still takes. However long an epoch takes, the later ones are still to come."""
        epoch = job.work * self._rate(job.setting)
        return max(job.left * epoch - (self.clock() - job.since), (job.left - 1) * epoch, 0.0)

    def _waiting(self, stage: Stage) -> list[tuple[float, float]]:
        """Return the number of registered trials that have not started, and the seconds of each, by setting."""
        phase, groups = self.phases[stage], []
        share = self.stopping.share() if phase.stoppable else 1.0
        for waiting, part in ((phase.waiting, 1.0), (phase.stoppable, share)):
            for setting, work in waiting.items():
                trial = self.measured[setting].trial
                groups.append((work / trial if trial else 0.0, trial * part * self._rate(setting)))
        return groups

    def _unregistered(self, stage: Stage) -> tuple[int, float]:
        """Return the number of trials of a phase that are not registered yet, and the expected seconds of each.

        The cost model averages over possible winners of the search. The refinement has the levels of the actual one,
        as the confirmation will. The control and the retrained model repeat the winner of the confirmation.
        """
        phase, planned = self.phases[stage], self._planned(stage)
        if stage == "test":
            running = sum(job.stage == "test" for job in self.jobs.values())
            waiting = planned - phase.ended.total() - running
            return max(0, waiting), self._trial_work("test") * self._rate(_TEST)
        missing = planned - phase.registered
        if missing <= 0:
            return 0, 0.0
        if stage in ("control", "retrain") and self.leader is not None:
            winner = self.course.records[self.leader[-1]]
            return missing, self.works[winner.planned.trial] * self._rate(_setting(winner))
        # Not the mean of the registered trials, because cheap levels are decided first.
        expected = planned * self._trial_work(stage) * self._refined_rate()
        known = sum(work * self._rate(setting) for setting, work in phase.known.items())
        return missing, max(0.0, expected - known) / missing

    def _trial_work(self, stage: Stage) -> float:
        """Return the expected work of a trial whose setting is not known yet."""
        work, refined = self.phases[stage].work, self.phases.get("refine")
        if stage in ("search", "refine") or refined is None or not refined.registered or not refined.work:
            return work
        return work * sum(refined.known.values()) / refined.registered / refined.work

    def _rate(self, setting: Setting) -> float:
        """Return the seconds of a worker for one expected second of work."""
        measured = self.measured[setting]
        prior = _PRIOR_OF_SETTING * measured.trial
        return (measured.seconds + prior * self.mean) / (measured.work + prior) if measured.work + prior else self.mean

    def _mean(self) -> float:
        """Return the rate of all settings. An epoch that takes longer than expected counts before it is reported."""
        work, seconds = self.total.work + self.prior, self.total.seconds + self.prior
        rate = seconds / work if work else 1.0
        for job in self.jobs.values():
            passed = self.clock() - job.since - (0.0 if job.warm else _IMPORT_SECONDS)
            if passed > job.work * rate:
                work, seconds = work + job.work, seconds + passed
        return seconds / work if work else 1.0

    def _refined_rate(self) -> float:
        """Return the mean rate of the refinement's settings, weighted by their work."""
        known = self.phases["refine"].known if "refine" in self.phases else {}
        work = sum(known.values())
        return sum(part * self._rate(setting) for setting, part in known.items()) / work if work else self.mean

    def _at_once(self) -> float:
        """Return how many trials have run at once on average."""
        if self.began is None:
            return self.workers
        now = self.clock()
        busy = self.busy + sum(now - job.since for job in self.jobs.values())
        return max(1.0, (busy + _PRIOR_OF_WORKERS * self.workers) / (now - self.began + _PRIOR_OF_WORKERS))


def makespan(running: Sequence[float], waiting: Sequence[float], workers: int) -> float:
    """Return the time until everything is done, if each worker that is free takes the next of those that wait.

    Args:
        running: seconds that each running job still takes.
        waiting: seconds of each job.
    """
    free = [*running, *[0.0] * (workers - len(running))]
    heapify(free)
    for seconds in waiting:
        heapreplace(free, free[0] + seconds)
    return max(free)


def _setting(record: Record) -> Setting:
    """Return the levels of a trial, which determine its work, or the name of its published configuration."""
    return record.planned.published, *map(str, record.planned.factors.values())


def _may_stop(record: Record) -> bool:
    """Return whether ASHA may stop a trial."""
    return record.planned.phase == "search" and not record.planned.audit
