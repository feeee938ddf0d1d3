"""How often the answers of a k-fold over the test pictures are right: small studies of known truth, with real learning.

    python -m tests.benchmarks.replay_kfold --replays 1000    # some ten minutes on one core

Prints the tables of docs/calibration.md. Pictures are drawn anew for every study, and models learn from them: ridge
regressions in closed form on random features, whose ridge is the nuisance, and nearest centroids. The partitions are
those of trainables/splits.py; pictures of a class being exchangeable, one set of partitions serves all studies.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analysis.statistics.inference import Estimate, Interval, compare
from tests.benchmarks.replay_model import Share, share
from tests.trees import table
from trainables.splits import Folds, divide

PICTURES = (150, 300, 600)
ROUNDS, TEST_FOLDS = 5, 5
SPLIT = "70-15-15"
CLASSES, INPUTS = 3, 10
BATCH = 50  # studies that learn together

_CENTRES = 0.75 * np.random.default_rng(1).standard_normal((CLASSES, INPUTS))
_STABLE = 10.0 ** np.arange(-2, 3)
_UNSTABLE = 10.0 ** np.arange(-4, -1)


@dataclass(frozen=True)
class Level:
    """A level of the factor: which measurement of a picture it sees, and what it learns by; 0 features: centroids."""

    measurement: int = 0
    features: int = 24
    ridges: tuple[float, ...] = tuple(_STABLE)


# The second measurement is as good as the first, the third is the first with noise. A hundred features and a hundred
# training pictures make models that hang on every one of them, wherever the ridge is small.
PAIRS = {
    "alike": (Level(), Level(1)),
    "a worse level": (Level(), Level(2)),
    "another learner": (Level(), Level(features=0)),
    "alike, unstable": (Level(0, 100, tuple(_UNSTABLE)), Level(1, 100, tuple(_UNSTABLE))),
}
WORLDS = [(pair, n) for pair in PAIRS for n in PICTURES if n == min(PICTURES) or "unstable" not in pair]
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
    values, vectors = np.linalg.eigh(x.transpose(0, 2, 1) @ x)
    turned = vectors.transpose(0, 2, 1) @ (x.transpose(0, 2, 1) @ y)
    weights = np.stack([vectors @ (turned / (values + ridge)[:, :, None]) for ridge in level.ridges])
    return lambda items: features[:, items] @ weights


def right(score: Score, items: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(settings, studies, items)"""
    return score(items).argmax(axis=3) == labels[items]


def best(correct: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The setting with the best mean over items, for each study."""
    return correct.mean(axis=2).argmax(axis=0)


def nested(level: Level, drawn: Studies, folds: list[Folds], rng: np.random.Generator) -> NDArray[np.float64]:
    """Correctness (studies, rounds, pictures): every fold's setting is chosen on its own validation."""
    studies, pictures = len(drawn.seen), len(drawn.labels)
    found = np.zeros((studies, len(folds) // TEST_FOLDS, pictures))
    for number, fold in enumerate(folds):
        score = learn(level, drawn, fold.train[SPLIT], rng)
        chosen = best(right(score, fold.val, drawn.labels))
        found[:, number // TEST_FOLDS, fold.test] = right(score, fold.test, drawn.labels)[chosen, np.arange(studies)]
    return found


def locked(level: Level, drawn: Studies, folds: list[Folds], rng: np.random.Generator) -> NDArray[np.float64]:
    """Correctness (studies, seeds, test pictures) on one test fold, the setting chosen on repeat 0, the first."""
    chosen = best(right(learn(level, drawn, folds[0].train[SPLIT], rng), folds[0].val, drawn.labels))
    models = [right(learn(level, drawn, fold.train[SPLIT], rng), fold.test, drawn.labels) for fold in folds[1:]]
    return np.stack([each[chosen, np.arange(len(chosen))] for each in models], axis=1).astype(float)


def differences(
    pair: str, pictures: int, replays: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of correctness between two levels: over the test folds (studies, rounds, pictures), and on one test fold."""
    outer, single = partitions(pictures, TEST_FOLDS), partitions(pictures, None)
    found: tuple[list, list] = [], []
    for _ in range(-(-replays // BATCH)):
        drawn = draw(min(BATCH, replays), pictures, rng)
        for way, folds, into in ((nested, outer, found[0]), (locked, single, found[1])):
            a, b = (way(level, drawn, folds, rng) for level in PAIRS[pair])
            into.append(a - b)
    return np.concatenate(found[0]), np.concatenate(found[1])


def fold_numbers(pictures: int) -> NDArray[np.int64]:
    """(rounds, pictures): which of a round's models each picture is tested by."""
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


def measure(pair: str, pictures: int, replays: int, seed: int = 0) -> dict[str, Coverage]:
    """Each way of answering; the truth of levels that are not alike is the mean over the replays themselves."""
    rng = np.random.default_rng([seed, pictures, list(PAIRS).index(pair)])
    in_turn, at_once = differences(pair, pictures, replays, rng)
    folds = fold_numbers(pictures)

    def truth(drawn: NDArray[np.float64]) -> float:
        return 0.0 if "alike" in pair else float(drawn.mean())

    def each(how: Callable[..., Estimate], drawn: NDArray[np.float64]) -> Coverage:
        return coverage([how(one) for one in drawn], truth(drawn))

    def ours(one: NDArray[np.float64], folds: NDArray[np.int64] | None = None) -> Estimate:
        return compare(one, np.zeros_like(one), np.arange(one.shape[1]), folds)

    return {
        "test folds": each(partial(ours, folds=folds), in_turn),
        "without the correction": each(ours, in_turn),
        "all folds together": each(partial(of_all_folds, folds=folds), in_turn),
        "one test fold": each(ours, at_once),
    }


def kfold_table(measured: dict[tuple[str, int], dict[str, Coverage]]) -> str:
    ways = list(next(iter(measured.values())))
    head = ["levels", "pictures", *(f"{way}: {what}" for way in ways for what in ("held", "width", "found"))]
    rows = [
        [pair, str(pictures), *(text for one in each.values() for text in _cells(one))]
        for (pair, pictures), each in measured.items()
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---", *["---:"] * (len(head) - 1)], *rows])


def _cells(one: Coverage) -> list[str]:
    held, found = (f"{100 * value:.1f} ± {100 * error:.1f} %" for value, error in (one.held, one.found))
    return [held, f"{one.width:.1f}", found]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.replay_kfold", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--replays", type=int, default=1000, metavar="N", help="of each line")
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the table there")
    chosen = parser.parse_args(arguments)
    text = kfold_table({world: measure(*world, chosen.replays) for world in WORLDS}) + "\n"
    print(text, end="")
    if chosen.out:
        chosen.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
