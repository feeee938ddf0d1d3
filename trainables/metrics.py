"""Softmax, classification metrics and temperature scaling, in NumPy.

Logits and log-probabilities have shape (n, K). Labels and predictions are class numbers below K, shape (n,). Means over
classes leave out classes without images.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Logits = NDArray[np.floating]
Labels = NDArray[np.integer]

# The values of `metric`. It selects the best epoch and setting, and is measured on the validation fold.
METRICS = ("val_accuracy", "val_balanced_accuracy", "val_macro_f1", "val_auroc", "val_log_loss", "val_top5")
LESS_IS_BETTER = ("val_log_loss",)
# The metrics of `all_metrics`, which the report shows.
REPORTED = (
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
# Range of temperatures to fit. Beyond it, a softmax is practically one-hot or uniform.
TEMPERATURES = (0.01, 100.0)


def validation_metric(metric: str, logits: Logits, labels: Labels) -> float:
    """Return the value of one of `METRICS`; AUROC is 0.5 if all labels are of one class."""
    predicted = logits.argmax(axis=1)
    match metric:
        case "val_accuracy":
            return accuracy(labels, predicted)
        case "val_balanced_accuracy" | "val_macro_f1":
            scores = per_class(confusion_matrix(labels, predicted, logits.shape[1]))
            values = scores.recall if metric == "val_balanced_accuracy" else scores.f1
            return float(values[scores.support > 0].mean())
        case "val_auroc":
            area = auroc(labels, log_softmax(logits))
            return 0.5 if np.isnan(area) else area
        case "val_log_loss":
            return log_loss(labels, log_softmax(logits))
        case "val_top5":
            return top_k_accuracy(labels, logits, 5)
    raise AssertionError(metric)


def signed(metric: str, value: float) -> float:
    """Return the value, negated if less is better, so that more is always better."""
    return -value if metric in LESS_IS_BETTER else value


def means_over_seeds(settings: Sequence[Sequence[tuple[int, float]]]) -> list[float]:
    """Return the mean score of each setting from its (seed, score) pairs, as if each had been run with every seed.

    Seeds differ, so a setting with fewer seeds would gain or lose by those it lacks. If they are unequal, the scores
    are fitted by least squares as a setting's effect plus a seed's effect (two-way analysis of variance).
    """
    seeds = sorted({seed for pairs in settings for seed, _ in pairs})
    if all(sorted(seed for seed, _ in pairs) == sorted(seed for seed, _ in settings[0]) for pairs in settings):
        return [sum(score for _, score in pairs) / len(pairs) for pairs in settings]
    rows = [(i, seeds.index(seed), score) for i, pairs in enumerate(settings) for seed, score in pairs]
    design = np.zeros((len(rows), len(settings) + len(seeds)))
    for row, (setting, seed, _) in enumerate(rows):
        design[row, [setting, len(settings) + seed]] = 1
    effects = np.linalg.lstsq(design, np.array([score for *_, score in rows]))[0]
    return (effects[: len(settings)] + effects[len(settings) :].mean()).tolist()


def all_metrics(labels: Labels, predicted: Labels, log_probabilities: NDArray[np.float64]) -> dict[str, float]:
    """Return every metric of `REPORTED`, as shares from 0 to 1, or nats; nan if it is not defined for these classes.

    Weighted means weight a class by its number of images, as in scikit-learn's average="weighted" (the weighted recall
    would be the accuracy). `predicted` is a separate argument, because stored logits are rounded, which creates ties.
    """
    classes = log_probabilities.shape[1]
    scores = per_class(confusion_matrix(labels, predicted, classes))
    present = scores.support > 0
    recall = float(scores.recall[present].mean())
    return {
        "accuracy": accuracy(labels, predicted),
        "balanced_accuracy": recall,
        "macro_precision": float(scores.precision[present].mean()),
        "macro_recall": recall,
        "macro_f1": float(scores.f1[present].mean()),
        "weighted_precision": float(np.average(scores.precision, weights=scores.support)),
        "weighted_f1": float(np.average(scores.f1[present], weights=scores.support[present])),
        "auroc": auroc(labels, log_probabilities),
        "log_loss": log_loss(labels, log_probabilities),
        "top5": top_k_accuracy(labels, log_probabilities, 5) if classes > 5 else np.nan,
    }


def softmax(logits: ArrayLike) -> NDArray[np.float64]:
    """Return probabilities (n, K) in float64."""
    shifted = _shifted(logits)
    exponentials = np.exp(shifted)
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def log_softmax(logits: ArrayLike) -> NDArray[np.float64]:
    """Return log-probabilities (n, K) in float64, in nats."""
    shifted = _shifted(logits)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _shifted(logits: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(logits, dtype=np.float64)
    return values - values.max(axis=1, keepdims=True)


def fit_temperature(logits: Logits, labels: Labels) -> float:
    """Return the temperature T at which softmax(logits / T) has the smallest mean cross-entropy on held-out images.

    Temperature scaling (Guo, Pleiss, Sun and Weinberger 2017, On Calibration of Modern Neural Networks). The shipped
    model and the report both use this function. If every image is classified correctly, a smaller T is always better:
    it cannot be fitted, and T is 1.
    """
    from scipy.optimize import minimize_scalar

    logits = np.asarray(logits, dtype=np.float64)
    if (logits.argmax(axis=1) == labels).all():
        return 1.0
    low, high = np.log(TEMPERATURES)
    # The loss is convex in 1 / T, so it has a single minimum in log T as well.
    fitted = minimize_scalar(
        lambda log_t: cross_entropy(logits / np.exp(log_t), labels), bounds=(low, high), method="bounded"
    )
    return float(np.exp(fitted.x))


def accuracy(labels: Labels, predicted: Labels) -> float:
    """Return the share of correct predictions."""
    return float((labels == predicted).mean())


def cross_entropy(logits: Logits, labels: Labels) -> float:
    """Return the mean negative log-likelihood of the labels, in nats, without clipping."""
    return log_loss(labels, log_softmax(logits))


def log_loss(labels: Labels, log_probabilities: NDArray[np.float64]) -> float:
    """Return the mean negative log-probability of the labels, in nats, without clipping."""
    return float(-log_probabilities[np.arange(len(labels)), labels].mean())


def top_k_accuracy(labels: Labels, scores: NDArray[np.floating], k: int) -> float:
    """Return the share of images for which fewer than `k` classes have a higher score (n, K) than the true class."""
    own = scores[np.arange(len(labels)), labels]
    return float(((scores > own[:, None]).sum(axis=1) < k).mean())


@dataclass(frozen=True)
class ClassScores:
    """Scores of every class, shape (K,); recall and F1 are nan for a class without images."""

    precision: NDArray[np.float64]  # 0 where the class was never predicted
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    support: NDArray[np.int64]  # number of images


def confusion_matrix(labels: Labels, predicted: Labels, classes: int) -> NDArray[np.int64]:
    """Return counts (K, K): rows are the true class, columns the predicted class."""
    return np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)


def per_class(confusion: ArrayLike) -> ClassScores:
    """Return precision, recall, F1 and support of every class from a confusion matrix (K, K)."""
    counts = np.asarray(confusion)
    correct, support, predicted = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = correct / support
        f1 = np.where(support > 0, 2 * correct / (support + predicted), np.nan)
    return ClassScores(precision=correct / np.maximum(predicted, 1), recall=recall, f1=f1, support=support)


def auroc(labels: Labels, log_probabilities: NDArray[np.float64]) -> float:
    """Return the area under the ROC curve; for more than two classes, the mean of each class against the rest.

    It is the share of (positive, negative) pairs that are ranked correctly, where ties count half (Mann and Whitney
    1947). It is nan if all labels are of one class.
    """
    from scipy.stats import rankdata

    if log_probabilities.shape[1] == 2:  # the difference separates probabilities that both round to 1
        log_probabilities = np.diff(log_probabilities, axis=1) * [[-1.0, 1.0]]
    present = np.flatnonzero(np.bincount(labels, minlength=log_probabilities.shape[1]))
    if len(present) < 2:
        return np.nan
    ranks = rankdata(log_probabilities[:, present], axis=0)
    positive = labels[:, None] == present[None, :]
    n = positive.sum(axis=0)
    areas = ((ranks * positive).sum(axis=0) - n * (n + 1) / 2) / (n * (len(labels) - n))
    return float(areas.mean())
