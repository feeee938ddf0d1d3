"""The metric that selects the winner: accuracy on validation unless study.json says otherwise."""

from dataclasses import dataclass

import pandas as pd

from study.results import METRIC_COLUMN, STUDY_FILE, TRIALS_FILE, Results, ResultsError

ACCURACY = "val_accuracy"
_SAID = {
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
    said: str
    column: str  # of trials.parquet
    sign: int  # -1 where less is better

    @property
    def is_accuracy(self) -> bool:
        return self.metric == ACCURACY


def objective(results: Results) -> Objective:
    """Return the study's metric; "accuracy" and "val_accuracy" are the same, since the winner sees no other fold.

    Raises:
        ResultsError: the metric is unknown, or the trials lack its column.
    """
    metric = "val_" + str(results.study.get("metric", ACCURACY)).removeprefix("val_")
    if metric not in _SAID:
        raise ResultsError(f"{results.out / STUDY_FILE}: metric {metric!r} is unknown. Use one of {', '.join(_SAID)}.")
    column = ACCURACY if metric == ACCURACY else METRIC_COLUMN  # the metric at the best epoch
    if column not in results.trials:
        raise ResultsError(f"{results.out / TRIALS_FILE}: no column {column!r}, which holds the {metric}. Add it.")
    return Objective(metric, _SAID[metric], column, -1 if metric in _LESS_IS_BETTER else 1)


def metric_by_epoch(results: Results) -> str:
    """The column of epochs.parquet with the study's metric; that of accuracy if its own metric was not recorded."""
    own = not objective(results).is_accuracy and METRIC_COLUMN in results.epochs
    return METRIC_COLUMN if own else ACCURACY


def merit(results: Results) -> pd.Series:
    """What trials are ranked by, one number a row of `trials`: more is better."""
    chosen_by = objective(results)
    return chosen_by.sign * results.trials[chosen_by.column]
