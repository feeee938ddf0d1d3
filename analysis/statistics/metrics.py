"""Classification metrics from labels and predictions.

Log-probabilities have shape (n, K); labels and predicted have shape (n,) and hold class numbers below K. A class
without images among the labels is left out of every mean over classes; predicting it is an error of the image's class.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

METRICS = (
    "accuracy",
    "balanced_accuracy",
    "macro_precision",
    "macro_recall",
    "macro_f1",
    "weighted_precision",
    "weighted_f1",
    "auroc",
    "log_loss",
    "top5",
)


@dataclass(frozen=True)
class Rates:
    """One number per class; recall and F1 of a class without images are nan."""

    precision: NDArray[np.float64]  # 0 where the class was never predicted
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    support: NDArray[np.int64]  # images


def log_softmax(logits: ArrayLike) -> NDArray[np.float64]:
    logits = np.asarray(logits, dtype=np.float64)
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def metrics(labels: ArrayLike, predicted: ArrayLike, log_probabilities: ArrayLike) -> dict[str, float]:
    """Return every number of `METRICS`; those that do not exist for these classes are nan.

    Balanced accuracy is the macro recall. Weighted means weigh a class by its images (scikit-learn's
    average="weighted"), so weighted recall is accuracy. `predicted` is an argument because stored logits are rounded,
    and rounding makes ties.
    """
    labels, predicted = np.asarray(labels), np.asarray(predicted)
    log_probabilities = np.asarray(log_probabilities, dtype=np.float64)
    classes = log_probabilities.shape[1]
    each = rates(np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes))
    there = each.support > 0
    recall = float(each.recall[there].mean())
    return {
        "accuracy": float((labels == predicted).mean()),
        "balanced_accuracy": recall,
        "macro_precision": float(each.precision[there].mean()),
        "macro_recall": recall,
        "macro_f1": float(each.f1[there].mean()),
        "weighted_precision": float(np.average(each.precision, weights=each.support)),
        "weighted_f1": float(np.average(each.f1[there], weights=each.support[there])),
        "auroc": auroc(labels, log_probabilities),
        "log_loss": log_loss(labels, log_probabilities),
        "top5": top(labels, log_probabilities, 5) if classes > 5 else np.nan,
    }


def rates(confusion: ArrayLike) -> Rates:
    """Precision, recall, F1 and support of each class from counts, rows the true class, columns the predicted one."""
    counts = np.asarray(confusion)
    right, support, named = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = right / support
        f1 = np.where(support > 0, 2 * right / (support + named), np.nan)
    return Rates(precision=right / np.maximum(named, 1), recall=recall, f1=f1, support=support)


def log_loss(labels: NDArray, log_probabilities: NDArray) -> float:
    """Mean cross-entropy in nats, without any clipping."""
    return float(-log_probabilities[np.arange(len(labels)), labels].mean())


def top(labels: NDArray, log_probabilities: NDArray, most: int) -> float:
    """Top-`most` accuracy: how often fewer than `most` classes are more probable than the label."""
    own = log_probabilities[np.arange(len(labels)), labels]
    return float(((log_probabilities > own[:, None]).sum(axis=1) < most).mean())


def auroc(labels: NDArray, log_probabilities: NDArray) -> float:
    """Area under the ROC curve: of two classes the usual one, of more the macro mean of one versus rest.

    The share of (inside, outside) pairs in the right order, ties counting half (Mann and Whitney 1947).
    """
    if log_probabilities.shape[1] == 2:  # the difference separates what rounds to a probability of 1
        log_probabilities = np.diff(log_probabilities, axis=1) * [[-1.0, 1.0]]
    present = np.flatnonzero(np.bincount(labels, minlength=log_probabilities.shape[1]))
    if len(present) < 2:
        return np.nan
    ranks = stats.rankdata(log_probabilities[:, present], axis=0)
    inside = labels[:, None] == present[None, :]
    n = inside.sum(axis=0)
    areas = ((ranks * inside).sum(axis=0) - n * (n + 1) / 2) / (n * (len(labels) - n))
    return float(areas.mean())
