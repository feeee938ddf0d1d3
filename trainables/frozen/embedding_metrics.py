"""How well a net's features separate the classes: kNN accuracy and image retrieval."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.data.folds import Fold
from trainables.frozen.nearest_neighbors import ExactSearch, vote

KS = (1, 3, 7, 10)
DISTANCES = ("euclidean", "cosine")
RECALLS = (1, 2, 4, 8)
# The keys of the rows that the two functions below return, in the order of their tables.
KNN_COLUMNS = ("metric", "k", "fold", "accuracy", "n", "fit_seconds", "predict_seconds", "chosen")
RETRIEVAL_COLUMNS = (*(f"recall_at_{k}" for k in RECALLS), "map_at_r", "r_precision")


@dataclass(frozen=True)
class LabeledFeatures:
    """Features (n, d) of images and their labels (n,)."""

    features: NDArray[np.floating]
    labels: NDArray[np.int64]


def knn_classification(train: LabeledFeatures, val: LabeledFeatures, test: LabeledFeatures) -> list[dict[str, Any]]:
    """Return one row for the accuracy of every metric and k on `val`, and one for the best of them on `test`.

    Neighbors come from `train`. Ties go to the smaller k, then to the first metric. `predict_seconds` is the time of a
    search for the largest k and one vote. The keys of a row are `KNN_COLUMNS`.
    """
    rows = [row for metric in DISTANCES for row in _accuracies(train, val, "val", metric)]
    best = max(rows, key=lambda row: (row["accuracy"], -row["k"]))
    tested = next(row for row in _accuracies(train, test, "test", best["metric"]) if row["k"] == best["k"])
    return [row | {"chosen": row is best} for row in rows] + [tested | {"chosen": True}]


def _accuracies(train: LabeledFeatures, queries: LabeledFeatures, fold: Fold, metric: str) -> Iterator[dict[str, Any]]:
    began = time.perf_counter()
    search = ExactSearch(train.features, metric)
    fitted = time.perf_counter()
    ks = [k for k in KS if k <= len(train.labels)]
    neighbors = train.labels[search.nearest(queries.features, ks[-1])]
    searched = time.perf_counter()
    for k in ks:
        started = time.perf_counter()
        accuracy = float((vote(neighbors[:, :k]) == queries.labels).mean())
        yield {
            "metric": metric,
            "k": k,
            "fold": fold,
            "accuracy": accuracy,
            "n": len(queries.labels),
            "fit_seconds": fitted - began,
            "predict_seconds": searched - fitted + time.perf_counter() - started,
        }


def retrieval(images: LabeledFeatures) -> dict[str, float]:
    """Return how well every image retrieves the others of its class, by L2-normalized features.

    A query's class has R other images. Recall at K is the share of queries with at least one of them among the K
    nearest images. R-precision is the share of them among the R nearest. MAP@R is 1/R times the sum over i = 1 ... R of
    the precision among the i nearest, where only those i count whose i-th image is of the class (Musgrave, Belongie and
    Lim 2020, A Metric Learning Reality Check). Queries without another image of their class are left out; without any
    query, the values are nan. The keys are `RETRIEVAL_COLUMNS`.
    """
    labels = images.labels
    others = np.array([(labels == label).sum() - 1 for label in labels])
    queries = np.flatnonzero(others)
    depth = min(max(*RECALLS, others.max(initial=0)), len(labels) - 1)
    nearest = np.empty((0, depth), dtype=np.int64)
    if len(queries):
        nearest = ExactSearch(images.features, "cosine").nearest_others(queries, depth)
    hits = labels[nearest] == labels[queries, None]
    r = others[queries, None]
    rank = np.arange(1, depth + 1)
    precision = hits.cumsum(axis=1) / rank
    within = rank <= r
    return {f"recall_at_{k}": _mean(hits[:, :k].any(axis=1)) for k in RECALLS} | {
        "map_at_r": _mean((precision * hits * within).sum(axis=1) / r[:, 0]),
        "r_precision": _mean((hits * within).sum(axis=1) / r[:, 0]),
    }


def second_half(images: LabeledFeatures, classes: int) -> LabeledFeatures:
    """Return the images of the second half of the classes, the larger half if their number is odd.

    A net that was trained on the first half has not seen them. Song et al. 2016 divide Stanford Cars this way.
    """
    in_half = images.labels >= classes // 2
    return LabeledFeatures(images.features[in_half], images.labels[in_half])


def _mean(values: NDArray) -> float:
    return float(values.mean()) if len(values) else float("nan")
