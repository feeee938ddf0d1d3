"""The metric that selects the winner: accuracy on validation unless study.json says otherwise."""

from dataclasses import dataclass

import pandas as pd

from study.results import METRIC_COLUMN, STUDY_FILE, TRIALS_FILE, Results, ResultsError

ACCURACY = "val_accuracy"
_LABELS = {
    ACCURACY: "accuracy",
    "val_balanced_accuracy": "balanced accuracy",
    "val_macro_f1": "macro F1",
    "val_auroc": "AUROC",
    "val_log_loss": "log-loss",
    "val_top5": "top-5 accuracy",
}
_LESS_IS_BETTER = {"val_log_loss"}


@dataclass(frozen=True)
class Objective:
    metric: str
    label: str
    column: str  # of trials.parquet
    sign: int  # -1 where less is better

    @property
    def is_accuracy(self) -> bool:
        return self.metric == ACCURACY


def objective(results: Results) -> Objective:
    """Return the study's metric; "accuracy" means "val_accuracy", because only validation selects.

    Raises:
        ResultsError: the metric is unknown, or the trials lack its column.
    """
    metric = "val_" + str(results.study.get("metric", ACCURACY)).removeprefix("val_")
    if metric not in _LABELS:
        known = ", ".join(_LABELS)
        raise ResultsError(f"{results.out / STUDY_FILE}: metric {metric!r} is unknown. Use one of {known}.")
    column = ACCURACY if metric == ACCURACY else METRIC_COLUMN  # the metric at the best epoch
    if column not in results.trials:
        raise ResultsError(f"{results.out / TRIALS_FILE}: no column {column!r}, which holds the {metric}. Add it.")
    return Objective(metric, _LABELS[metric], column, -1 if metric in _LESS_IS_BETTER else 1)


def metric_by_epoch(results: Results) -> str:
    """Return the column of epochs.parquet with the study's metric, or with accuracy if that metric was not recorded."""
    recorded = not objective(results).is_accuracy and METRIC_COLUMN in results.epochs
    return METRIC_COLUMN if recorded else ACCURACY


def merit(results: Results) -> pd.Series:
    """Return the score that ranks trials, one number per row of `trials`: higher is better."""
    target = objective(results)
    return target.sign * results.trials[target.column]
