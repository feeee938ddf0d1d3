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

    rung: int  # epochs; 0 where nothing can be compared
    epochs: int | None  # that the study allows a trial
    trials: pd.DataFrame  # factors as text, empty where one does not exist; `outcome`: reached, stopped or failed
    accuracy: NDArray[np.float64]  # best on validation within the rung, a stopped trial's until then; nan if failed

    @property
    def title(self) -> str:
        return f"after {self.rung} of {self.epochs} epochs" if self.epochs else f"after {self.rung} epochs"


def outcomes(results: Results) -> Outcomes:
    """Return every search trial at the rung, without those that neither failed nor left an accuracy.

    A trial that was stopped before the rung is `stopped`; one that ended by itself (patience) has reached it.
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
    """The last epoch that a search trial of every level of every factor reached; levels that never ran do not count."""
    search = results.trials[(results.trials["phase"] == "search") & (results.trials["status"] != "failed")]
    depths = [search["epochs_run"].max(), *(_depths(search, factor).min() for factor in results.factors)]
    reached = [depth for depth in depths if pd.notna(depth)]
    return int(min(reached, default=0))


def common_rung(results: Results, factor: str) -> int:
    """The last epoch that at least one search trial of every level reached; 0 where a level has none.

    Levels are compared there, so that none profits from having been trained longer.
    """
    search = results.trials[results.trials["phase"] == "search"]
    depth = _depths(search, factor).reindex(results.factors[factor]).min(skipna=False)
    return 0 if pd.isna(depth) else int(depth)


def _depths(search: pd.DataFrame, factor: str) -> pd.Series:
    """The last epoch that any trial of each level reached."""
    depths = search["epochs_run"].groupby(search[factor].map(level_text)).max()
    return depths[depths.index != ""]


def best_within(epochs: pd.DataFrame, rung: int) -> pd.Series:
    """Each trial's best validation accuracy in its first `rung` epochs.

    A trial that was stopped earlier counts with its best until then: leaving it out would favor levels that lose many.
    """
    return epochs[epochs["epoch"] <= rung].groupby("trial")["val_accuracy"].max()


def most_epochs(results: Results) -> int | None:
    """The epochs a search trial may take, from its own config; without that column, as study.json declares them."""
    if "epochs" in results.trials:
        declared = results.trials.loc[results.trials["phase"] == "search", "epochs"]
        values = pd.to_numeric(declared, errors="coerce").dropna().unique()
        return int(values[0]) if len(values) == 1 else None
    epochs = budget(results, "epochs") or 0
    return epochs if epochs >= 1 else None
