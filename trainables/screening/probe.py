"""A linear probe in closed form: how well frozen features separate the classes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Ridge penalties to try, as multiples of the mean eigenvalue of the features' Gram matrix.
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)


def hat_matrices(features: NDArray[np.floating]) -> list[NDArray[np.float64]]:
    """Return, for each of `STRENGTHS`, the hat matrix (n, n) of ridge regression on `features` (n, f).

    The hat matrix maps targets to fitted targets. Features are standardized, and the intercept is not penalized.
    """
    centered = features - features.mean(axis=0, dtype=np.float64)
    spread = centered.std(axis=0)
    centered /= np.where(spread > 0, spread, 1.0)
    eigenvalues, eigenvectors = np.linalg.eigh(centered @ centered.T)
    eigenvalues = np.clip(eigenvalues, 0.0, None)
    mean = eigenvalues.mean() or 1.0  # if all features are constant, only the intercept is fitted
    return [
        (eigenvectors * (eigenvalues / (eigenvalues + strength * mean))) @ eigenvectors.T + 1 / len(features)
        for strength in STRENGTHS
    ]


def leave_one_out(hats: Sequence[NDArray[np.float64]], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return, for every image (n,), the label that a ridge classifier fitted to all other images predicts.

    Nothing is refitted: without image i, its prediction is ((H y)_i - h_ii y_i) / (1 - h_ii), where y are the one-hot
    labels (Allen 1974, PRESS). The hat matrix with the smallest squared error is used.
    """
    classes, positions = np.unique(labels, return_inverse=True)
    targets = np.eye(len(classes))[positions]
    left_out = []
    for hat in hats:
        leverage = np.diag(hat)[:, None]
        left_out.append((hat @ targets - leverage * targets) / (1 - leverage))
    best = min(left_out, key=lambda predictions: np.square(predictions - targets).sum())
    return classes[best.argmax(axis=1)]
