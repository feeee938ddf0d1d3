"""The values that trackers log for a trial: its hyperparameters, the metrics of each epoch, and a summary."""

from typing import Any

from study.persistence.ledger import Record
from study.results import METRIC_COLUMN


def hyperparameters(record: Record) -> dict[str, Any]:
    """Return a trial's factor levels, nuisances, phase and seed."""
    planned = record.planned
    published = {"published": planned.published} if planned.published else {}
    return {**planned.factors, **planned.nuisances, "phase": planned.phase, "seed": planned.seed, **published}


def measured(row: dict[str, Any]) -> dict[str, float]:
    """Return the metrics of an epoch."""
    return {name: float(value) for name, value in row.items() if name != "epoch"}


def summary(record: Record) -> dict[str, float]:
    """Return the best epoch of an ended trial by the study's metric, and its training time; empty without an epoch."""
    best = record.best
    if best is None:
        return {}
    seconds = sum(row["seconds"] for row in record.rows.values())
    accuracy = {"best_epoch": best["epoch"], "best_val_accuracy": best["val_accuracy"], "training_seconds": seconds}
    return accuracy | {f"best_{record.config['metric']}": best[METRIC_COLUMN]}
