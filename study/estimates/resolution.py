"""The smallest difference in accuracy that a planned study can resolve."""

import math

import pandas as pd

from study.budget import Budget
from study.study_record import ResolutionRecord

# Planning values: the share of images on which two good settings disagree, and the standard deviation of accuracy over
# seeds. The report of a finished study uses its own values.
DISAGREEMENT = 0.10
_SEED_SPREAD = 0.005
_NORMAL_95, _NORMAL_80 = 1.960, 0.842  # quantiles of the two-sided 5% level and of 80% power


def planned_resolution(manifest: pd.DataFrame, budget: Budget) -> ResolutionRecord:
    """Return the resolution of the planned test images and models, for study.json.

    Args:
        manifest: a table with the columns `keep` and `fold`.
    """
    tested = manifest["keep"] if budget.test_folds else manifest["fold"] == "test"
    items = int(tested.sum())
    return {
        "difference": resolvable_effect(items, budget.repeats),
        "seeds": budget.seeds,
        "items": items,
        "disagreement": DISAGREEMENT,
        "seed_spread": _SEED_SPREAD,
    }


def resolvable_effect(items: int, seeds: int) -> float:
    """Return the difference in accuracy that a paired comparison detects with 80% power at the 5% level.

    Images and seeds are crossed random effects, so the variance of a paired difference is
    disagreement / items + 2 * spread^2 / seeds, where the spread is the standard deviation over seeds.
    """
    variance = DISAGREEMENT / items + 2 * _SEED_SPREAD**2 / seeds
    return (_NORMAL_95 + _NORMAL_80) * math.sqrt(variance)
