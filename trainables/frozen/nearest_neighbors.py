"""Exact nearest neighbors in the space of a net's features, and the classifier they make.

The search is exhaustive and repeatable: of two items at equal distance, the earlier one is nearer.
"""

import numpy as np
from numpy.typing import NDArray

# Squared distances that differ by less than this share of the largest squared length are equal up to rounding.
_EQUAL = 1e-12
_CHUNK = 256  # queries whose distances to the whole gallery are in memory at once
# The nearest neighbor's class wins a tie by this factor on its count; less would be lost in half precision.
_LEAD = 0.01


def vote(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the most frequent label of each row, shape (n,), from labels (n, k) with the nearest first.

    A tie goes to the class of the nearest neighbor among the tied ones.
    """
    counts = np.stack([(labels == column[:, None]).sum(axis=1) for column in labels.T], axis=1)
    return labels[np.arange(len(labels)), counts.argmax(axis=1)]


def neighbor_logits(
    gallery: NDArray[np.floating],
    labels: NDArray[np.int64],
    queries: NDArray[np.floating],
    k: int,
    distance: str,
    classes: int,
) -> NDArray[np.float32]:
    """Return logits (n, classes) whose softmax is the share of votes, smoothed by one vote spread over all classes.

    Args:
        gallery: Features (m, d) of the training images.
        labels: Their labels (m,).
        queries: Features (n, d).
        k: The number of neighbors that vote, at most m.
        distance: "euclidean" or "cosine".
        classes: The number of classes.
    """
    nearest = labels[ExactSearch(gallery, distance).nearest(queries, min(k, len(gallery)))]
    counts = np.stack([(nearest == label).sum(axis=1) for label in range(classes)], axis=1)
    counts = counts + 1 / classes
    counts[np.arange(len(queries)), vote(nearest)] *= 1 + _LEAD
    return np.log(counts).astype(np.float32)


class ExactSearch:
    """Exact search in a gallery (n, d). For "cosine", vectors are normalized and ranked by Euclidean distance."""

    def __init__(self, gallery: NDArray[np.floating], metric: str) -> None:
        from sklearn.neighbors import NearestNeighbors  # takes over a second to import

        self.metric = metric
        self.gallery = self._prepared(gallery)
        self._squared_length = float((self.gallery**2).sum(axis=1).max(initial=0.0))
        self._searcher = NearestNeighbors(metric="euclidean", algorithm="brute").fit(self.gallery)

    def nearest(self, queries: NDArray[np.floating], k: int) -> NDArray[np.int64]:
        """Return the gallery positions (n, k) of the `k` nearest neighbors of queries (n, d), nearest first."""
        return self._nearest(self._prepared(queries), k)

    def nearest_others(self, items: NDArray[np.int64], k: int) -> NDArray[np.int64]:
        """Return the same for members of the gallery; each image queries all others."""
        nearest = self._nearest(self.gallery[items], k + 1)
        own = nearest == items[:, None]
        own[~own.any(axis=1), -1] = True  # more than k images at distance 0 come first
        return nearest[~own].reshape(len(items), k)

    def _nearest(self, queries: NDArray[np.float64], k: int) -> NDArray[np.int64]:
        """Search for one neighbor more; on a tie with the k-th, rank the whole gallery by position."""
        count = len(self.gallery)
        distance, found = self._ranked(queries, min(k + 1, count))
        if k < count:
            tied = np.flatnonzero(distance[:, k - 1] == distance[:, k])
            for first in range(0, len(tied), _CHUNK):
                some = tied[first : first + _CHUNK]
                found[some] = self._ranked(queries[some], count)[1][:, : k + 1]
        return found[:, :k]

    def _ranked(self, queries: NDArray[np.float64], k: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        distance, found = self._searcher.kneighbors(queries, k)
        # Round before comparing, so that the last bit does not order equal distances.
        longest = max(self._squared_length, float((queries**2).sum(axis=1).max(initial=0.0)), np.finfo(float).tiny)
        distance = np.round(distance**2 / (longest * _EQUAL))
        order = np.lexsort((found, distance), axis=1)
        return np.take_along_axis(distance, order, axis=1), np.take_along_axis(found, order, axis=1)

    def _prepared(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        features = np.asarray(features, dtype=np.float64)
        if self.metric == "euclidean":
            return features
        lengths = np.linalg.norm(features, axis=1, keepdims=True)
        return features / np.where(lengths > 0, lengths, 1.0)
