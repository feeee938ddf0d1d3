"""A study's course driven without Ray: the product's own worker does every job, with a made-up `run_trial`."""

import math
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from queue import SimpleQueue
from threading import Barrier, BrokenBarrierError, Thread
from typing import Any

import pandas as pd
import pytest
import torch

from search_spaces import optimizers, regularizers
from search_spaces.distributions import Conditional
from study.design.plan import Planned, search_plan
from study.design.settings import Base
from study.execution import worker
from study.execution.predictions import Weights
from study.execution.worker import JobConfig, RunTrial, Tell, do_job, take_in
from study.persistence import ledger, storage
from study.results import PHASES, Phase
from study.schedule.state import Job, Listener, Sampler, StudyState
from study.spec import Budget, Study
from trainables.config import TrialConfig
from trainables.learning import checkpoints
from trainables.learning.checkpoints import State
from trainables.learning.team import Team
from trainables.place import Place
from trainables.trial import Diverged, Row

BASE = Base(
    manifest="m",
    study_seed=0,
    largest_train=30,
    classes=3,
    stored_side=20,
    device="cpu",
    threads=1,
    has_bfloat16=False,
    weights="pretrained",
    weights_hashes={"tf_efficientnet_lite0": "1a7e"},
)
FACTORS: dict[str, Any] = {"regularizer": ["none", "dropout"], "augmentation": ["none", "light"]}
CONDITIONAL: dict[str, Any] = {
    "backbone": ["tf_efficientnet_lite0", "small_cnn"],
    "unfreeze": Conditional(levels=["head", "last stage"], when={"backbone": "tf_efficientnet_lite0"}, otherwise="all"),
}
FIXED: dict[str, Any] = {"size": 16, "batch_size": 8, "split": "60-20-20"}
# The accuracy of a trial after an epoch; None where it fails.
Accuracy = Callable[[Planned, int], float | None]


def phase_of(trial: str) -> Phase:
    """The phase that the name of a trial begins with."""
    return next(phase for phase in PHASES if trial.startswith(f"{phase}-"))


class Killed(BaseException):
    """The process is gone; nothing after it runs."""


class Stopped(BaseException):
    """The trial is stopped, as Tune does it: its report does not return."""


# Of a record that nobody resolved.
CONFIG = {"metric": "val_accuracy", "epochs": 4}
SMALLEST = {"trials": 10, "epochs": 2, "refine": 1, "seeds": 1}


def small_study(factors: dict[str, Any] = FACTORS, budget: dict[str, int] | None = None, **changes: Any) -> Study:
    fixed = FIXED if "backbone" in factors else FIXED | {"backbone": "small_cnn", "unfreeze": "all"}
    values: dict[str, Any] = {
        "dataset": "folder",
        "question": "Which?",
        "factors": factors,
        "nuisances": optimizers.adaptive() | (regularizers.strength_of("dropout") if "regularizer" in factors else {}),
        "fixed": fixed,
        "control": False,
        "budget": Budget(**{"trials": 12, "epochs": 4, "refine": 2, "seeds": 2} | (budget or {})),
    }
    return Study(**values | changes)


def by_level(bonus: dict[str, float]) -> Accuracy:
    """0.3, a bonus for each of the levels, and a little for every epoch and lower learning rate."""

    def accuracy(planned: Planned, epoch: int) -> float:
        levels = sum(bonus.get(str(level), 0.0) for level in planned.factors.values())
        return 0.3 + levels + 0.01 * epoch - planned.nuisances.get("learning_rate", 0.0) / 10 + planned.seed / 1000

    return accuracy


BONUS = by_level({"dropout": 0.1, "light": 0.2})


def begin(
    out: Path, study: Study, heard: Listener | None = None, sampler: Sampler | None = None, base: Base = BASE
) -> StudyState:
    """The course as a new process would build it; the plan is written the first time."""
    if sampler is None and not ledger.read_plan(out):
        ledger.write_plan(out, search_plan(study, study.budget.trials, base.study_seed))
    return StudyState(out, study, base, sampler, heard or (lambda event, record: None))


def drive(course: StudyState, accuracy: Accuracy, at_once: int = 1) -> list[Job]:
    """Run the course to its end, the running trials an epoch each in turn; the jobs in the order they began."""
    began: list[Job] = []
    running: dict[Job, Generator[ledger.Row]] = {}
    try:
        while True:
            while len(running) < at_once and (job := course.next_job()) is not None:
                began.append(job)
                running[job] = work(course.out, job, accuracy)
            if not running:
                return began
            for job, reports in list(running.items()):
                report = next(reports, None)
                if report is None or not take_in(course, job.trial, report):
                    reports.close()
                    del running[job]
                    course.ended(job)
    finally:
        for reports in running.values():
            reports.close()


def phases_of(jobs: list[Job]) -> list[str]:
    return [name for name, _ in groupby("test" if job.task == "test" else job.trial.split("-")[0] for job in jobs)]


def work(out: Path, job: Job, accuracy: Accuracy) -> Generator[ledger.Row]:
    """The reports of a job, tried again where its function raises, as Tune does it; to close this stops the job."""
    planned, _ = ledger.read_setting(out, job.trial)
    for last in (False, False, False, True):
        try:
            yield from _attempt(out, job, made_up(planned, accuracy))
            return
        except RuntimeError:  # of the kind that these tests let a trial fail with
            if last:
                raise


