"""How often the answers of a k-fold over the test images are right: small studies of known truth, with real learning.

    python -m tests.benchmarks.replay_kfold --replays 1000    # some ten minutes on one core

Prints the tables of docs/calibration.md. Images are drawn anew for every study, and models learn from them: ridge
regressions in closed form on random features, whose ridge is the nuisance, and nearest centroids. The partitions are
those of trainables/data/splits.py; images of a class being exchangeable, one set of partitions serves all studies.
"""

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.statistics.inference import Estimate, Interval, compare
from tests.benchmarks.replay_model import Share, share
from tests.trees import table
from trainables.data.splits import Folds, divide

PICTURES = (150, 300, 600)
ROUNDS, TEST_FOLDS = 5, 5
SPLIT = "70-15-15"
CLASSES, INPUTS = 3, 10
BATCH = 50  # studies that learn together

_CENTRES = 0.75 * np.random.default_rng(1).standard_normal((CLASSES, INPUTS))
_STABLE = (0.01, 0.1, 1.0, 10.0, 100.0)
_UNSTABLE = (0.0001, 0.001, 0.01)


@dataclass(frozen=True)
class Level:
    """A level of the factor: which measurement of an image it sees, and what it learns by; 0 features: centroids."""

    measurement: int = 0
    features: int = 24
    ridges: tuple[float, ...] = _STABLE


# The second measurement is as good as the first, the third is the first with noise. A hundred features and a hundred
# training images make models that hang on every one of them, wherever the ridge is small.
LEVELS = {
    "base": Level(),
    "alike": Level(1),
    "worse": Level(2),
    "another learner": Level(features=0),
    "unstable": Level(0, 100, _UNSTABLE),
    "unstable, alike": Level(1, 100, _UNSTABLE),
}
UNSTABLE = "alike, unstable"
WAYS = ("test folds", "uncorrected", "all folds together", "one test fold")
PAIRS = {
    "alike": ("base", "alike"),
    "a worse level": ("base", "worse"),
    "another learner": ("base", "another learner"),
    UNSTABLE: ("unstable", "unstable, alike"),
}
Score = Callable[[NDArray[np.int64]], NDArray[np.float64]]


@dataclass(frozen=True)
class Studies:
    """`seen` (studies, measurements, images, INPUTS), `labels` (images,) sorted."""

    seen: NDArray[np.float64]
    labels: NDArray[np.int64]


def draw(studies: int, pictures: int, rng: np.random.Generator) -> Studies:
    """Half of the noise of two measurements of an image is common to them."""
    labels = np.sort(np.arange(pictures) % CLASSES)
    common, *own, more = rng.standard_normal((4, studies, pictures, INPUTS))
    equal = [_CENTRES[labels] + (common + each) / np.sqrt(2) for each in own]
    return Studies(np.stack([*equal, equal[0] + 0.6 * more], axis=1), labels)


