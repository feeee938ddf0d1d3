"""How long a study still takes: the cost model, corrected by what this process has measured.

The cost model gives every trial its work, in expected seconds on one worker. The seconds that workers really took per
second of work are a setting's rate. A setting that is not measured yet has the rate of all settings.
"""

from collections.abc import Sequence
from heapq import heapify, heapreplace

from study.estimates.costs import END_SECONDS
from study.results import Phase
from study.schedule.time_limit import PhaseLeft, must_end
from study.tracking.progress import TEST, Job, Progress, Setting, Stage, setting_of

# What is expected weighs like measurements: of this share of all work for the rate of all settings, and of this many
# trials for the rate of one setting.
_PRIOR, _PRIOR_OF_SETTING = 0.05, 1
# The assumption that every worker is busy weighs like this many seconds.
_PRIOR_OF_WORKERS = 30.0
# Above this many trials per worker, the order in which they run does not matter.
_MANY = 8
# A limit looks at the progress this often in its time.
_LOOKS = 200
# What a process needs before its first epoch.
_IMPORT_SECONDS = 15.0


def seconds_left(progress: Progress) -> float:
    """Return the expected time to the end of the study."""
    at_once = _at_once(progress)
    return sum(_seconds_of(progress, stage, at_once) for stage in progress.phases) + END_SECONDS


class TimeLimit:
    """The time that a study with --hours has left, and when its phases must end.

    Args:
        seconds: wall time from now to the limit.
    """

    def __init__(self, progress: Progress, seconds: float) -> None:
        self.progress = progress
        began = progress.clock()
        self.ends = began + seconds - END_SECONDS
        self.next_look, self.between = began, seconds / _LOOKS

    def must_end(self, phase: Phase, together: int = 1) -> bool:
        """Return whether this phase must hand out no more trials. `together`: see `time_limit.must_end`."""
        progress = self.progress
        now = progress.clock()
        if now < self.next_look:  # with thousands of trials a look takes a second
            return False
        self.next_look = now + self.between
        running = sum(_seconds_of_job(progress, job) for job in progress.jobs.values()) / progress.workers
        return must_end(phase, self.ends - now - running, _phases_left(progress), progress.workers, together)


def _phases_left(progress: Progress) -> list[PhaseLeft]:
    """Return what is left of each phase beside the running trials, at the rates measured so far."""
    left = []
    for stage, phase in progress.phases.items():
        groups = [] if progress.is_over(stage) else _groups(progress, stage)
        trials, seconds = sum(trials for trials, _ in groups), sum(trials * seconds for trials, seconds in groups)
        known = sum(work * _rate(progress, setting) for setting, work in phase.known.items())
        each = known / phase.registered if phase.registered else 0.0
        left.append(PhaseLeft(stage, phase.ended.total(), round(trials), seconds, each))
    return left


def _seconds_of(progress: Progress, stage: Stage, at_once: float) -> float:
    """Return the expected time until a phase is over."""
    if progress.is_over(stage):
        return 0.0
    running = [_seconds_of_job(progress, job) for job in progress.jobs.values() if job.stage == stage]
    groups = _groups(progress, stage)
    if sum(trials for trials, _ in groups) > _MANY * progress.workers:
        return (sum(running) + sum(trials * seconds for trials, seconds in groups)) / at_once
    return makespan(running, [seconds for trials, seconds in groups for _ in range(round(trials))], progress.workers)


def _seconds_of_job(progress: Progress, job: Job) -> float:
    """Return the time that a job still takes. However long an epoch takes, the later ones are still to come."""
    epoch = job.work * _rate(progress, job.setting)
    return max(job.left * epoch - (progress.clock() - job.since), (job.left - 1) * epoch, 0.0)


def _groups(progress: Progress, stage: Stage) -> list[tuple[float, float]]:
    """Return the number of trials that have not started, and the seconds of each, for groups of trials of a phase."""
    return [*_waiting(progress, stage), _unregistered(progress, stage)]


def _waiting(progress: Progress, stage: Stage) -> list[tuple[float, float]]:
    """Return the number of registered trials that have not started, and the seconds of each, by setting."""
    phase, groups = progress.phases[stage], []
    share = progress.stopping.share() if phase.stoppable else 1.0
    for waiting, part in ((phase.waiting, 1.0), (phase.stoppable, share)):
        for setting, work in waiting.items():
            trial = progress.measured[setting].trial
            groups.append((work / trial if trial else 0.0, trial * part * _rate(progress, setting)))
    return groups


def _unregistered(progress: Progress, stage: Stage) -> tuple[int, float]:
    """Return the number of trials of a phase that are not registered yet, and the expected seconds of each.

    The cost model averages over possible winners of the search. The refinement has the levels of the actual one,
    as the confirmation will. The control and the retrained model repeat the winner of the confirmation.
    """
    phase, planned = progress.phases[stage], progress.planned(stage)
    if stage == "test":
        running = sum(job.stage == "test" for job in progress.jobs.values())
        waiting = planned - phase.ended.total() - running
        return max(0, waiting), progress.trial_work("test") * _rate(progress, TEST)
    missing = planned - phase.registered
    if missing <= 0:
        return 0, 0.0
    if stage in ("control", "retrain") and progress.leader is not None:
        winner = progress.course.records[progress.leader[-1]]
        return missing, progress.works[winner.planned.trial] * _rate(progress, setting_of(winner))
    # Not the mean of the registered trials, because cheap levels are decided first.
    expected = planned * progress.trial_work(stage) * _refined_rate(progress)
    known = sum(work * _rate(progress, setting) for setting, work in phase.known.items())
    return missing, max(0.0, expected - known) / missing


def _rate(progress: Progress, setting: Setting) -> float:
    """Return the seconds of a worker for one expected second of work."""
    measured = progress.measured[setting]
    prior, mean = _PRIOR_OF_SETTING * measured.trial, _mean(progress)
    return (measured.seconds + prior * mean) / (measured.work + prior) if measured.work + prior else mean


def _mean(progress: Progress) -> float:
    """Return the rate of all settings. An epoch that takes longer than expected counts before it is reported."""
    prior = _PRIOR * progress.expected_work
    work, seconds = progress.total.work + prior, progress.total.seconds + prior
    rate = seconds / work if work else 1.0
    for job in progress.jobs.values():
        passed = progress.clock() - job.since - (0.0 if job.warm else _IMPORT_SECONDS)
        if passed > job.work * rate:
            work, seconds = work + job.work, seconds + passed
    return seconds / work if work else 1.0


def _refined_rate(progress: Progress) -> float:
    """Return the mean rate of the refinement's settings, weighted by their work."""
    known = progress.phases["refine"].known if "refine" in progress.phases else {}
    work = sum(known.values())
    return sum(part * _rate(progress, setting) for setting, part in known.items()) / work if work else _mean(progress)


def _at_once(progress: Progress) -> float:
    """Return how many trials have run at once on average."""
    if progress.began is None:
        return progress.workers
    now = progress.clock()
    busy = progress.busy + sum(now - job.since for job in progress.jobs.values())
    return max(1.0, (busy + _PRIOR_OF_WORKERS * progress.workers) / (now - progress.began + _PRIOR_OF_WORKERS))


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
