"""The thin Tune adapter of a trial: what an actor does with a job."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import ray
from ray import tune
from safetensors import SafetensorError

from study.persistence import ledger, storage
from study.persistence.nodes import blind_to
from study.persistence.unavailable import unavailable
from study.results import MANIFEST_FILE
from study.schedule.state import checkpoint_file, model_file, names_of, predictions_file
from study.writing import write_table
from trainables.config import TrialConfig, from_dict
from trainables.data.trial_data import open_trial_data
from trainables.errors import Unavailable
from trainables.learning import checkpoints
from trainables.learning.checkpoints import State
from trainables.learning.team import ALONE, Team
from trainables.place import Place
from trainables.trial import Diverged, predict, run_trial

# An exception that comes back this often at one epoch is the config's fault, not the machine's.
MOST_ERRORS = 3
# Of more classes the logits would take gigabytes a model: they are left empty, and what needs them is left out.
MOST_CLASSES_WITH_LOGITS = 2000
# Called with each row of a trial; does not come back where the trial is to stop.
Tell = Callable[[ledger.Row], None]
# What a job reports in place of a row where the study must stop: why.
UNAVAILABLE = "unavailable"


def work(config: dict[str, Any]) -> None:
    """Do one job: config holds `task`, `trial`, `out`, `place`, the `driver`'s node and what another `needs` to see."""
    try:
        if node() != config["driver"] and (blind := blind_to(config["needs"])):
            raise Unavailable(blind)
        _work(config["task"], config["trial"], config["out"], config["place"])
    except Exception as problem:
        stops = unavailable(problem)
        if stops is None:
            raise
        tune.report({UNAVAILABLE: str(stops)})
    finally:
        free_gpu()


def _work(task: str, trial: str, out: str, place: Place) -> None:
    with _on_node(out, trial, place) as (folder, place):
        if task == "test":
            try:
                see_test_fold(folder, trial, place)
            except Diverged as problem:  # again and again, so its confirmation is taken back
                ledger.write_end(folder, trial, "failed", f"Diverged: {problem}")
            tune.report({"tested": 1})
        else:
            _train_or_record(folder, trial, place, out)


def node() -> str:
    """Ray's name of the node that this process runs on."""
    return ray.get_runtime_context().get_node_id()


@contextmanager
def _on_node(out: str, trial: str, place: Place) -> Iterator[tuple[Path, Place]]:
    """The study's folder and place as this node has them."""
    with storage.on_node(out, place.cache, MANIFEST_FILE, *names_of(trial)) as folder:
        yield folder, replace(place, manifest=folder / MANIFEST_FILE)


def free_gpu() -> None:
    """What a trial held goes back to the device, where other workers may have a share."""
    import torch

    if torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()


def _train_or_record(out: Path, trial: str, place: Place, shared: str) -> None:
    """`shared` is `out` as every node knows it."""
    _, values = ledger.read_setting(out, trial)
    config = from_dict(values)
    try:
        if config.workers == 1:
            train(out, trial, place, tune.report)
        else:
            from study.execution.data_parallel import train_data_parallel

            train_data_parallel(
                train_as_member, (shared, trial, place), config, storage.for_ray(out, trial), tune.report
            )
    except Exception as problem:  # whatever it is: recorded, retried, and recorded for good after the last time
        if unavailable(problem):
            raise
        error = f"{type(problem).__name__}: {problem}"
        rows, _ = ledger.read_reports(out, trial)
        if ledger.write_error(out, trial, len(rows), error) < MOST_ERRORS and not isinstance(problem, Diverged):
            raise
        ledger.write_end(out, trial, "failed", error)


def train_as_member(out: str, trial: str, place: Place, tell: Tell, team: Team) -> None:
    """`train`, on whatever node this worker of a trial is."""
    with _on_node(out, trial, place) as (folder, place):
        train(folder, trial, place, tell, team)
        team.wait()  # what the others may still read stays until all are done


def train(out: Path, trial: str, place: Place, tell: Tell, team: Team = ALONE) -> None:
    """Train from the beginning or from the checkpoint; every row is in the ledger before Tune hears of it.

    A trial that goes on first tells of the row it stands at again, so that a verdict that was not taken yet is.
    Of a team the first alone writes.
    """
    planned, values = ledger.read_setting(out, trial)
    config, checkpoint = from_dict(values), checkpoint_file(out, trial)
    rows, attempts = ledger.read_reports(out, trial)
    start = _standing(checkpoint, rows)
    if start is not None:
        tell(rows[start.epoch])
    best = start.best if start is not None else {}
    for row, state in run_trial(config, place, start, team):
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


def see_test_fold(out: Path, trial: str, place: Place) -> None:
    """Predictions of one model on the test fold and, unless it was trained on it, on its own common validation."""
    _, values = ledger.read_setting(out, trial)
    config = from_dict(values)
    trained = checkpoints.load_tensors(model_file(out, trial))
    pictures = open_trial_data(config, place)
    folds = {"test": pictures.test, "val": pictures.val}
    if config.trains_on == "train+val":
        del folds["val"]
    parts = [_predictions(config, place, trial, trained, fold, items) for fold, items in folds.items()]
    write_table(pd.concat(parts, ignore_index=True), predictions_file(out, trial))
    storage.put(predictions_file(out, trial))


def _predictions(config: TrialConfig, place: Place, trial: str, trained: Any, fold: str, items: Any) -> pd.DataFrame:
    import torch

    labels = open_trial_data(config, place).labels[items]
    logits = torch.from_numpy(predict(config, place, trained, items)).double()
    log_probabilities = logits.log_softmax(dim=1)
    confidence, predicted = log_probabilities.exp().max(dim=1)
    picked = log_probabilities.gather(1, torch.from_numpy(labels)[:, None])[:, 0]
    return pd.DataFrame(
        {
            "trial": trial,
            "item": items,
            "fold": fold,
            "label": labels,
            "predicted": predicted.numpy(),
            "confidence": confidence.numpy(),
            "cross_entropy": -picked.numpy(),
            "logits": list(logits.half().numpy()) if logits.shape[1] <= MOST_CLASSES_WITH_LOGITS else None,
        }
    )
