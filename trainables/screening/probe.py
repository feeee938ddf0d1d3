"""A linear probe in closed form: how well frozen features separate the classes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Ridge penalties that are tried, as multiples of the mean energy of the features' directions.
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)


def hat_matrices(features: NDArray[np.floating]) -> list[NDArray[np.float64]]:
    """Return, for each of `STRENGTHS`, the hat matrix (n, n) of ridge regression on `features` (n, f).

    It maps targets to fitted targets. Features are standardized; the intercept is not penalized.
    """
    centered = features - features.mean(axis=0, dtype=np.float64)
    spread = centered.std(axis=0)
    centered /= np.where(spread > 0, spread, 1.0)
    energies, directions = np.linalg.eigh(centered @ centered.T)
    energies = np.clip(energies, 0.0, None)
    mean = energies.mean() or 1.0  # where all features are constant nothing is fitted but the intercept
    return [
        (directions * (energies / (energies + strength * mean))) @ directions.T + 1 / len(features)
        for strength in STRENGTHS
    ]


def leave_one_out(hats: Sequence[NDArray[np.float64]], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for every image (n,) the label predicted by a ridge classifier that was fitted to all others.

    Nothing is refitted: the prediction for image i without i is (H y - h_ii y_i) / (1 - h_ii), y the one-hot labels
    (Allen 1974, PRESS). The hat matrix with the smallest squared error is used.
    """
    classes, positions = np.unique(labels, return_inverse=True)
    targets = np.eye(len(classes))[positions]
    left_out = []
    for hat in hats:
        own = np.diag(hat)[:, None]
        left_out.append((hat @ targets - own * targets) / (1 - own))
    best = min(left_out, key=lambda each: np.square(each - targets).sum())
    return classes[best.argmax(axis=1)]
