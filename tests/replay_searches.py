"""How often the effects of the search are right: many searches of known truth, stopped by the study's own ASHA.

python -m tests.replay_searches --replays 100
"""

import argparse
from collections.abc import Callable

import numpy as np
import pandas as pd

from analysis.search.design import search_of
from analysis.search.effects import interactions, main_effects
from analysis.search.rung import outcomes
from tests.searches import EPOCHS, FACTORS, Truth, search

LEFT = np.exp(-(EPOCHS - 1) / 3)  # share of `late` that is still missing at the last epoch


def _nothing(levels) -> float:
    return 0.0


TRUTHS: dict[str, tuple[Truth, Truth]] = {
    "no effect": (_nothing, _nothing),
    "a main effect of 0.6": (lambda levels: {"x": 0.0, "y": 0.3, "z": 0.6}[levels["f"]], _nothing),
    "an interaction of 1.0": (lambda levels: 0.5 * ((levels["f"] == "y") == (levels["g"] == "q")), _nothing),
    "a level behind by 1.0 at first": (lambda levels: 0.6 * (levels["g"] == "q"), lambda levels: levels["g"] == "q"),
}


def replay(truth: Truth, late: Truth, trials: int, seed: int) -> dict[str, float]:
    """Shares over the main effects and over the interactions of one search."""
    read = search(truth, trials, seed, late=late)
    seen = outcomes(read)
    made = search_of(read, seen)
    effects, between = main_effects(made), interactions(made)
    settings = pd.MultiIndex.from_product(FACTORS.values(), names=list(FACTORS)).to_frame(index=False)
    settings["value"] = [truth(row) - LEFT * late(row) for row in settings.to_dict("records")]
    true_effects = [_effect(settings, row.factor, row.level) for row in effects.itertuples()]
    return {
        "kept": float((seen.trials["outcome"] == "reached").mean()),
        "covered, main": _covered(effects, true_effects),
        "covered, interactions": _covered(between, [_contrast(settings, row) for row in between.itertuples()]),
        "wins without zero, interactions": float(((between["wins_low"] > 0) | (between["wins_high"] < 0)).mean()),
        "a pair called sure": float((between["p_holm"] < 0.05).any()),
        "disagree": float(between["disagree"].mean()),
    }


def _covered(frame: pd.DataFrame, truth: list[float]) -> float:
    return float(((frame["low"] <= truth) & (truth <= frame["high"])).mean())


def _effect(settings: pd.DataFrame, factor: str, level: str) -> float:
    means = settings.groupby(factor)["value"].mean()
    return float(means[level] - means.mean())


def _contrast(settings: pd.DataFrame, row) -> float:
    cells: Callable = settings.groupby([row.factor_a, row.factor_b])["value"].mean().get
    gains = [cells((row.level_a2, b)) - cells((row.level_a1, b)) for b in (row.level_b1, row.level_b2)]
    return float(gains[1] - gains[0])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.replay_searches", description=__doc__.splitlines()[0])
    parser.add_argument("--replays", type=int, default=100)
    parser.add_argument("--trials", type=int, default=96)
    chosen = parser.parse_args()
    for name, (truth, late) in TRUTHS.items():
        rows = [replay(truth, late, chosen.trials, seed) for seed in range(chosen.replays)]
        said = ", ".join(f"{key} {100 * value:.1f} %" for key, value in pd.DataFrame(rows).mean().items())
        print(f"{name}: {said}", flush=True)


if __name__ == "__main__":
    main()
