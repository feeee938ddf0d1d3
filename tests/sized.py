"""A fabricated study in which the size of the training set is a factor, with a true law planted in it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.fabricated import Plan, fabricate, rewrite

FRACTIONS = [0.25, 0.5, 0.75, 1.0]
POOL = 1200  # images of the whole training set


def law(fraction: float) -> float:
    """Error 0.1 with all images, times the square root of two for half of them."""
    return 0.1 * fraction**-0.5


def fabricate_sizes(out: Path, error: Callable[[float], float] = law, **changes: Any) -> Path:
    """A study with four nested fractions of `POOL` training images and the true errors given."""
    plan = Plan(
        factors={"train_fraction": FRACTIONS, "augmentation": ["none", "light"]},
        winner={"train_fraction": 1.0, "augmentation": "light"},
        accuracy={("train_fraction", fraction): 1 - error(fraction) for fraction in FRACTIONS},
        base=1 - error(1.0),
        spread=0.002,
        items=600,
        trials=8,
        epochs=3,
    )
    fabricate(out, replace(plan, **changes))
    rewrite(out, "trials", lambda trials: trials.assign(train_pictures=trials["train_fraction"] * POOL))
    return out
