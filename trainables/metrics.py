"""The numbers a study may choose by: of logits (n, classes) and labels, as summed counts over n."""

import numpy as np
from numpy.typing import NDArray

Logits = NDArray[np.floating]
Labels = NDArray[np.integer]

METRICS = ("val_accuracy", "val_balanced_accuracy", "val_macro_f1", "val_auroc", "val_log_loss", "val_top5")
LESS_IS_BETTER = ("val_log_loss",)


def measure(metric: str, logits: Logits, labels: Labels) -> float:
    """The metric as people quote it."""
    match metric:
        case "val_accuracy":
            return float((logits.argmax(axis=1) == labels).mean())
        case "val_balanced_accuracy":
            return float(_recalls(logits, labels).mean())
        case "val_macro_f1":
            return _macro_f1(logits, labels)
        case "val_auroc":
            return _auroc(logits, labels)
        case "val_log_loss":
            return _log_loss(logits, labels)
        case "val_top5":
            return _top(logits, labels, 5)
    raise AssertionError(metric)


def signed(metric: str, value: float) -> float:
    """The metric turned so that more is better."""
    return -value if metric in LESS_IS_BETTER else value


def _counts(logits: Logits, labels: Labels) -> tuple[NDArray, NDArray, NDArray]:
    """Per class: right predictions, pictures, predictions."""
    classes, predicted = logits.shape[1], logits.argmax(axis=1)
    right = np.bincount(labels[predicted == labels], minlength=classes)
    return right, np.bincount(labels, minlength=classes), np.bincount(predicted, minlength=classes)


def _recalls(logits: Logits, labels: Labels) -> NDArray:
    """Of the classes that have pictures."""
    right, there, _ = _counts(logits, labels)
    return right[there > 0] / there[there > 0]


def _macro_f1(logits: Logits, labels: Labels) -> float:
    """The mean F1 of the classes that have pictures; 2 right / (pictures + predictions) is F1."""
    right, there, predicted = _counts(logits, labels)
    return float((2 * right[there > 0] / (there + predicted)[there > 0]).mean())


def _auroc(logits: Logits, labels: Labels) -> float:
    """One class against the rest, the mean over classes that have pictures of both kinds.

    The area is the share of (inside, outside) pairs in the right order, ties half (Mann and Whitney 1947).
    """
    from scipy.stats import rankdata

    log_probabilities = _log_softmax(logits)
    areas = []
    for label in np.unique(labels):
        inside = labels == label
        count, rest = inside.sum(), (~inside).sum()
        if rest:
            ranks = rankdata(log_probabilities[:, label])[inside].sum()
            areas.append((ranks - count * (count + 1) / 2) / (count * rest))
    return float(np.mean(areas)) if areas else 0.5


def _log_loss(logits: Logits, labels: Labels) -> float:
    return float(-_log_softmax(logits)[np.arange(len(labels)), labels].mean())


def _top(logits: Logits, labels: Labels, most: int) -> float:
    """How often fewer than `most` classes have a higher logit than the right one."""
    own = logits[np.arange(len(labels)), labels]
    return float(((logits > own[:, None]).sum(axis=1) < most).mean())


def _log_softmax(logits: Logits) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
