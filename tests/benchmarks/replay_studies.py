"""Whole studies replayed: a folder is read once, its predictions are drawn anew each time and `answers` is asked."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.confirmed.answers import BETTER_A, BETTER_B, answers
from study import results
from study.results import Results
from tests.benchmarks.replay_model import Share, accuracy_found, draw, share, world_of
from tests.fabricated import Plan, fabricate

SEEDS, ITEMS, VALIDATION, ACCURACY = 5, 1500, 500, 0.85
WORLD = world_of(SEEDS, ITEMS, 1.0, ACCURACY)
EFFECT = ACCURACY - accuracy_found(WORLD, ACCURACY, SEEDS, ITEMS)  # found with power 0.8 by whoever knows the split

THREE = {"backbone": ["one", "two", "three"]}
CROSSED = {"backbone": ["one", "two"], "augmentation": ["none", "light"]}

# What is true of a study's settings, in the order they are confirmed; a search may have a say.
Truth = Callable[[np.random.Generator], list[float]]


def measure(folder: Path, replays: int) -> dict[str, dict[str, Share]]:
    """For each story what was measured, as shares of replays (or of all pairs of levels in them)."""
    stories = {
        "no effect, three levels": (THREE, lambda rng: [ACCURACY] * 3),
        "one of three levels worse": (THREE, lambda rng: [ACCURACY, ACCURACY, ACCURACY - EFFECT]),
        "an interaction: each factor helps at the winner's levels, none on average": (
            CROSSED,
            lambda rng: [ACCURACY, ACCURACY - EFFECT, ACCURACY - EFFECT],
        ),
        "censored by ASHA: levels alike, tuned by a noisy search": (THREE, lambda rng: [_tuned(rng) for _ in range(3)]),
    }
    return {
        name: replay(folder / str(i), factors, truth, replays)
        for i, (name, (factors, truth)) in enumerate(stories.items())
    }


def replay(folder: Path, factors: Mapping[str, list], truth: Truth, replays: int) -> dict[str, Share]:
    study = _study(folder, factors)
    rng = np.random.default_rng(0)
    told = pd.concat([_told(study, truth(rng), rng).assign(replay=i) for i in range(replays)])
    told["equal"] = told["true"].abs() < 1e-12
    told["held"] = (told["low"] <= told["true"]) & (told["true"] <= told["high"])
    told["claimed"] = told["verdict"].isin([BETTER_A, BETTER_B])
    told["false"] = told["claimed"] & told["equal"]
    told["against"] = told["claimed"] & ((told["verdict"] == BETTER_A) != (told["true"] > 0)) & ~told["equal"]
    told["apart"] = told["true"].abs() > 0.01
    each = told.groupby("replay")
    measured = {"intervals that contain the truth": share(each["held"].mean())}
    if told["equal"].any():
        measured["studies that claim a difference that does not exist"] = share(each["false"].max())
    if not told["equal"].all():
        different = told[~told["equal"]].groupby("replay")
        measured["true differences that are claimed"] = share(different["claimed"].mean())
        measured["studies that claim the wrong direction"] = share(each["against"].max())
    if each["apart"].mean().nunique() > 1:
        measured["pairs of settings that truly differ by over a point"] = share(each["apart"].mean())
    return measured


def _study(folder: Path, factors: Mapping[str, list]) -> Results:
    winner = {factor: levels[0] for factor, levels in factors.items()}
    plan = Plan(factors=dict(factors), winner=winner, items=ITEMS, seeds=SEEDS, trials=12)
    return results.read(fabricate(folder, plan))


def _told(study: Results, accuracies: list[float], rng: np.random.Generator) -> pd.DataFrame:
    """The answers to one drawn study, with the true difference of each pair."""
    right = draw(WORLD, accuracies, SEEDS, ITEMS, rng)
    answered = answers(replace(study, predictions=_predictions(study, right)))
    levels = _true_levels(study, accuracies)
    pairs = zip(answered["factor"], answered["level_a"], answered["level_b"], strict=True)
    true = [levels[factor, a] - levels[factor, b] for factor, a, b in pairs]
    return answered.assign(true=true)


def _true_levels(study: Results, accuracies: list[float]) -> dict[tuple[str, str], float]:
    """The accuracy of the setting that stands for each level; the first setting has the other factors of all."""
    moved = [(factor, level) for factor, levels in study.factors.items() for level in levels[1:]]
    own = {(factor, levels[0]): accuracies[0] for factor, levels in study.factors.items()}
    return own | dict(zip(moved, accuracies[1:], strict=True))


def _predictions(study: Results, right: NDArray[np.bool_]) -> pd.DataFrame:
    """`right` (settings, seeds, items) as the rows of predictions.parquet; of class 0, named 0 or 1."""
    confirmed = study.trials.loc[study.trials["phase"] == "confirm", "trial"].to_numpy()
    items = study.manifest.loc[study.manifest["fold"] == "test", "item"].to_numpy()
    return pd.DataFrame(
        {
            "trial": np.repeat(confirmed, len(items)),
            "item": np.tile(items, len(confirmed)),
            "fold": "test",
            "label": 0,
            "predicted": 1 - right.reshape(-1).astype(int),
        }
    )


def _tuned(rng: np.random.Generator) -> float:
    """The true accuracy of what a level's search chose: 27 settings, the better third of them kept at each of three

    rungs. What a rung shows is off by what training has yet to change, less at each, and by chance on few images.
    """
    accuracies = ACCURACY - 0.1 * rng.uniform(-1, 1, size=27) ** 2
    for unfinished in (0.04, 0.02, 0.0):
        seen = np.clip(accuracies + unfinished * rng.standard_normal(len(accuracies)), 0, 1)
        seen = rng.binomial(VALIDATION, seen)
        accuracies = accuracies[np.argsort(-seen, kind="stable")[: max(len(seen) // 3, 1)]]
    return float(accuracies[0])
