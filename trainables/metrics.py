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
            return _recall(logits, labels)
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


def _recall(logits: Logits, labels: Labels) -> float:
    """The mean recall of the classes that have images."""
    from sklearn.metrics import recall_score  # half a second that accuracy need not wait for

    there = np.unique(labels)
    return float(recall_score(labels, logits.argmax(axis=1), labels=there, average="macro", zero_division=0))


def _macro_f1(logits: Logits, labels: Labels) -> float:
    """The mean F1 of the classes that have images."""
    from sklearn.metrics import f1_score

    there = np.unique(labels)
    return float(f1_score(labels, logits.argmax(axis=1), labels=there, average="macro", zero_division=0))


def _auroc(logits: Logits, labels: Labels) -> float:
    """One class against the rest, the mean over classes that have images of both kinds; a half without any."""
    from sklearn.metrics import roc_auc_score

    log_probabilities, there = _log_softmax(logits), np.unique(labels)
    if len(there) < 2:
        return 0.5
    return float(np.mean([roc_auc_score(labels == label, log_probabilities[:, label]) for label in there]))


def _log_loss(logits: Logits, labels: Labels) -> float:
    return float(-_log_softmax(logits)[np.arange(len(labels)), labels].mean())


def _top(logits: Logits, labels: Labels, most: int) -> float:
    """How often fewer than `most` classes have a higher logit than the right one."""
    own = logits[np.arange(len(labels)), labels]
    return float(((logits > own[:, None]).sum(axis=1) < most).mean())


def _log_softmax(logits: Logits) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