def partitions(pictures: int, test_folds: int | None) -> list[Folds]:
    """Of every repeat; with one test fold that of the search before them."""
    manifest = table({str(label): [1] * (pictures // CLASSES) for label in range(CLASSES)})
    repeats = range(1, ROUNDS * test_folds + 1) if test_folds else range(ROUNDS + 1)
    return [divide(manifest, [SPLIT], 0, repeat, False, test_folds=test_folds) for repeat in repeats]


def learn(level: Level, drawn: Studies, train: NDArray[np.int64], rng: np.random.Generator) -> Score:
    """What models say of items: (settings, studies, items, classes), a setting for each ridge."""
    seen, labels = drawn.seen[:, level.measurement], drawn.labels
    if not level.features:
        centres = np.stack([seen[:, train[labels[train] == k]].mean(axis=1) for k in range(CLASSES)], axis=2)
        return lambda items: (2 * seen[:, items] @ centres - (centres**2).sum(axis=1, keepdims=True))[None]
    initialisation = rng.standard_normal((len(seen), INPUTS, level.features)) / np.sqrt(INPUTS)
    features = np.maximum(seen @ initialisation + 0.3, 0)
    x, y = features[:, train], np.eye(CLASSES)[labels[train]]
    gram, target = x.transpose(0, 2, 1) @ x, x.transpose(0, 2, 1) @ y
    weights = np.stack([np.linalg.solve(gram + ridge * np.eye(level.features), target) for ridge in level.ridges])
    return lambda items: features[:, items] @ weights


def right(score: Score, items: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(settings, studies, items)"""
    return score(items).argmax(axis=3) == labels[items]


def best(correct: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The setting with the best mean over items, for each study."""
    return correct.mean(axis=2).argmax(axis=0)


def nested(level: Level, drawn: Studies, folds: list[Folds], rng: np.random.Generator) -> NDArray[np.float64]:
    """Correctness (studies, rounds, images): every fold's setting is chosen on its own validation."""
    studies, pictures = len(drawn.seen), len(drawn.labels)
    found = np.zeros((studies, len(folds) // TEST_FOLDS, pictures))
    for number, fold in enumerate(folds):
        score = learn(level, drawn, fold.train[SPLIT], rng)
        chosen = best(right(score, fold.val, drawn.labels))
        found[:, number // TEST_FOLDS, fold.test] = right(score, fold.test, drawn.labels)[chosen, np.arange(studies)]
    return found


def locked(level: Level, drawn: Studies, folds: list[Folds], rng: np.random.Generator) -> NDArray[np.float64]:
    """Correctness (studies, seeds, test images) on one test fold, the setting chosen on repeat 0, the first."""
    chosen = best(right(learn(level, drawn, folds[0].train[SPLIT], rng), folds[0].val, drawn.labels))
    models = [right(learn(level, drawn, fold.train[SPLIT], rng), fold.test, drawn.labels) for fold in folds[1:]]
    return np.stack([each[chosen, np.arange(len(chosen))] for each in models], axis=1).astype(float)


def replayed(
    pictures: int, names: Iterable[str], replays: int, rng: np.random.Generator
) -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.float64]]]:
    """Correctness of each level over the test folds (studies, rounds, images), and on one test fold."""
    outer, single = partitions(pictures, TEST_FOLDS), partitions(pictures, None)
    in_turn: dict[str, list[NDArray[np.float64]]] = {name: [] for name in names}
    at_once: dict[str, list[NDArray[np.float64]]] = {name: [] for name in names}
    for _ in range(-(-replays // BATCH)):
        drawn = draw(min(BATCH, replays), pictures, rng)
        for name in in_turn:
            in_turn[name].append(nested(LEVELS[name], drawn, outer, rng))
            at_once[name].append(locked(LEVELS[name], drawn, single, rng))
    return _joined(in_turn), _joined(at_once)


def _joined(parts: dict[str, list[NDArray[np.float64]]]) -> dict[str, NDArray[np.float64]]:
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def fold_numbers(pictures: int) -> NDArray[np.int64]:
    """(rounds, images): which of a round's models each image is tested by."""
    numbers = np.zeros((ROUNDS, pictures), dtype=int)
    for i, fold in enumerate(partitions(pictures, TEST_FOLDS)):
        numbers[i // TEST_FOLDS, fold.test] = i % TEST_FOLDS
    return numbers


def of_all_folds(difference: NDArray[np.float64], folds: NDArray[np.int64]) -> Estimate:
    """Bouckaert and Frank (PAKDD 2004): Nadeau and Bengio's correction of the variance of all fold means together."""
    means = [row[numbers == k].mean() for row, numbers in zip(difference, folds, strict=True) for k in np.unique(folds)]
    factor = 1 / len(means) + 1 / (TEST_FOLDS - 1)
    return Estimate(float(np.mean(means)), factor * float(np.var(means, ddof=1)), 0.0, len(means), difference.shape[1])


@dataclass(frozen=True)
class Coverage:
    held: Share  # intervals that hold the truth
    width: float  # of an interval, in points, mean over replays
    found: Share  # studies that find a difference


def coverage(estimates: list[Estimate], truth: float) -> Coverage:
    ends: list[Interval] = [one.interval() for one in estimates]
    return Coverage(
        held=share(np.array([low <= truth <= high for low, high in ends], dtype=float)),
        width=100 * float(np.mean([high - low for low, high in ends])),
        found=share(np.array([not low <= 0 <= high for low, high in ends], dtype=float)),
    )


def measure(pictures: int, pairs: list[str], replays: int, seed: int = 0) -> dict[str, dict[str, Coverage]]:
    """Each way of answering for each pair; the truth of levels that are not alike is the mean over the replays."""
    rng = np.random.default_rng([seed, pictures, len(pairs)])
    names = dict.fromkeys(name for pair in pairs for name in PAIRS[pair])
    in_turn, at_once = replayed(pictures, names, replays, rng)
    folds = fold_numbers(pictures)
    found = {}
    for pair in pairs:
        turn, once = (drawn[PAIRS[pair][0]] - drawn[PAIRS[pair][1]] for drawn in (in_turn, at_once))
        truths = [0.0, 0.0] if pair.startswith("alike") else [float(turn.mean()), float(once.mean())]
        found[pair] = {
            "test folds": coverage([_ours(one, folds) for one in turn], truths[0]),
            "uncorrected": coverage([_ours(one) for one in turn], truths[0]),
            "all folds together": coverage([of_all_folds(one, folds) for one in turn], truths[0]),
            "one test fold": coverage([_ours(one) for one in once], truths[1]),
        }
    return found


def _ours(difference: NDArray[np.float64], folds: NDArray[np.int64] | None = None) -> Estimate:
    return compare(difference, np.zeros_like(difference), np.arange(difference.shape[1]), folds)


def rows(pictures: int, measured: dict[str, dict[str, Coverage]]) -> str:
    return "\n".join(
        f"| {' | '.join([pair, str(pictures), *(_cells(each[way]) for way in WAYS)])} |"
        for pair, each in measured.items()
    )


def _cells(one: Coverage) -> str:
    return f"{100 * one.held[0]:.1f} ± {100 * one.held[1]:.1f}% | {one.width:.1f} | {100 * one.found[0]:.1f}%"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.replay_kfold")
    parser.add_argument("--replays", type=int, default=1000, metavar="N", help="of each line")
    chosen = parser.parse_args(arguments)
    heads = ["levels", "images", *(f"{way}: {what}" for way in WAYS for what in ("held", "width", "found"))]
    print(f"| {' | '.join(heads)} |\n|{' --- |' * len(heads)}", flush=True)
    stable = [pair for pair in PAIRS if pair != UNSTABLE]
    for pictures, pairs in ((PICTURES[0], [UNSTABLE]), *((n, stable) for n in PICTURES)):
        print(rows(pictures, measure(pictures, pairs, chosen.replays)), flush=True)


if __name__ == "__main__":
    main()
