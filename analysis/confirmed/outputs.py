"""Predictions of each model on each fold: class numbers and log-probabilities, rows in the order of the items."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from study.results import LOGITS, PREDICTIONS_FILE, Results, ResultsError, metrics

VAL = "val"

_LARGEST = float(np.finfo(np.float16).max)  # a larger logit was stored as infinite


@dataclass(frozen=True)
class Output:
    """One model on one fold: `items`, `labels`, `predicted` of shape (n,), `log_probabilities` of (n, K)."""

    items: NDArray
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    log_probabilities: NDArray[np.float64]

    @property
    def right(self) -> NDArray[np.bool_]:
        return self.labels == self.predicted


_PARTS = tuple(field.name for field in fields(Output))


@dataclass(frozen=True)
class Outputs:
    """The predictions of a study with logits, prepared one model at a time because all at once need much memory."""

    predictions: pd.DataFrame
    rows: dict[tuple[str, str], NDArray[np.int64]]  # (trial, fold) -> positions in `predictions`

    def together(self, trials: Iterable[str], fold: str) -> Output | None:
        """Return the concatenated outputs of several models; None if any of them has no output for the fold."""
        models = [self.of(trial, fold) for trial in trials]
        evaluated = [output for output in models if output is not None]
        if len(evaluated) < len(models):
            return None
        return Output(*(np.concatenate([getattr(output, name) for output in evaluated]) for name in _PARTS))

    def of(self, trial: str, fold: str) -> Output | None:
        """Return the output of a model; None if it did not predict the fold or its logits were not kept.

        Raises:
            ResultsError: the number of logits does not fit the class numbers.
        """
        rows = self.rows.get((trial, fold))
        if rows is None:
            return None
        frame = self.predictions.iloc[rows].sort_values("item", kind="stable")
        if frame[[LOGITS, "label", "predicted"]].isna().to_numpy().any():
            return None
        labels, predicted = (frame[name].to_numpy(np.int64) for name in ("label", "predicted"))
        widths = {len(logits) for logits in frame[LOGITS]}
        if len(widths) > 1 or not 0 <= labels.min() <= labels.max() < max(widths) or predicted.max() >= max(widths):
            raise ResultsError(
                f"{PREDICTIONS_FILE}: the logits of trial {trial!r} must have one number for each class, but a row "
                f"holds {min(widths)} and the largest class number is {max(labels.max(), predicted.max())}. Fix them."
            )
        logits = np.clip(np.stack(frame[LOGITS].to_list()).astype(np.float64), -_LARGEST, _LARGEST)
        return Output(frame["item"].to_numpy(), labels, predicted, metrics.log_softmax(logits))


def outputs(results: Results) -> Outputs:
    """Return the outputs of a study; empty if the predictions were read or written without logits."""
    predictions = results.predictions
    if LOGITS not in predictions or predictions.empty:
        return Outputs(predictions, {})
    rows = cast("dict[tuple[str, str], NDArray[np.int64]]", predictions.groupby(["trial", "fold"]).indices)
    return Outputs(predictions, rows)
