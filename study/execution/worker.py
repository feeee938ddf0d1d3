"""Do one job of a study: train a trial or test a model. Ray and the training loop are passed in as arguments."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Protocol, TypedDict

import pandas as pd
import torch
from safetensors import SafetensorError

from study.execution.predictions import Weights, predictions
from study.persistence import ledger, storage
from study.persistence.nodes import blind_to
from study.persistence.trial_files import checkpoint_file, model_file, names_of, predictions_file
from study.persistence.unavailable import unavailable
from study.results import EPOCHS_COLUMNS, MANIFEST_FILE, METRIC_COLUMN
from study.schedule.state import StudyState
from study.writing import write_table
from trainables.config import TrialConfig, from_dict
from trainables.determinism import nondeterministic_operations
from trainables.errors import Unavailable
from trainables.learning import checkpoints
from trainables.learning.checkpoints import State
from trainables.learning.team import ALONE, Team
from trainables.place import Place
from trainables.trial import Diverged, Row, run_trial

# After this many exceptions at one epoch the config is at fault, not the machine, and the trial has failed.
MOST_ERRORS = 3
# Takes each row of a trial. It does not return if the trial must stop.
Tell = Callable[[ledger.Row], None]
# The key under which a job reports, instead of a row, why the study must stop.
UNAVAILABLE = "unavailable"


class JobConfig(TypedDict):
    """One job as Tune passes it to an actor."""

    task: Literal["train", "test"]
    trial: str
    out: str  # the study's folder or address, valid on every node
    place: Place
    driver: str  # the driver's node
    needs: list[str]  # folders and addresses that every other node must see


class RunTrial(Protocol):
    """The signature of `run_trial`."""

    def __call__(
        self, config: TrialConfig, place: Place, start: State | None, team: Team
    ) -> Iterator[tuple[Row, State]]: ...


class TrainDataParallel(Protocol):
    """Run `work(*job, tell, team)` in every worker of a trial. Rows that rank 0 tells are passed to `tell`."""

    def __call__(
        self,
        work: Callable[..., None],
        job: tuple[object, ...],
        config: TrialConfig,
        run_config: dict[str, Any],
        tell: Tell,
    ) -> None: ...


# Returns the predictions of a trial's model on its test and validation folds.
PredictFolds = Callable[[TrialConfig, Place, str, Weights], pd.DataFrame]


def do_job(
    job: JobConfig,
    node: str,
    report: Tell,
    train_data_parallel: TrainDataParallel,
    run: RunTrial = run_trial,
    predict_folds: PredictFolds = predictions,
) -> None:
    """Do one job on `node`. Report each row of a training job and the end of a test job.

    An exception that is not the trial's fault, such as a full disk, is reported under `UNAVAILABLE`.

    Raises:
        Exception: the exception of a trial that will be retried.
    """
    try:
        if node != job["driver"] and (blind := blind_to(job["needs"])):
            raise Unavailable(blind)
        with _on_node(job["out"], job["trial"], job["place"]) as (folder, place):
            ledger.write_attempt(folder, job["trial"], node, _device())
            if job["task"] == "test":
                _test_or_record(folder, job["trial"], place, predict_folds)
                report({"tested": 1})
            else:
                _train_or_record(folder, job["trial"], place, job["out"], report, train_data_parallel, run)
    except Exception as problem:
        lost = unavailable(problem)
        if lost is None:
            raise
        report({UNAVAILABLE: str(lost)})
    finally:
        free_gpu()


def take_in(state: StudyState, trial: str, result: dict[str, Any]) -> bool:
    """Record what a job reported. This runs in the driver. Return False if the trial must stop.

    Raises:
        Unavailable: the job reported that the study must stop.
    """
    if UNAVAILABLE in result:
        raise Unavailable(result[UNAVAILABLE])
    if "val_accuracy" not in result:  # the end of a test job
        return True
    row = {name: result[name] for name in (*EPOCHS_COLUMNS, METRIC_COLUMN) if name in result and name != "trial"}
    return state.reported(trial, row)


@contextmanager
def _on_node(out: str, trial: str, place: Place) -> Iterator[tuple[Path, Place]]:
    """Yield the study's folder and place on this node, and record the nondeterministic operations within the block."""
    with (
        storage.on_node(out, place.cache, MANIFEST_FILE, *names_of(trial)) as folder,
        nondeterministic_operations() as found,
    ):
        try:
            yield folder, replace(place, manifest=folder / MANIFEST_FILE)
        finally:  # of a trial that fails or is stopped, too
            if found:
                ledger.write_nondeterministic(folder, trial, found)