def _attempt(out: Path, job: Job, run: RunTrial) -> Generator[ledger.Row]:
    """The reports of one attempt, which runs in a thread of its own and waits at each until the next is asked for."""
    place = Place(manifest=out / "manifest.parquet", data=out, cache=out.with_name(f"{out.name} cache"))
    shared = storage.uri_of(out) or str(out)
    config = JobConfig(task=job.task, trial=job.trial, out=shared, place=place, driver="here", needs=[])
    reports: SimpleQueue[ledger.Row | BaseException | None] = SimpleQueue()
    goes_on: SimpleQueue[bool] = SimpleQueue()

    def wait() -> None:
        if not goes_on.get():
            raise Stopped

    def report(result: ledger.Row) -> None:
        reports.put(result)
        wait()

    def attempt() -> None:
        try:
            wait()
            do_job(config, "here", report, train_in_threads, run, predict_folds)
            reports.put(None)
        except BaseException as problem:  # raised where the reports are asked for
            reports.put(problem)

    thread = Thread(target=attempt)
    thread.start()
    try:
        while True:
            goes_on.put(True)
            result = reports.get()
            if isinstance(result, BaseException):
                raise result
            if result is None:
                return
            yield result
    finally:
        goes_on.put(False)
        thread.join()


def made_up(planned: Planned, accuracy: Accuracy) -> RunTrial:
    """A `run_trial` that computes nothing: the accuracy is given, the weights count epochs, the penalty shows them."""

    def run_trial(config: TrialConfig, place: Place, start: State | None, team: Team) -> Iterator[tuple[Row, State]]:
        state = start or State(0, 0, -math.inf, {"epochs": torch.zeros(1)}, {}, {})
        for epoch in range(state.epoch + 1, config.epochs + 1):
            team.wait()  # ranks that train together begin a step together
            value = accuracy(planned, epoch)
            if value is None:
                raise Diverged("the loss is not finite")
            weights = {"epochs": state.net["epochs"] + 1}
            best_epoch, best_score, best = state.best_epoch, state.best_score, state.best
            if value > state.best_score:
                best_epoch, best_score, best = epoch, value, weights
            state = State(epoch, best_epoch, best_score, weights, {}, best)
            yield measured(epoch, value, penalty=float(weights["epochs"]), seconds=0.5 + team.rank), state

    return run_trial


def predict_folds(config: TrialConfig, place: Place, trial: str, trained: Weights) -> pd.DataFrame:
    return pd.DataFrame({"trial": [trial], "epochs": trained["epochs"].numpy()})


@dataclass(frozen=True)
class Member(Team):
    """One of the threads that stand for the processes of a trial."""

    barrier: Barrier = field(default_factory=lambda: Barrier(1))

    def wait(self) -> None:
        self.barrier.wait()


def train_in_threads(
    work: Callable[..., None],
    job: tuple[object, ...],
    config: TrialConfig,
    run_config: dict[str, Any],
    tell: Tell,
) -> None:
    """What Ray Train does, with threads: rank 0 tells its rows here, and the other ranks wait for the answer."""
    barrier = Barrier(config.workers)
    problems: list[BaseException] = []

    def member(rank: int) -> None:
        def tell_team(row: ledger.Row) -> None:
            if rank == 0:
                tell(row)
            barrier.wait()

        try:
            work(*job, tell_team, Member(rank, config.workers, barrier))
        except BrokenBarrierError:
            pass  # another rank is gone
        except BaseException as problem:
            problems.append(problem)
            barrier.abort()

    threads = [Thread(target=member, args=[rank]) for rank in range(config.workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]


def row(epoch: int, accuracy: float) -> ledger.Row:
    return dict(measured(epoch, accuracy))


def measured(epoch: int, accuracy: float, penalty: float = 0.0, seconds: float = 0.5) -> Row:
    return Row(
        epoch=epoch,
        train_accuracy=accuracy,
        train_cross_entropy=1.0,
        penalty=penalty,
        val_accuracy=accuracy,
        val_cross_entropy=1.0,
        val_metric=accuracy,
        learning_rate=0.01,
        seconds=seconds,
        images_per_second=60.0,
    )


@contextmanager
def mortal(lives: int, after: bool = False) -> Iterator[list[Path]]:
    """Within it the process dies after `lives` writes: before the next one, or right after it. Gives those done."""
    written: list[Path] = []

    def while_alive(write: Callable[..., None]) -> Callable[..., None]:
        def written_while_alive(*arguments: object) -> None:
            path = next(each for each in arguments if isinstance(each, Path))
            if len(written) >= lives and not after:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.with_name(f".{path.name}.1").write_text("{torn")  # as far as it came
                raise Killed
            write(*arguments)
            written.append(path)
            if len(written) > lives:
                raise Killed

        return written_while_alive

    with pytest.MonkeyPatch.context() as patch:
        for module, name in ((ledger, "write_object"), (checkpoints, "save_tensors"), (worker, "write_table")):
            patch.setattr(module, name, while_alive(getattr(module, name)))
        yield written


def killed(course: StudyState, accuracy: Accuracy, lives: int, after: bool = False, at_once: int = 1) -> bool:
    """Drive it until it is killed; False where it came to its end before that."""
    with mortal(lives, after):
        try:
            drive(course, accuracy, at_once)
        except Killed:
            return True
    return False
