"""The tables a study leaves, built from what its state knows."""

import json
from dataclasses import fields
from typing import Any

import pandas as pd

from study import results, writing
from study.persistence.ledger import Record, trials_at_openings
from study.products.footprint import NET
from study.schedule.state import StudyState, predictions_file
from trainables.config import FIELDS, TrialConfig, from_dict
from trainables.data.folds import count_training_images
from trainables.nets.work import parameters_of

# Empty in every trial of most studies.
_OPTIONAL_NUMBERS = [each.name for each in fields(TrialConfig) if each.type in (float | None, int | None)]
_WRITTEN_BESIDE = (results.METRIC_COLUMN, results.OPENING_COLUMN, results.STOOD_FOR_COLUMN, "published")
_WRITTEN_BESIDE += ("parameters", "trained_parameters", "train_pictures")


def write_tables(state: StudyState, measured: pd.DataFrame | None = None) -> None:
    """trials.parquet and epochs.parquet as of now; called while the study runs, too.

    At its end with what was `measured` of the nets (see footprint.py), which the trials of each net then carry.
    """
    begun = [
        record
        for record in state.records.values()
        if (record.rows or record.status) and record.planned.phase != "control"
    ]
    rows = [_trial_row(record, state) for record in begun]
    _add_openings(rows, trials_at_openings(state.out))
    trials = pd.DataFrame(rows, columns=_trial_columns(state))
    # Empty in every trial, a number's column would have no type.
    numbers = ["best_epoch", "val_accuracy", results.METRIC_COLUMN, results.OPENING_COLUMN, *_OPTIONAL_NUMBERS]
    trials = trials.astype(dict.fromkeys([*numbers, *state.study.nuisances], "float64"))
    epochs = pd.DataFrame(
        [{"trial": record.planned.trial} | row for record in begun for _, row in sorted(record.rows.items())],
        columns=[*results.EPOCHS_COLUMNS, results.METRIC_COLUMN],
    )
    if measured is not None:  # by what each trial ran, also where a conditional factor's column is empty
        ran = pd.DataFrame([{name: record.config[name] for name in NET} for record in begun], columns=NET)
        trials = trials.join(ran.merge(measured, how="left", on=NET).drop(columns=NET))
    writing.write_table(trials, state.out / results.TRIALS_FILE)
    writing.write_table(epochs, state.out / results.EPOCHS_FILE)


def write_predictions(state: StudyState) -> None:
    """predictions.parquet from the parts of the confirmed trials, and control.parquet from those of their control.

    Those that an earlier opening showed and that stand for nothing any more are kept, behind the others.
    """
    controls, shown = state.controls(), state.shown()
    earlier = [each for each in state.of_phase("confirm") + state.of_phase("retrain") if each not in shown]
    parts = [predictions_file(state.out, each.planned.trial) for each in shown + earlier if each not in controls]
    frames = [pd.read_parquet(part) for part in parts if part.exists()]
    if frames:
        writing.write_table(pd.concat(frames, ignore_index=True), state.out / results.PREDICTIONS_FILE)
    again = [
        _control_rows(state, each) for each in controls if predictions_file(state.out, each.planned.trial).exists()
    ]
    if again:
        writing.write_table(pd.concat(again, ignore_index=True), state.out / results.CONTROL_FILE)


def _control_rows(state: StudyState, record: Record) -> pd.DataFrame:
    planned = record.planned
    seen = pd.read_parquet(predictions_file(state.out, planned.trial), columns=["item", "fold", "label", "predicted"])
    test = seen[seen["fold"] == "test"].assign(trial=planned.trial, arm=planned.arm, seed=planned.seed)
    return test[list(results.CONTROL_COLUMNS)]


def _add_openings(rows: list[dict[str, Any]], openings: list[dict[str, list[str]] | None]) -> None:
    """Since when each trial is there, so that a report can tell what the first opening recommended from what came
    after it; nothing where one of the openings does not tell."""
    if None in openings:
        return
    for row in rows:
        seen = [number for number, trials in enumerate(openings, 1) if row["trial"] in (trials or {})]
        row[results.OPENING_COLUMN] = min(seen, default=None)
        if seen and seen[0] == 1 and row["phase"] == "confirm":
            row[results.STOOD_FOR_COLUMN] = json.dumps((openings[0] or {})[row["trial"]])


def compute_seconds(state: StudyState) -> float:
    return sum(row["seconds"] for record in state.records.values() for row in record.rows.values())


def _trial_columns(state: StudyState) -> list[str]:
    study = state.study
    own = [name for name in study.nuisances if name not in FIELDS]
    known = [*results.TRIALS_COLUMNS, *_WRITTEN_BESIDE]
    return [*known, *own, *(name for name in FIELDS if name not in known)]


def _trial_row(record: Record, state: StudyState) -> dict[str, Any]:
    planned, best = record.planned, record.best
    config = dict(record.config)
    for factor in state.study.factors:
        if factor not in planned.factors:
            config[factor] = None  # a conditional one that does not exist here
    own = {name: value for name, value in planned.nuisances.items() if name not in FIELDS}
    ran = record.config
    outputs = 1 if ran["loss"] == "binary_cross_entropy" else state.base.classes
    parameters, trained = parameters_of(ran["backbone"], ran["unfreeze"], ran["size"], outputs)
    stands_for = state.stands_for.get(planned.trial, ()) if planned.phase == "confirm" else ()
    return (
        config
        | own
        | {
            "trial": planned.trial,
            "phase": planned.phase,
            "arm": planned.arm,
            "stands_for": json.dumps(list(stands_for)) if planned.phase == "confirm" else None,
            "audit": planned.audit,
            "seed": planned.seed,
            "status": record.status or "stopped",
            "epochs_run": len(record.rows),
            "seconds": sum(row["seconds"] for row in record.rows.values()),
            "error": record.error or None,
            "best_epoch": best["epoch"] if best else None,
            "val_accuracy": best["val_accuracy"] if best else None,
            results.METRIC_COLUMN: best["val_metric"] if best else None,
            "published": planned.published or None,
            "parameters": parameters,
            "trained_parameters": trained,
            "train_pictures": count_training_images(from_dict(record.config), state.out / results.MANIFEST_FILE),
        }
    )
