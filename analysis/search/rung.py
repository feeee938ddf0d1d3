"""What the search saw after one and the same number of epochs: the rung at which its trials are compared."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from study.results import Results, level_text

MOST_CHECKPOINTS = 6  # epochs followed on the way to the rung; more stopping epochs than that are thinned out
UNKNOWN_PICTURES = 1000  # of the validation, where the manifest names none: only the ends of the logit scale feel it


@dataclass(frozen=True)
class Outcomes:
    """The search trials at a matched rung, shape (n trials, checkpoints); a later checkpoint has no fewer gaps.

    A stopped trial has values up to its last checkpoint and is unknown, not missing at random, from there on. A
    failed one has none: it is worse than every other. One that ended by itself (patience) keeps its best.
    """

    rung: int  # epochs; 0 where nothing can be compared
    epochs: int | None  # that the study allows a trial
    checkpoints: list[int]  # epochs at which trials were stopped, then the rung
    trials: pd.DataFrame  # factors as text, empty where one does not exist; `outcome`: reached, stopped or failed
    accuracy: NDArray[np.float64]  # the best on validation within each checkpoint
    pictures: int  # of the validation

    @property
    def title(self) -> str:
        return f"after {self.rung} of {self.epochs} epochs" if self.epochs else f"after {self.rung} epochs"

    @property
    def logits(self) -> NDArray[np.float64]:
        """`accuracy` as log-odds with half an image added on either side; failed trials as the worst seen."""
        right = np.clip(self.accuracy, 0, 1) * self.pictures
        logits = np.log((right + 0.5) / (self.pictures - right + 0.5))
        failed = (self.trials["outcome"] == "failed").to_numpy()
        if failed.any() and not failed.all():
            logits[failed] = np.fmin.reduce(logits, axis=0)
        return logits


def outcomes(results: Results) -> Outcomes:
    """Trials without a single validation accuracy, and not failed either, are left out: nothing is known of them."""
    rung = matched_rung(results)
    search = results.trials[results.trials["phase"] == "search"]
    seen = results.epochs[results.epochs["trial"].isin(search["trial"])].dropna(subset=["epoch", "val_accuracy"])
    last = search["trial"].map(seen.groupby("trial")["epoch"].max()).to_numpy(float)
    failed, stopped = ((search["status"] == status).to_numpy() for status in ("failed", "stopped"))
    censored = stopped & (last < rung)
    known = failed | (last >= 1)
    checkpoints = _checkpoints(last[censored], rung)
    accuracy = np.full((len(search), len(checkpoints)), np.nan)
    for column, checkpoint in enumerate(checkpoints):
        best = search["trial"].map(best_within(seen, checkpoint)).to_numpy(float)
        accuracy[:, column] = np.where(failed | (stopped & (last < checkpoint)), np.nan, best)
    known &= failed | np.isfinite(accuracy[:, 0])
    outcome = np.select([failed, censored], ["failed", "stopped"], "reached")
    levels = {factor: search[factor].map(level_text) for factor in results.factors}
    return Outcomes(
        rung=rung,
        epochs=most_epochs(results),
        checkpoints=checkpoints,
        trials=search.assign(outcome=outcome, **levels)[known].reset_index(drop=True),
        accuracy=accuracy[known],
        pictures=int((results.manifest["keep"].eq(True) & (results.manifest["fold"] == "val")).sum())
        or UNKNOWN_PICTURES,
    )


def matched_rung(results: Results) -> int:
    """The last epoch that a search trial of every level of every factor reached; levels that never ran have no say."""
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

    A trial stopped earlier counts with what it had: leaving it out would flatter levels that lose many.
    """
    return epochs[epochs["epoch"] <= rung].groupby("trial")["val_accuracy"].max()


def _checkpoints(ends: NDArray[np.float64], rung: int) -> list[int]:
    """The epochs at which trials were stopped, the first one always among them, and the rung."""
    stops = np.unique(ends[ends >= 1])
    if len(stops) > MOST_CHECKPOINTS:
        stops = stops[np.linspace(0, len(stops) - 1, MOST_CHECKPOINTS).astype(int)]
    return [*map(int, stops), rung]


def most_epochs(results: Results) -> int | None:
    """How many epochs a search trial may take, by its own config; of a folder without it as the study declares it."""
    if "epochs" in results.trials:
        mine = results.trials.loc[results.trials["phase"] == "search", "epochs"]
        each = pd.to_numeric(mine, errors="coerce").dropna().unique()
        return int(each[0]) if len(each) == 1 else None
    budget: Any = results.study.get("budget")
    epochs = budget.get("epochs") if isinstance(budget, Mapping) else None
    return int(epochs) if isinstance(epochs, int | float) and epochs >= 1 else None
