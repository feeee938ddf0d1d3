"""The thin Tune adapter of a trial: what an actor does with a job."""

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from ray import tune
from safetensors import SafetensorError

from study import ledger
from study.broken_storage import storage_problem
from study.course import checkpoint_file, model_file, predictions_file
from study.results import write_table
from trainables import checkpoints
from trainables.checkpoints import State
from trainables.config import TrialConfig, from_dict
from trainables.place import Place, open_pictures
from trainables.team import ALONE, Team
from trainables.trial import Diverged, predict, run_trial

# An exception that comes back this often at one epoch is the config's fault, not the machine's.
MOST_ERRORS = 3
# What a job reports instead of a row where the storage gave out: the study ends, and can go on when it is mended.
BROKEN_STORAGE = "broken_storage"


def work(config: dict[str, Any]) -> None:
    """Do one job: config holds `task`, `trial`, `out` and the `place`."""
    out, trial, place = Path(config["out"]), config["trial"], config["place"]
    try:
        if config["task"] == "test":
            see_test_fold(out, trial, place)
            tune.report({"tested": 1})
        else:
            _train_or_record(out, trial, place)
    except Exception as problem:
        broken = storage_problem(problem)
        if broken is None:
            raise
        tune.report({BROKEN_STORAGE: [broken.errno, broken.strerror, broken.filename]})
    finally:
        free_gpu()


def free_gpu() -> None:
    """What a trial held goes back to the device, where other workers may have a share."""
    import torch

    if torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()


def _train_or_record(out: Path, trial: str, place: Place) -> None:
    _, values = ledger.read_setting(out, trial)
    config = from_dict(values)
    try:
        if config.workers == 1:
            train(out, trial, place, tune.report)
        else:
            from study.together import train_together

            train_together(train, out, trial, place, config, tune.report)
    except Exception as problem:  # whatever it is: recorded, retried, and recorded for good after the last time
        if storage_problem(problem):
            raise
        error = f"{type(problem).__name__}: {problem}"
        if ledger.write_error(out, trial, error) < MOST_ERRORS and not isinstance(problem, Diverged):
            raise
        ledger.write_end(out, trial, "failed", error)


def train(out: Path, trial: str, place: Place, tell: Callable[[ledger.Row], None], team: Team = ALONE) -> None:
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
        best = state.best
        tell(dict(row))
    if team.rank > 0:
        return
    if planned.phase in ("confirm", "control", "retrain", "published"):
        checkpoints.save_tensors(best, model_file(out, trial))
    ledger.write_end(out, trial, "completed")
    checkpoint.unlink(missing_ok=True)


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
    pictures = open_pictures(config, place)
    folds = {"test": pictures.test, "val": pictures.val}
    if config.trains_on == "train+val":
        del folds["val"]
    parts = [_predictions(config, place, trial, trained, fold, items) for fold, items in folds.items()]
    write_table(pd.concat(parts, ignore_index=True), predictions_file(out, trial))


def _predictions(config: TrialConfig, place: Place, trial: str, trained: Any, fold: str, items: Any) -> pd.DataFrame:
    import torch

    labels = open_pictures(config, place).labels[items]
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
            "logits": list(logits.half().numpy()),
        }
    )
