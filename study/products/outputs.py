"""Write the tables of a study from its state."""

import json
from dataclasses import fields
from typing import Any

import pandas as pd

from study import results, writing
from study.persistence.ledger import Record, trials_at_openings
from study.persistence.trial_files import predictions_file
from study.products.footprint import NET_FIELDS
from study.schedule.state import StudyState
from trainables.config import FIELDS, TrialConfig, from_dict
from trainables.data.folds import count_training_images
from trainables.nets.work import parameters_of

# In most studies these are empty in every trial.
_OPTIONAL_NUMBERS = [field.name for field in fields(TrialConfig) if field.type in (float | None, int | None)]
# Columns of trials.parquet in addition to results.TRIALS_COLUMNS and the config.
_MORE_COLUMNS = (
    *(results.METRIC_COLUMN, results.OPENING_COLUMN, results.STOOD_FOR_COLUMN, "published"),
    *("parameters", "trained_parameters", "train_pictures"),
)


def write_tables(state: StudyState, measured: pd.DataFrame | None = None) -> None:
    """Write trials.parquet and epochs.parquet with all trials so far, also while the study runs.

    Args:
        measured: the table of footprint.py, whose columns are joined to the trials; None before the study's end.
    """
    started = [
        record
        for record in state.records.values()
        if (record.rows or record.status) and record.planned.phase != "control"
    ]
    rows = [_trial_row(record, state) for record in started]
    _add_openings(rows, trials_at_openings(state.out))
    trials = pd.DataFrame(rows, columns=_trial_columns(state))
    # A column that is empty in every trial would have no type.
    numbers = ["best_epoch", "val_accuracy", results.METRIC_COLUMN, results.OPENING_COLUMN, *_OPTIONAL_NUMBERS]
    trials = trials.astype(dict.fromkeys([*numbers, *state.study.nuisances], "float64"))
    epochs = pd.DataFrame(
        [{"trial": record.planned.trial} | row for record in started for _, row in sorted(record.rows.items())],
        columns=[*results.EPOCHS_COLUMNS, results.METRIC_COLUMN],
    )
    if measured is not None:  # joined by the config, because a conditional factor's column may be empty
        nets = [{name: record.config[name] for name in NET_FIELDS} for record in started]
        of_trials = pd.DataFrame(nets, columns=NET_FIELDS).merge(measured, how="left", on=NET_FIELDS)
        trials = trials.join(of_trials.drop(columns=NET_FIELDS))
    writing.write_table(trials, state.out / results.TRIALS_FILE)
    writing.write_table(epochs, state.out / results.EPOCHS_FILE)


def write_predictions(state: StudyState) -> None:
    """Write predictions.parquet with the confirmed trials, and control.parquet with the negative control.

    Models of an earlier opening that are no longer compared come after the others.
    """
    controls, shown = state.controls(), state.shown()
    earlier = [record for record in state.of_phase("confirm") + state.of_phase("retrain") if record not in shown]
    files = [predictions_file(state.out, record.planned.trial) for record in shown + earlier if record not in controls]
    frames = [pd.read_parquet(file) for file in files if file.exists()]
    if frames:
        writing.write_table(pd.concat(frames, ignore_index=True), state.out / results.PREDICTIONS_FILE)
    tested = [record for record in controls if predictions_file(state.out, record.planned.trial).exists()]
    if tested:
        rows = pd.concat([_control_rows(state, record) for record in tested], ignore_index=True)
        writing.write_table(rows, state.out / results.CONTROL_FILE)


def _control_rows(state: StudyState, record: Record) -> pd.DataFrame:
    planned = record.planned
    rows = pd.read_parquet(predictions_file(state.out, planned.trial), columns=["item", "fold", "label", "predicted"])
    test = rows[rows["fold"] == "test"].assign(trial=planned.trial, arm=planned.arm, seed=planned.seed)
    return test[list(results.CONTROL_COLUMNS)]


def _add_openings(rows: list[dict[str, Any]], openings: list[dict[str, list[str]] | None]) -> None:
    """Add the first opening of the test fold that each trial existed for, and the levels it stood for at the first.

    A report can then separate the recommendation of the first opening from later ones. If the record of any opening
    lacks its trials, nothing is added.
    """
    if None in openings:
        return
    for row in rows:
        numbers = [number for number, trials in enumerate(openings, 1) if row["trial"] in (trials or {})]
        row[results.OPENING_COLUMN] = min(numbers, default=None)
        if numbers and numbers[0] == 1 and row["phase"] == "confirm":
            row[results.STOOD_FOR_COLUMN] = json.dumps((openings[0] or {})[row["trial"]])


def compute_seconds(state: StudyState) -> float:
    return sum(row["seconds"] for record in state.records.values() for row in record.rows.values())


def _trial_columns(state: StudyState) -> list[str]:
    renamed = [name for name in state.study.nuisances if name not in FIELDS]
    first = [*results.TRIALS_COLUMNS, *_MORE_COLUMNS]
    return [*first, *renamed, *(name for name in FIELDS if name not in first)]


def _trial_row(record: Record, state: StudyState) -> dict[str, Any]:
    planned, best = record.planned, record.best
    config = dict(record.config)
    for factor in state.study.factors:
        if factor not in planned.factors:
            config[factor] = None  # a conditional factor that does not exist in this trial
    renamed = {name: value for name, value in planned.nuisances.items() if name not in FIELDS}
    resolved = record.config
    outputs = 1 if resolved["loss"] == "binary_cross_entropy" else state.base.classes
    parameters, trained = parameters_of(resolved["backbone"], resolved["unfreeze"], resolved["size"], outputs)
    stands_for = state.stands_for.get(planned.trial, ()) if planned.phase == "confirm" else ()
    return (
        config
        | renamed
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
