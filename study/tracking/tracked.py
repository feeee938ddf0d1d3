"""What a tracker is told of a trial: its setting, each epoch's numbers, and what came of it."""

from typing import Any

from study.persistence.ledger import Record
from study.results import METRIC_COLUMN


def setting(record: Record) -> dict[str, Any]:
    """What a tracker shows as a trial's hyperparameters."""
    planned = record.planned
    published = {"published": planned.published} if planned.published else {}
    return {**planned.factors, **planned.nuisances, "phase": planned.phase, "seed": planned.seed, **published}


def measured(row: dict[str, Any]) -> dict[str, float]:
    """The numbers of an epoch's row."""
    return {name: float(value) for name, value in row.items() if name != "epoch"}


def summary(record: Record) -> dict[str, float]:
    """What is known of a trial at its end: its best epoch, chosen by the study's metric."""
    best = record.best
    if best is None:
        return {}
    seconds = sum(row["seconds"] for row in record.rows.values())
    chosen_by = {f"best_{record.config['metric']}": best[METRIC_COLUMN]}
    found = {"best_epoch": best["epoch"], "best_val_accuracy": best["val_accuracy"], "training_seconds": seconds}
    return found | chosen_by
