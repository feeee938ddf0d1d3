"""Exact nearest neighbors in the feature space of a net, and the kNN classifier.

The search is exhaustive and repeatable: at equal distance, the earlier item counts as nearer.
"""

import numpy as np
from numpy.typing import NDArray

# Squared distances count as equal if they differ by less than this share of the largest squared length.
_EQUAL = 1e-12
_CHUNK = 256  # queries whose distances to the whole gallery are in memory at once
# A relative bonus on the count of a vote's winner, so that it wins ties. A smaller one would vanish in half precision.
_LEAD = 0.01


def vote(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the most frequent label of each row (n,) from the labels of neighbors (n, k), nearest first.

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
    """Return logits (n, classes) whose softmax is the share of votes, with one more vote spread over all classes.

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
    """Exact search in a gallery (m, d). For "cosine", vectors are normalized and ranked by Euclidean distance."""

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
        """Return the `k` nearest neighbors (n, k) of members of the gallery (n,); each image queries all others."""
        nearest = self._nearest(self.gallery[items], k + 1)
        itself = nearest == items[:, None]
        itself[~itself.any(axis=1), -1] = True  # more than k other images at distance 0 come first
        return nearest[~itself].reshape(len(items), k)

    def _nearest(self, queries: NDArray[np.float64], k: int) -> NDArray[np.int64]:
        """Search for one extra neighbor; if it ties with the k-th, rank the whole gallery."""
        count = len(self.gallery)
        distance, nearest = self._ranked(queries, min(k + 1, count))
        if k < count:
            tied = np.flatnonzero(distance[:, k - 1] == distance[:, k])
            for first in range(0, len(tied), _CHUNK):
                chunk = tied[first : first + _CHUNK]
                nearest[chunk] = self._ranked(queries[chunk], count)[1][:, : k + 1]
        return nearest[:, :k]

    def _ranked(self, queries: NDArray[np.float64], k: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        distance, nearest = self._searcher.kneighbors(queries, k)
        # Round before comparing, so that the last bit does not order equal distances.
        longest = max(self._squared_length, float((queries**2).sum(axis=1).max(initial=0.0)), np.finfo(float).tiny)
        distance = np.round(distance**2 / (longest * _EQUAL))
        order = np.lexsort((nearest, distance), axis=1)
        return np.take_along_axis(distance, order, axis=1), np.take_along_axis(nearest, order, axis=1)

    def _prepared(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        features = np.asarray(features, dtype=np.float64)
        if self.metric == "euclidean":
            return features
        lengths = np.linalg.norm(features, axis=1, keepdims=True)
        return features / np.where(lengths > 0, lengths, 1.0)
