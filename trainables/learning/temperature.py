"""Temperature scaling: one number after which a net's confidences mean what they say.

Guo, Pleiss, Sun and Weinberger (2017), On Calibration of Modern Neural Networks.
"""

import numpy as np
from numpy.typing import NDArray

# Beyond these the classes are as good as decided, or as good as alike.
_BOUNDS = (0.01, 100.0)


def fit_temperature(logits: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
    """The T at which softmax(logits / T) has the smallest mean cross-entropy, on logits (n, classes) not trained on.

    Where no picture is misclassified the smaller T is always the better one: nothing can be learned, and T is 1.
    """
    from scipy.optimize import minimize_scalar

    logits = np.asarray(logits, dtype=np.float64)
    if (logits.argmax(axis=1) == labels).all():
        return 1.0
    low, high = np.log(_BOUNDS)
    # Convex in 1 / T, so it has one minimum in log T too.
    found = minimize_scalar(lambda t: cross_entropy(logits / np.exp(t), labels), bounds=(low, high), method="bounded")
    return float(np.exp(found.x))


def cross_entropy(logits: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
    """The mean negative log-likelihood of the labels."""
    from scipy.special import log_softmax

    log_probabilities = log_softmax(np.asarray(logits, dtype=np.float64), axis=1)
    return float(-log_probabilities[np.arange(len(labels)), labels].mean())
