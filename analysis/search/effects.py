"""Marginal effects: what the search trials of each level reached at the rung, whatever else varied."""

import numpy as np
import pandas as pd

from analysis.search.rung import Outcomes
from study.results import Results

COLUMNS = ["factor", "level", "trials", "stopped", "failed", "accuracy", "lower", "upper", "best", "rung"]


def effects(results: Results, seen: Outcomes) -> pd.DataFrame:
    """Return a row for each level of each factor: its trials, and the quartiles and maximum of their accuracy.

    `accuracy` is the median and `lower, upper` the other quartiles of the best validation accuracy within the rung.
    Stopped trials count with their best until they were stopped. Failed trials have no accuracy.
    """
    return pd.DataFrame(
        [_row(seen, factor, level) for factor, levels in results.factors.items() for level in dict.fromkeys(levels)],
        columns=COLUMNS,
    )


def _row(seen: Outcomes, factor: str, level: str) -> dict[str, object]:
    mine = (seen.trials[factor] == level).to_numpy()
    outcome = seen.trials.loc[mine, "outcome"]
    reached = seen.accuracy[mine][np.isfinite(seen.accuracy[mine])]
    lower, median, upper, best = np.quantile(reached, [0.25, 0.5, 0.75, 1.0]) if len(reached) else [np.nan] * 4
    return {
        "factor": factor,
        "level": level,
        "trials": len(outcome),
        "stopped": int((outcome == "stopped").sum()),
        "failed": int((outcome == "failed").sum()),
        "accuracy": median,
        "lower": lower,
        "upper": upper,
        "best": best,
        "rung": seen.rung,
    }
