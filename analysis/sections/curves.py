"""The data behind the figures, as small frames: learning curves, and levels with their intervals."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.confirmed.objective import merit, objective
from analysis.confirmed.settings import Setting, name, winner_first
from analysis.confirmed.tables import LEARNING
from analysis.findings.published import published_trials
from study.results import Results, level_text


@dataclass(frozen=True)
class Curve:
    """One panel: trials that differ in their seed only."""

    title: str
    trials: list[str]


def curves(results: Results, found: list[Setting]) -> list[Curve]:
    """Return a curve for each confirmed setting, the winner first; before that, for each level's best search trial.

    Without a search, return one for each published configuration that was run.
    """
    if found:
        return [Curve(name(one, found), one.trials["trial"].tolist()) for one in winner_first(found)]
    chosen_by, ranked = objective(results).column, merit(results)
    search = results.trials[results.trials["phase"] == "search"].dropna(subset=[chosen_by])
    if search.empty:
        return [Curve(one, trials["trial"].tolist()) for one, trials in published_trials(results).items()]
    titles: dict[str, list[str]] = {}
    for factor, levels in results.factors.items():
        for level in levels:
            mine = search[search[factor].map(level_text) == level]
            if len(mine):
                top = mine["trial"].iloc[int(ranked[mine.index].to_numpy().argmax())]
                titles.setdefault(top, []).append(f"{factor} = {level}")
    return [Curve("best search trial with " + ", ".join(parts), [trial]) for trial, parts in titles.items()]


def band(results: Results, curve: Curve) -> pd.DataFrame:
    """Mean, minimum and maximum over the trials at each epoch, columns (metric, "mean" | "min" | "max")."""
    rows = results.epochs[results.epochs["trial"].isin(curve.trials)]
    return rows.groupby("epoch")[list(LEARNING)].agg(["mean", "min", "max"])


def best_epoch(results: Results, curve: Curve) -> float:
    """The selected epoch, mean over seeds."""
    return results.trials[results.trials["trial"].isin(curve.trials)]["best_epoch"].mean()


def limits(results: Results, drawn: list[Curve]) -> dict[str, tuple[float, float]]:
    """Axis limits that all panels share: "accuracy", "cross_entropy" and "epoch"."""
    rows = results.epochs[results.epochs["trial"].isin([trial for curve in drawn for trial in curve.trials])]
    accuracy = rows[["train_accuracy", "val_accuracy"]].to_numpy()
    loss = rows[["train_cross_entropy", "val_cross_entropy"]].to_numpy()
    ceiling = float(np.nanmax(loss, initial=0.1))
    return {
        "accuracy": (max(float(np.nanmin(accuracy, initial=1.0)) - 0.03, 0.0), 1.0),
        "cross_entropy": (0.0, 1.05 * ceiling if np.isfinite(ceiling) else 10.0),
        "epoch": (0.5, float(rows["epoch"].max()) + 0.5),
    }


def dots(comparison: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    """Choose what the levels of a factor are drawn by: test, else confirmation, else search.

    Returns:
        The name of that accuracy, and a frame with columns level, winner, value, low, high; low and high are missing
        where there is no interval.
    """
    for column, label in (
        ("test_accuracy", "test accuracy"),
        ("val_accuracy", "validation accuracy (confirmed)"),
        ("search_best", "best validation accuracy (search)"),
    ):
        if comparison[column].notna().any():
            stem = column.removesuffix("_accuracy")
            low, high = (comparison.get(f"{stem}_{end}", np.nan) for end in ("low", "high"))
            return label, comparison[["level", "winner"]].assign(value=comparison[column], low=low, high=high)
    return "accuracy", comparison[["level", "winner"]].assign(value=np.nan, low=np.nan, high=np.nan)
