"""A study's course driven without Ray or torch: rows are made up, and written to the ledger as a worker does."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from search_spaces import optimizers, regularizers
from search_spaces.distributions import Conditional
from study.design.plan import Planned, search_plan
from study.design.settings import Base
from study.persistence import ledger, storage
from study.results import PHASES, Phase
from study.schedule.state import Job, Listener, StudyState, checkpoint_file, model_file, predictions_file
from study.spec import Budget, Study

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


# Of a record that nobody resolved.
CONFIG = {"metric": "val_accuracy"}
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


def begin(out: Path, study: Study, heard: Listener | None = None, sampler: Any = None) -> StudyState:
    """The course as a new process would build it; the plan is written the first time."""
    if sampler is None and not ledger.read_plan(out):
        ledger.write_plan(out, search_plan(study, study.budget.trials, BASE.study_seed))
    return StudyState(out, study, BASE, sampler, heard or (lambda event, record: None))


def drive(course: StudyState, accuracy: Accuracy, at_once: int = 1) -> list[Job]:
    """Run the course to its end, the running trials an epoch each in turn; the jobs in the order they began."""
    began: list[Job] = []
    running: dict[Job, Iterator[ledger.Row]] = {}
    while True:
        while len(running) < at_once and (job := course.next_job()) is not None:
            began.append(job)
            running[job] = work(course.out, job, accuracy)
        if not running:
            return began
        for job, rows in list(running.items()):
            row = next(rows, None)
            if row is None or not course.reported(job.trial, row):
                del running[job]
                course.ended(job)


def phases_of(jobs: list[Job]) -> list[str]:
    return [name for name, _ in groupby("test" if job.task == "test" else job.trial.split("-")[0] for job in jobs)]


def work(out: Path, job: Job, accuracy: Accuracy) -> Iterator[ledger.Row]:
    """What an actor does with a job: see study/execution/worker.py."""
    if job.task == "test":
        write(predictions_file(out, job.trial), job.trial)
        return
    planned, config = ledger.read_setting(out, job.trial)
    rows, attempts = ledger.read_reports(out, job.trial)
    checkpoint = checkpoint_file(out, job.trial)
    done = int(checkpoint.read_text()) if checkpoint.exists() else 0
    if done:
        yield rows[done]
    for epoch in range(done + 1, config["epochs"] + 1):
        value = accuracy(planned, epoch)
        if value is None:
            ledger.write_end(out, job.trial, "failed", "Diverged: the loss is not finite")
            return
        made = row(epoch, value)
        ledger.write_report(out, job.trial, attempts + 1, made)
        write(checkpoint, str(epoch))
        yield made
    if planned.phase in ("confirm", "control", "retrain", "published"):
        write(model_file(out, job.trial), job.trial)
    ledger.write_end(out, job.trial, "completed")
    storage.drop(checkpoint)


def row(epoch: int, accuracy: float) -> ledger.Row:
    return {
        "epoch": epoch,
        "train_accuracy": accuracy,
        "train_cross_entropy": 1.0,
        "penalty": 0.0,
        "val_accuracy": accuracy,
        "val_cross_entropy": 1.0,
        "val_metric": accuracy,
        "learning_rate": 0.01,
        "seconds": 0.5,
        "images_per_second": 60.0,
    }


def write(path: Path, text: str) -> None:
    """A file that is no object of the ledger, by the same way, so that a kill may hit it too."""
    ledger.write_object(path.with_suffix(".written"), text)
    path.write_text(text)
    storage.put(path)


@contextmanager
def mortal(lives: int, after: bool = False) -> Iterator[list[Path]]:
    """Within it the process dies after `lives` writes: before the next one, or right after it. Gives those done."""
    written: list[Path] = []
    write_object = ledger.write_object

    def write_while_alive(path: Path, value: Any) -> None:
        if len(written) >= lives and not after:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_name(f".{path.name}.1").write_text("{torn")  # as far as it came
            raise Killed
        write_object(path, value)
        written.append(path)
        if len(written) > lives:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger, "write_object", write_while_alive)
        yield written


def killed(course: StudyState, accuracy: Accuracy, lives: int, after: bool = False, at_once: int = 1) -> bool:
    """Drive it until it is killed; False where it came to its end before that."""
    with mortal(lives, after):
        try:
            drive(course, accuracy, at_once)
        except Killed:
            return True
    return False
