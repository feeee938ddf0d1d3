"""Nearest neighbors in the space of a net's features: as a classifier, and as a search for more of the same class.

Everything is exact and repeatable: all distances are looked at, and of two that are equal the earlier item is nearer.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

KS = (1, 3, 7, 10)
METRICS = ("euclidean", "cosine")
RECALLS = (1, 2, 4, 8)
# Squared distances closer than this share of the largest squared length are equal: rounding tells them apart.
_EQUAL = 1e-12
_AT_ONCE = 256  # queries whose distances to the whole gallery are held together


@dataclass(frozen=True)
class Labelled:
    """Features (n, d) of images and their labels (n,)."""

    features: NDArray[np.floating]
    labels: NDArray[np.int64]


def knn_classification(train: Labelled, val: Labelled, test: Labelled) -> list[dict[str, Any]]:
    """The accuracy of every metric and k on `val`, and of the best of them on `test`; neighbors come from `train`.

    Of equally good ones the smaller k, then the first metric is chosen. `predict_seconds` are of a search for the
    largest k and one vote.
    """
    rows = [row for metric in METRICS for row in _accuracies(train, val, "val", metric)]
    best = max(rows, key=lambda row: (row["accuracy"], -row["k"]))
    tested = next(row for row in _accuracies(train, test, "test", best["metric"]) if row["k"] == best["k"])
    return [row | {"chosen": row is best} for row in rows] + [tested | {"chosen": True}]


def _accuracies(train: Labelled, queries: Labelled, fold: str, metric: str) -> Iterator[dict[str, Any]]:
    began = time.perf_counter()
    search = Search(train.features, metric)
    fitted = time.perf_counter()
    ks = [k for k in KS if k <= len(train.labels)]
    found = train.labels[search.nearest(queries.features, ks[-1])]
    searched = time.perf_counter()
    for k in ks:
        started = time.perf_counter()
        accuracy = float((vote(found[:, :k]) == queries.labels).mean())
        yield {
            "metric": metric,
            "k": k,
            "fold": fold,
            "accuracy": accuracy,
            "n": len(queries.labels),
            "fit_seconds": fitted - began,
            "predict_seconds": searched - fitted + time.perf_counter() - started,
        }


def vote(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """The most frequent label of each row (n, k), nearest first; of equally frequent ones that of the nearest."""
    counts = np.stack([(labels == column[:, None]).sum(axis=1) for column in labels.T], axis=1)
    return labels[np.arange(len(labels)), counts.argmax(axis=1)]


def retrieval(pictures: Labelled) -> dict[str, float]:
    """How well each image finds the others of its class among all others, by its L2-normalized features.

    With R others of a query's class: recall at K is the share of queries with at least one of them among the K
    nearest; R-precision is the share of them among the R nearest; MAP@R is 1/R times the sum over i = 1 ... R of the
    precision among the i nearest, counted where the i-th is of the class (Musgrave, Belongie and Lim 2020, A Metric
    Learning Reality Check). Queries without another image of their class are left out; nan if all are.
    """
    labels = pictures.labels
    others = np.array([(labels == label).sum() - 1 for label in labels])
    queries = np.flatnonzero(others)
    depth = min(max(*RECALLS, others.max(initial=0)), len(labels) - 1)
    found = Search(pictures.features, "cosine").nearest_others(queries, depth) if len(queries) else np.empty((0, depth))
    hits = labels[found.astype(np.int64)] == labels[queries, None]
    r = others[queries, None]
    place = np.arange(1, depth + 1)
    precision = hits.cumsum(axis=1) / place
    within = place <= r
    return {f"recall_at_{k}": _mean(hits[:, :k].any(axis=1)) for k in RECALLS} | {
        "map_at_r": _mean((precision * hits * within).sum(axis=1) / r[:, 0]),
        "r_precision": _mean((hits * within).sum(axis=1) / r[:, 0]),
    }


def second_half(pictures: Labelled, classes: int) -> Labelled:
    """Those of the later classes in label order, of an odd number the more: what a net that was trained on the first
    half alone has not seen (Song et al. 2016 divide Stanford Cars so)."""
    chosen = pictures.labels >= classes // 2
    return Labelled(pictures.features[chosen], pictures.labels[chosen])


class Search:
    """Exact search in a gallery (n, d); under "cosine" all vectors are given length 1 first, which ranks the same."""

    def __init__(self, gallery: NDArray[np.floating], metric: str) -> None:
        from sklearn.neighbors import NearestNeighbors  # over a second, which few trials need

        self.metric = metric
        self.gallery = self._prepared(gallery)
        self._squared_length = float((self.gallery**2).sum(axis=1).max(initial=0.0))
        self._searcher = NearestNeighbors(metric="euclidean", algorithm="brute").fit(self.gallery)

    def nearest(self, queries: NDArray[np.floating], k: int) -> NDArray[np.int64]:
        """The positions of the `k` nearest of the gallery, nearest first, shape (n, k)."""
        return self._nearest(self._prepared(queries), k)

    def nearest_others(self, items: NDArray[np.int64], k: int) -> NDArray[np.int64]:
        """The same for members of the gallery, who do not find themselves."""
        found = self._nearest(self.gallery[items], k + 1)
        own = found == items[:, None]
        own[~own.any(axis=1), -1] = True  # farther than k equal ones
        return found[~own].reshape(len(items), k)

    def _nearest(self, queries: NDArray[np.float64], k: int) -> NDArray[np.int64]:
        """One more than asked for is looked at: where it is as near as the last, all that are so must be known."""
        count = len(self.gallery)
        distance, found = self._ranked(queries, min(k + 1, count))
        if k < count:
            tied = np.flatnonzero(distance[:, k - 1] == distance[:, k])
            for first in range(0, len(tied), _AT_ONCE):
                some = tied[first : first + _AT_ONCE]
                found[some] = self._ranked(queries[some], count)[1][:, : k + 1]
        return found[:, :k]

    def _ranked(self, queries: NDArray[np.float64], k: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        distance, found = self._searcher.kneighbors(queries, k)
        # Rounded before they are compared, or equal ones would be ordered by the last bit.
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


def _mean(values: NDArray) -> float:
    return float(values.mean()) if len(values) else float("nan")
