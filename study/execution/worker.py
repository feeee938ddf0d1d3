"""How a worker does a job, without Ray: what it needs from there, and what it computes, are arguments."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypedDict

import pandas as pd
import torch
from safetensors import SafetensorError

from study.execution.predictions import Weights, predictions
from study.persistence import ledger, storage
from study.persistence.nodes import blind_to
from study.persistence.unavailable import unavailable
from study.results import EPOCHS_COLUMNS, MANIFEST_FILE, METRIC_COLUMN
from study.schedule.state import StudyState, checkpoint_file, model_file, names_of, predictions_file
from study.writing import write_table
from trainables.config import TrialConfig, from_dict
from trainables.errors import Unavailable
from trainables.learning import checkpoints
from trainables.learning.checkpoints import State
from trainables.learning.team import ALONE, Team
from trainables.place import Place
from trainables.trial import Diverged, Row, run_trial

# An exception that comes back this often at one epoch is the config's fault, not the machine's.
MOST_ERRORS = 3
# Called with each row of a trial; does not return where the trial is to stop.
Tell = Callable[[ledger.Row], None]
# What a job reports instead of a row where the study must stop: why.
UNAVAILABLE = "unavailable"


class JobConfig(TypedDict):
    """One job as Tune hands it to an actor."""

    task: str  # train or test
    trial: str
    out: str  # the study's folder or address, as every node knows it
    place: Place
    driver: str  # the driver's node
    needs: list[str]  # folders and addresses that every other node must see


class RunTrial(Protocol):
    """The signature of `run_trial`."""

    def __call__(
        self, config: TrialConfig, place: Place, start: State | None, team: Team
    ) -> Iterator[tuple[Row, State]]: ...


class TrainTogether(Protocol):
    """Run `work(*job, tell, team)` in every worker of a trial, and `tell` here what rank 0 tells there."""

    def __call__(
        self,
        work: Callable[..., None],
        job: tuple[object, ...],
        config: TrialConfig,
        run_config: dict[str, Any],
        tell: Tell,
    ) -> None: ...


# The predictions of a trial's model on the folds that it is tested on.
PredictFolds = Callable[[TrialConfig, Place, str, Weights], pd.DataFrame]


def do_job(
    job: JobConfig,
    node: str,
    report: Tell,
    train_together: TrainTogether,
    run: RunTrial = run_trial,
    predict_folds: PredictFolds = predictions,
) -> None:
    """Do one job on `node`; each row, and the end of a test job, is reported.

    An exception that says nothing against the trial, such as a full disk, is reported under `UNAVAILABLE`.

    Raises:
        Exception: what the trial raised, where it is to be tried again.
    """
    try:
        if node != job["driver"] and (blind := blind_to(job["needs"])):
            raise Unavailable(blind)
        with _on_node(job["out"], job["trial"], job["place"]) as (folder, place):
            if job["task"] == "test":
                _test_or_record(folder, job["trial"], place, predict_folds)
                report({"tested": 1})
            else:
                _train_or_record(folder, job["trial"], place, job["out"], report, train_together, run)
    except Exception as problem:
        stops = unavailable(problem)
        if stops is None:
            raise
        report({UNAVAILABLE: str(stops)})
    finally:
        free_gpu()


def take_in(state: StudyState, trial: str, result: dict[str, Any]) -> bool:
    """Take in what a job reported, on the driver's side; False where the trial is to stop.

    Raises:
        Unavailable: the job said that the study must stop.
    """
    if UNAVAILABLE in result:
        raise Unavailable(result[UNAVAILABLE])
    if "val_accuracy" not in result:  # the end of a test job
        return True
    row = {name: result[name] for name in (*EPOCHS_COLUMNS, METRIC_COLUMN) if name in result and name != "trial"}
    return state.reported(trial, row)


@contextmanager
def _on_node(out: str, trial: str, place: Place) -> Iterator[tuple[Path, Place]]:
    """The study's folder and place as this node has them."""
    with storage.on_node(out, place.cache, MANIFEST_FILE, *names_of(trial)) as folder:
        yield folder, replace(place, manifest=folder / MANIFEST_FILE)


def free_gpu() -> None:
    """Give what a trial held back to the device, which other workers may share."""
    if torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()


def _test_or_record(out: Path, trial: str, place: Place, predict_folds: PredictFolds) -> None:
    try:
        see_test_fold(out, trial, place, predict_folds)
    except Diverged as problem:  # it would again, so its confirmation is taken back
        ledger.write_end(out, trial, "failed", f"Diverged: {problem}")


def _train_or_record(
    out: Path, trial: str, place: Place, shared: str, report: Tell, train_together: TrainTogether, run: RunTrial
) -> None:
    """`shared` is `out` as every node knows it."""
    _, values = ledger.read_setting(out, trial)
    config = from_dict(values)
    try:
        if config.workers == 1:
            train(out, trial, place, report, run)
        else:
            job = (shared, trial, place, run)
            train_together(train_as_member, job, config, storage.for_ray(out, trial), report)
    except Exception as problem:  # of any kind: recorded and tried again; the last time, the trial has failed
        if unavailable(problem):
            raise
        error = f"{type(problem).__name__}: {problem}"
        rows, _ = ledger.read_reports(out, trial)
        if ledger.write_error(out, trial, len(rows), error) < MOST_ERRORS and not isinstance(problem, Diverged):
            raise
        ledger.write_end(out, trial, "failed", error)


def train_as_member(out: str, trial: str, place: Place, run: RunTrial, tell: Tell, team: Team) -> None:
    """`train`, on the node of this worker of a trial."""
    with _on_node(out, trial, place) as (folder, place):
        train(folder, trial, place, tell, run, team)
        team.wait()  # what the others may still read stays until all are done


def train(out: Path, trial: str, place: Place, tell: Tell, run: RunTrial = run_trial, team: Team = ALONE) -> None:
    """Train from the beginning or from the checkpoint; every row is in the ledger before it is told.

    A resumed trial first tells its last row again, so that a pending verdict is taken. Only rank 0 of a team writes.
    """
    planned, values = ledger.read_setting(out, trial)
    config, checkpoint = from_dict(values), checkpoint_file(out, trial)
    rows, attempts = ledger.read_reports(out, trial)
    start = _standing(checkpoint, rows)
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


def _standing(checkpoint: Path, rows: dict[int, ledger.Row]) -> State | None:
    """Where the trial stands; None, and it begins anew, where the checkpoint or a row before it cannot be read."""
    try:
        start = checkpoints.load(checkpoint)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError):
        return None
    return start if rows.keys() >= set(range(1, start.epoch + 1)) else None


def see_test_fold(out: Path, trial: str, place: Place, predict_folds: PredictFolds = predictions) -> None:
    """Write the predictions of one confirmed model.

    Raises:
        Diverged: they cannot be kept.
    """
    _, values = ledger.read_setting(out, trial)
    trained = checkpoints.load_tensors(model_file(out, trial))
    frame = predict_folds(from_dict(values), place, trial, trained)
    write_table(frame, predictions_file(out, trial))
    storage.put(predictions_file(out, trial))
