"""The rung: the epoch at which search trials are compared, because a trial of every level reached it."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.declared import budget
from study.results import Results, level_text


@dataclass(frozen=True)
class Outcomes:
    """The search trials at the rung, shape (n trials,)."""

    rung: int  # epochs; 0 if nothing can be compared
    epochs: int | None  # the most that a trial may take
    trials: pd.DataFrame  # factors as text, "" if a factor does not exist; `outcome`: reached, stopped or failed
    accuracy: NDArray[np.float64]  # best on validation up to the rung or to an earlier stop; NaN if failed

    @property
    def title(self) -> str:
        return f"after {self.rung} of {self.epochs} epochs" if self.epochs else f"after {self.rung} epochs"


def outcomes(results: Results) -> Outcomes:
    """Return every search trial at the rung; trials that did not fail but have no accuracy are left out.

    A trial that was stopped before the rung is `stopped`. A trial that ended by its own patience has `reached` it.
    """
    rung = matched_rung(results)
    search = results.trials[results.trials["phase"] == "search"]
    rows = results.epochs[results.epochs["trial"].isin(search["trial"])].dropna(subset=["epoch", "val_accuracy"])
    last = search["trial"].map(rows.groupby("trial")["epoch"].max()).to_numpy(float)
    failed, stopped = ((search["status"] == status).to_numpy() for status in ("failed", "stopped"))
    outcome = np.select([failed, stopped & (last < rung)], ["failed", "stopped"], "reached")
    best = search["trial"].map(best_within(rows, rung)).to_numpy(float)
    accuracy = np.where(failed, np.nan, best)
    known = failed | np.isfinite(accuracy)
    levels = {factor: search[factor].map(level_text) for factor in results.factors}
    return Outcomes(
        rung=rung,
        epochs=most_epochs(results),
        trials=search.assign(outcome=outcome, **levels)[known].reset_index(drop=True),
        accuracy=accuracy[known],
    )


def matched_rung(results: Results) -> int:
    """Return the last epoch that a search trial of every level of every factor reached, ignoring levels without any."""
    search = results.trials[(results.trials["phase"] == "search") & (results.trials["status"] != "failed")]
    depths = [search["epochs_run"].max(), *(_depths(search, factor).min() for factor in results.factors)]
    reached = [depth for depth in depths if pd.notna(depth)]
    return int(min(reached, default=0))


def common_rung(results: Results, factor: str) -> int:
    """Return the last epoch that a search trial of every level of a factor reached; 0 if a level has no trial.

    Levels are compared at this epoch, so that none profits from longer training.
    """
    search = results.trials[results.trials["phase"] == "search"]
    depth = _depths(search, factor).reindex(results.factors[factor]).min(skipna=False)
    return 0 if pd.isna(depth) else int(depth)


def _depths(search: pd.DataFrame, factor: str) -> pd.Series:
    """Return the last epoch that any trial of each level reached."""
    depths = search["epochs_run"].groupby(search[factor].map(level_text)).max()
    return depths[depths.index != ""]


def best_within(epochs: pd.DataFrame, rung: int) -> pd.Series:
    """Return each trial's best validation accuracy in its first `rung` epochs.

    Trials that were stopped earlier count too: leaving them out would favor levels with many stopped trials.
    """
    return epochs[epochs["epoch"] <= rung].groupby("trial")["val_accuracy"].max()


def most_epochs(results: Results) -> int | None:
    """Return the epochs a search trial may take, from the trials' column, or from study.json without that column."""
    if "epochs" in results.trials:
        declared = results.trials.loc[results.trials["phase"] == "search", "epochs"]
        values = pd.to_numeric(declared, errors="coerce").dropna().unique()
        return int(values[0]) if len(values) == 1 else None
    epochs = budget(results, "epochs") or 0
    return epochs if epochs >= 1 else None
