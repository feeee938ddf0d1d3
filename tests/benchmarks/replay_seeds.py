"""Studies that add seeds where more could settle a pair: how often their answers are right, and what they cost.

Every study compares three levels of one factor. It sees the validation accuracy of every seed, on a new partition of
the images that are not for testing, and study/schedule/more_seeds.py says which levels get more. A model's luck is the
same on validation and on test, so a study that stops when validation looks clear could find too much on test.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from analysis.statistics.inference import Estimate, compare, holm
from study.schedule.more_seeds import more_seeds
from tests.benchmarks.replay_model import (
    Share,
    World,
    accuracy_found,
    correct,
    draw_images,
    draw_models,
    oracle,
    percent,
    share,
    world_of,
)
from trainables.metrics import means_over_seeds

SEEDS, MOST_SEEDS = 5, 15
ACCURACY, ALPHA, MARGIN = 0.85, 0.05, 0.01
ITEMS = (150, 1500)
LEVELS = ("one", "two", "three")
POOL = 85 / 15  # images that are not for testing, for each validation image of 70-15-15
# By how much the third level is worse, in effects that five seeds find with power 0.8 if the variances' split is known.
EFFECTS = {"none is worse": 0.0, "one is worse": 1.0, "one is clearly worse": 2.5}


@dataclass(frozen=True)
class Outcome:
    """What was measured of one kind of study."""

    held: Share  # intervals that contain the truth
    false: Share  # studies that claim a difference that does not exist
    seeds: Share  # models in the confirmation of three levels: 15 to 45
    power_five: Share | None  # true differences that five seeds find; None without one
    power: Share | None  # and that the study finds


def measure(items: int, ratio: float, effect: float, replays: int, seed: int = 0) -> Outcome:
    """Replay studies; at five seeds, seeds make `ratio` times as much of a difference's variance as images do."""
    world = world_of(SEEDS, items, ratio, ACCURACY)
    worse = max(ACCURACY - effect * (ACCURACY - accuracy_found(world, ACCURACY, SEEDS, items)), 0.02)
    accuracies = [ACCURACY, ACCURACY, worse if effect else ACCURACY]
    gap = oracle(world, ACCURACY, worse, SEEDS, items).difference if effect else 0.0
    rng = np.random.default_rng([seed, items, int(100 * ratio), int(10 * effect)])
    studies = [_study(world, accuracies, items, gap, rng) for _ in range(replays)]
    held, false, seeds, power_five, power = (share(np.array(values)) for values in zip(*studies, strict=True))
    return Outcome(held, false, seeds, power_five if effect else None, power if effect else None)


def _study(
    world: World, accuracies: list[float], items: int, gap: float, rng: np.random.Generator
) -> tuple[float, bool, int, float, float]:
    """Return the fields of an outcome for one study."""
    models = draw_models(world, accuracies, MOST_SEEDS, rng)
    totals = course(_validated(world, models, items, rng), items)
    tested = correct(world, models[:, : max(totals)], draw_images(world, len(models), items, rng), rng)
    truth = {(a, b): gap if b == 2 else 0.0 for a, b in combinations(range(3), 2)}
    estimates = _estimates(tested, totals)
    claims, five = _claims(estimates), _claims(_estimates(tested, [SEEDS] * 3))
    ends = {pair: estimate.interval() for pair, estimate in estimates.items()}
    held = np.mean([low <= truth[pair] <= high for pair, (low, high) in ends.items()])
    real = [pair for pair, difference in truth.items() if difference]
    return (
        float(held),
        bool(claims - set(real)),
        sum(totals),
        float(np.mean([pair in five for pair in real])) if real else 0.0,
        float(np.mean([pair in claims for pair in real])) if real else 0.0,
    )


def _validated(world: World, models: NDArray[np.float32], items: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """The validation accuracy of every model (settings, seeds), each seed on its own partition of the same images."""
    pool = draw_images(world, len(models), round(POOL * items), rng)
    folds = [pool[:, rng.permutation(pool.shape[1])[:items]] for _ in range(models.shape[1])]
    each = [correct(world, models[:, [seed]], fold, rng).mean(axis=2) for seed, fold in enumerate(folds)]
    return np.concatenate(each, axis=1)


def course(validated: NDArray[np.float64], items: int) -> list[int]:
    """The seeds of each level, when the rule adds no more."""
    totals = dict.fromkeys(LEVELS, SEEDS)
    while True:
        seen = {level: validated[i, : totals[level]].tolist() for i, level in enumerate(LEVELS)}
        means = means_over_seeds([list(enumerate(scores)) for scores in seen.values()])
        leader = LEVELS[int(np.argmax(means))]
        more = more_seeds(seen, leader, {"factor": LEVELS}, items, items, MARGIN, SEEDS, MOST_SEEDS)
        if not more:
            return list(totals.values())
        totals |= more


def _estimates(tested: NDArray[np.bool_], totals: Sequence[int]) -> dict[tuple[int, int], Estimate]:
    """Compare every two levels on their common seeds."""
    groups, estimates = np.arange(tested.shape[2]), {}
    for a, b in combinations(range(len(totals)), 2):
        common = min(totals[a], totals[b])
        estimates[a, b] = compare(tested[a, :common], tested[b, :common], groups)
    return estimates


def _claims(estimates: Mapping[tuple[int, int], Estimate]) -> set[tuple[int, int]]:
    adjusted = holm([estimate.p_value for estimate in estimates.values()])
    return {pair for pair, p in zip(estimates, adjusted, strict=True) if p < ALPHA}


def measure_all(ratios: Mapping[str, float], replays: int) -> dict[str, Outcome]:
    return {
        f"{items} | {dominates} | {kind}": measure(items, ratio, effect, replays)
        for dominates, ratio in ratios.items()
        for items in ITEMS
        for kind, effect in EFFECTS.items()
    }


def table(measured: Mapping[str, Outcome]) -> str:
    heads = ["images", "dominates", "three levels", "interval contains the truth", "false claims"]
    heads += ["seeds, 15 to 45", "power with 5 seeds", "power"]
    lines = [f"| {' | '.join(heads)} |", "| ---: | --- | --- | ---: | ---: | ---: | ---: | ---: |"]
    for name, one in measured.items():
        powers = ["" if value is None else f"{value[0]:.2f}" for value in (one.power_five, one.power)]
        cells = [percent(one.held), percent(one.false), f"{one.seeds[0]:.1f}", *powers]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)
