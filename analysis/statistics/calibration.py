"""Calibration: whether confidence agrees with accuracy.

Temperature scaling and the expected calibration error follow Guo et al. ("On Calibration of Modern Neural
Networks", ICML 2017): probabilities become softmax(logits / T), where metrics.fit_temperature fits T; the error is the
mean distance between confidence and accuracy over bins of similar confidence.
Log-probabilities differ from logits by one number per image, so they can be divided by T like logits.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from study.results import metrics

BINS = 15


def tempered(log_probabilities: NDArray, t: float) -> NDArray[np.float64]:
    """Return log-probabilities (n, K) at temperature `t`; the most probable class stays the same."""
    return metrics.log_softmax(log_probabilities / t)


def equal_width(confidence: NDArray, bins: int = BINS) -> NDArray[np.int64]:
    """Return the bin of each confidence; bin b is (b / bins, (b + 1) / bins]."""
    return np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)


def equal_mass(confidence: NDArray, bins: int = BINS) -> NDArray[np.int64]:
    """Return the bin of each confidence; the sizes of the bins differ by at most one."""
    index = np.empty(len(confidence), dtype=np.int64)
    index[np.argsort(confidence, kind="stable")] = np.arange(len(confidence)) * bins // max(len(confidence), 1)
    return index


def calibration_error(confidence: NDArray, right: NDArray, index: NDArray) -> float:
    """Return the expected calibration error of the top class: |accuracy - mean confidence|, weighted by bin size."""
    return float(np.abs(np.bincount(index, weights=right - confidence)).sum() / len(confidence))


def brier(labels: NDArray, log_probabilities: NDArray) -> float:
    """Return the mean squared distance to the one-hot label, summed over classes: 0 to 2 (Brier 1950)."""
    p = np.exp(log_probabilities)
    return float(((p**2).sum(axis=1) - 2 * p[np.arange(len(labels)), labels] + 1).mean())


def reliability(confidence: NDArray, right: NDArray) -> pd.DataFrame:
    """Return mean confidence and accuracy (`right`) of each non-empty bin of equal width."""
    frame = pd.DataFrame({"bin": equal_width(confidence), "confidence": confidence, "right": right.astype(float)})
    columns = {"pictures": ("right", "size"), "confidence": ("confidence", "mean"), "right": ("right", "mean")}
    return frame.groupby("bin").agg(**columns).reset_index()
