"""What the study chose its winner by: accuracy on validation unless study.json says otherwise."""

from dataclasses import dataclass

import pandas as pd

from study.results import STUDY_FILE, TRIALS_FILE, Results, ResultsError

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
_VALUE = "val_metric"  # column of trials.parquet: the metric at the best epoch


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
    """The study's metric, checked; "accuracy" and "val_accuracy" are the same, the winner sees no other fold."""
    metric = "val_" + str(results.study.get("metric", ACCURACY)).removeprefix("val_")
    if metric not in _SAID:
        raise ResultsError(f"{results.out / STUDY_FILE}: metric {metric!r} is unknown. Use one of {', '.join(_SAID)}.")
    if metric != ACCURACY and _VALUE not in results.trials:
        raise ResultsError(f"{results.out / TRIALS_FILE}: no column {_VALUE!r}, which holds the {metric}. Add it.")
    column = ACCURACY if metric == ACCURACY else _VALUE
    return Objective(metric, _SAID[metric], column, -1 if metric in _LESS_IS_BETTER else 1)


def merit(results: Results) -> pd.Series:
    """What trials are ranked by, one number a row of `trials`: more is better."""
    chosen_by = objective(results)
    return chosen_by.sign * results.trials[chosen_by.column]
