"""How often the answers of a k-fold over the test pictures are right: small studies of known truth, with real learning.

    python -m tests.benchmarks.replay_kfold --replays 1000    # some minutes on one core

Prints the table of docs/calibration.md. Pictures are drawn anew for every study, and models learn from them: ridge
regressions in closed form on random features, whose ridge is the nuisance, and nearest centroids. The partitions are
those of trainables/splits.py; pictures of a class being exchangeable, one set of partitions serves all studies.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analysis.statistics.inference import compare
from tests.benchmarks.replay_model import Share, share
from tests.trees import table
from trainables.splits import Folds, divide

PICTURES = (150, 300, 600)
ROUNDS, TEST_FOLDS = 5, 5
SPLIT = "70-15-15"
CLASSES, INPUTS, FEATURES = 3, 10, 24
RIDGES = 10.0 ** np.arange(-2, 3)
BASE, ALIKE = "base", "alike"
BATCH = 50  # studies that learn together

_CENTRES = 0.75 * np.random.default_rng(1).standard_normal((CLASSES, INPUTS))


@dataclass(frozen=True)
class Level:
    """A level of the factor: which measurement of a picture it sees, and what it learns by."""

    measurement: int
    learner: str = "ridge"


LEVELS = {
    BASE: Level(0),
    ALIKE: Level(1),  # as good as the first, and another
    "another learner": Level(0, "centroid"),
    "worse": Level(2),  # the first, with noise
}
Score = Callable[[NDArray[np.int64]], NDArray[np.float64]]


@dataclass(frozen=True)
class Studies:
    """`seen` (studies, measurements, pictures, INPUTS), `labels` (pictures,) sorted."""

    seen: NDArray[np.float64]
    labels: NDArray[np.int64]


def draw(studies: int, pictures: int, rng: np.random.Generator) -> Studies:
    """Half of the noise of two measurements of a picture is common to them."""
    labels = np.sort(np.arange(pictures) % CLASSES)
    common, *own, more = rng.standard_normal((4, studies, pictures, INPUTS))
    equal = [_CENTRES[labels] + (common + each) / np.sqrt(2) for each in own]
    return Studies(np.stack([*equal, equal[0] + 0.6 * more], axis=1), labels)


def learn(level: Level, drawn: Studies, train: NDArray[np.int64], rng: np.random.Generator) -> Score:
    """What models say of items: (settings, studies, items, classes), a setting for each ridge."""
    seen, labels = drawn.seen[:, level.measurement], drawn.labels
    if level.learner == "centroid":
        centres = np.stack([seen[:, train[labels[train] == k]].mean(axis=1) for k in range(CLASSES)], axis=2)
        return lambda items: (2 * seen[:, items] @ centres - (centres**2).sum(axis=1, keepdims=True))[None]
    initialisation = rng.standard_normal((len(seen), INPUTS, FEATURES)) / np.sqrt(INPUTS)
    features = np.maximum(seen @ initialisation + 0.3, 0)
    x, y = features[:, train], np.eye(CLASSES)[labels[train]]
    values, vectors = np.linalg.eigh(x.transpose(0, 2, 1) @ x)
    turned = vectors.transpose(0, 2, 1) @ (x.transpose(0, 2, 1) @ y)
    weights = np.stack([vectors @ (turned / (values + ridge)[:, :, None]) for ridge in RIDGES])
    return lambda items: features[:, items] @ weights


def right(score: Score, items: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(settings, studies, items)"""
    return score(items).argmax(axis=3) == labels[items]


def best(correct: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The setting with the best mean over items, for each study."""
    return correct.mean(axis=2).argmax(axis=0)


def nested(level: Level, drawn: Studies, folds: list[Folds], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Correctness (studies, rounds, pictures): every fold's setting is chosen on its own validation."""
    studies, pictures = len(drawn.seen), len(drawn.labels)
    found = np.zeros((studies, len(folds) // TEST_FOLDS, pictures), dtype=bool)
    for number, fold in enumerate(folds):
        score = learn(level, drawn, fold.train[SPLIT], rng)
        chosen = best(right(score, fold.val, drawn.labels))
        found[:, number // TEST_FOLDS, fold.test] = right(score, fold.test, drawn.labels)[chosen, np.arange(studies)]
    return found


def locked(level: Level, drawn: Studies, folds: list[Folds], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Correctness (studies, seeds, test pictures) on one test fold, the setting chosen on repeat 0, the first."""
    chosen = best(right(learn(level, drawn, folds[0].train[SPLIT], rng), folds[0].val, drawn.labels))
    models = [right(learn(level, drawn, fold.train[SPLIT], rng), fold.test, drawn.labels) for fold in folds[1:]]
    return np.stack([each[chosen, np.arange(len(chosen))] for each in models], axis=1)