def _device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def limit_gpu_memory(share: float) -> None:
    """Leave the rest of the GPU to its other trials, so that what they use changes neither kernels nor memory here.

    Args:
        share: of one GPU, as --gpus-per-trial says; nothing is limited from a whole one on.
    """
    if 0 < share < 1 and torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(share)


def free_gpu() -> None:
    """Free the GPU memory that a trial used, because other workers may share the device."""
    if torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()


def _test_or_record(out: Path, trial: str, place: Place, predict_folds: PredictFolds) -> None:
    try:
        see_test_fold(out, trial, place, predict_folds)
    except Diverged as problem:  # a retry would diverge too, so the trial has failed after all
        ledger.write_end(out, trial, "failed", f"Diverged: {problem}")


def _train_or_record(
    out: Path,
    trial: str,
    place: Place,
    shared_out: str,
    report: Tell,
    train_data_parallel: TrainDataParallel,
    run: RunTrial,
) -> None:
    """Train a trial. Record an exception, and the end of the trial if it will not be retried.

    Args:
        shared_out: the study's folder or address, valid on every node.
    """
    _, values = ledger.read_setting(out, trial)
    config = from_dict(values)
    try:
        if config.workers == 1:
            train(out, trial, place, report, run)
        else:
            job = (shared_out, trial, place, run)
            train_data_parallel(train_as_member, job, config, storage.for_ray(out, trial), report)
    except Exception as problem:
        if unavailable(problem):
            raise
        error = _in_words(problem)
        rows, _ = ledger.read_reports(out, trial)
        if ledger.write_error(out, trial, len(rows), error) < MOST_ERRORS and not isinstance(problem, Diverged):
            raise
        ledger.write_end(out, trial, "failed", error)


def _in_words(problem: Exception) -> str:
    if isinstance(problem, torch.OutOfMemoryError):  # torch says where, in ten lines, and not what to do
        return (
            "OutOfMemoryError: the trial needs more memory than its share of the GPU: pass a larger --gpus-per-trial, "
            "or declare a smaller batch_size, micro_batch or size"
        )
    return f"{type(problem).__name__}: {problem}"


def train_as_member(out: str, trial: str, place: Place, run: RunTrial, tell: Tell, team: Team) -> None:
    """Run `train` in one worker of a data-parallel trial."""
    with _on_node(out, trial, place) as (folder, place):
        train(folder, trial, place, tell, run, team)
        team.wait()  # the end of the block removes files that other workers may still read


def train(out: Path, trial: str, place: Place, tell: Tell, run: RunTrial = run_trial, team: Team = ALONE) -> None:
    """Train a trial from its checkpoint, or from the beginning. Each row is in the ledger before `tell` gets it.

    A resumed trial first tells its last row again, so that a pending verdict is taken. Only rank 0 of a team writes.

    Raises:
        Diverged: the loss is not finite, or a logit is too large to store.
    """
    planned, values = ledger.read_setting(out, trial)
    config, checkpoint = from_dict(values), checkpoint_file(out, trial)
    rows, attempts = ledger.read_reports(out, trial)
    start = _resumable(checkpoint, rows)
    if start is not None:
        tell(rows[start.epoch])
    best = start.best if start is not None else {}
    for row, state in run(config, place, start, team):
        if team.rank == 0:
            ledger.write_report(out, trial, attempts + 1, dict(row))
            checkpoints.save(state, checkpoint)
            storage.put(checkpoint)
        best = state.best
        tell(dict(row))
    if team.rank > 0:
        return
    if planned.phase in ("confirm", "control", "retrain", "published"):
        checkpoints.save_tensors(best, model_file(out, trial))
        storage.put(model_file(out, trial))
    ledger.write_end(out, trial, "completed")
    storage.drop(checkpoint)


def _resumable(checkpoint: Path, rows: dict[int, ledger.Row]) -> State | None:
    """Return the state to resume from; None if the checkpoint or a row before it cannot be read."""
    try:
        start = checkpoints.load(checkpoint)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError):
        return None
    return start if rows.keys() >= set(range(1, start.epoch + 1)) else None


def see_test_fold(out: Path, trial: str, place: Place, predict_folds: PredictFolds = predictions) -> None:
    """Write the predictions of one confirmed model on its test and validation folds.

    Raises:
        Diverged: a logit is too large to store.
    """
    _, values = ledger.read_setting(out, trial)
    trained = checkpoints.load_tensors(model_file(out, trial))
    frame = predict_folds(from_dict(values), place, trial, trained)
    write_table(frame, predictions_file(out, trial))
    storage.put(predictions_file(out, trial))
