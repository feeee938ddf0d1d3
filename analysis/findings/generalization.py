"""Learning curves, and the gap between training and validation at the best epoch."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from analysis.confirmed.objective import merit, objective
from analysis.confirmed.settings import Setting, name, winner_first
from analysis.confirmed.tables import LEARNING, PARAMETERS, sizes
from analysis.findings.published import published_trials
from analysis.layout import figures
from analysis.layout.page import Cell, Figure, Section, Table, table
from analysis.layout.text import millions, number, percent, plain, slug
from study.results import Results, level_text
from study.writing import count


@dataclass(frozen=True)
class Curve:
    """One panel: trials that differ only in their seed."""

    title: str
    trials: list[str]


def curves(results: Results, confirmed: list[Setting]) -> list[Curve]:
    """Return a curve for each confirmed setting, winner first; before confirmation, for each level's best search trial.

    Without a search, return a curve for each published configuration that was run.
    """
    if confirmed:
        return [Curve(name(s, confirmed), s.trials["trial"].tolist()) for s in winner_first(confirmed)]
    column, scores = objective(results).column, merit(results)
    search = results.trials[results.trials["phase"] == "search"].dropna(subset=[column])
    if search.empty:
        return [Curve(title, trials["trial"].tolist()) for title, trials in published_trials(results).items()]
    titles: dict[str, list[str]] = {}
    for factor, levels in results.factors.items():
        for level in levels:
            rows = search[search[factor].map(level_text) == level]
            if len(rows):
                top = rows["trial"].iloc[int(scores[rows.index].to_numpy().argmax())]
                titles.setdefault(top, []).append(f"{factor} = {level}")
    return [Curve("best search trial with " + ", ".join(parts), [trial]) for trial, parts in titles.items()]


def band(results: Results, curve: Curve) -> pd.DataFrame:
    """Return mean, minimum and maximum over the trials by epoch, in columns (metric, "mean" | "min" | "max")."""
    rows = results.epochs[results.epochs["trial"].isin(curve.trials)]
    return rows.groupby("epoch")[list(LEARNING)].agg(["mean", "min", "max"])


def best_epoch(results: Results, curve: Curve) -> float:
    """Return the selected epoch, mean over seeds."""
    return results.trials[results.trials["trial"].isin(curve.trials)]["best_epoch"].mean()


def limits(results: Results, drawn: list[Curve]) -> dict[str, tuple[float, float]]:
    """Return the axis limits that all panels share: "accuracy", "cross_entropy" and "epoch"."""
    rows = results.epochs[results.epochs["trial"].isin([trial for curve in drawn for trial in curve.trials])]
    accuracy = rows[["train_accuracy", "val_accuracy"]].to_numpy()
    loss = rows[["train_cross_entropy", "val_cross_entropy"]].to_numpy()
    ceiling = float(np.nanmax(loss, initial=0.1))
    return {
        "accuracy": (max(float(np.nanmin(accuracy, initial=1.0)) - 0.03, 0.0), 1.0),
        "cross_entropy": (0.0, 1.05 * ceiling if np.isfinite(ceiling) else 10.0),
        "epoch": (0.5, float(rows["epoch"].max()) + 0.5),
    }


def generalization(results: Results, confirmed: list[Setting]) -> pd.DataFrame:
    """Return the metrics of each confirmed setting at its best epoch, mean over seeds, with the generalization gap.

    `last_val_accuracy` is the accuracy after the last epoch, for comparison with the best.
    """
    last = results.epochs.sort_values("epoch").groupby("trial").tail(1)
    rows = []
    for setting in winner_first(confirmed):
        at_best = setting.trials[["trial", "best_epoch"]].merge(
            results.epochs, left_on=["trial", "best_epoch"], right_on=["trial", "epoch"]
        )
        means = {column: at_best[column].mean() for column in LEARNING}
        gap = means["train_accuracy"] - means["val_accuracy"]
        kept = setting.trials["best_epoch"]
        epochs = zip(_BEST_EPOCHS, (kept.mean(), kept.std(), kept.min(), kept.max()), strict=True)
        row = {"setting": name(setting, confirmed), **dict(epochs), **means, "gap": gap}
        row["last_val_accuracy"] = last[last["trial"].isin(setting.trials["trial"])]["val_accuracy"].mean()
        rows.append(row | sizes(setting.trials))
    extra = [column for column in PARAMETERS if column in results.trials]
    return pd.DataFrame(rows, columns=["setting", *_BEST_EPOCHS, *LEARNING, "gap", "last_val_accuracy", *extra])


_BEST_EPOCHS = ("best_epoch", "best_epoch_sd", "best_epoch_low", "best_epoch_high")  # over the seeds


def learning_section(results: Results, confirmed: list[Setting]) -> Section | None:
    drawn = [curve for curve in curves(results, confirmed) if results.epochs["trial"].isin(curve.trials).any()]
    if not drawn:
        return None
    bounds = limits(results, drawn)
    plots = [_learning_figure(results, curve, index, bounds) for index, curve in enumerate(drawn)]
    explained = (
        "Orange, dashed: training. Blue: validation. The shading between them is the generalization gap, bands span "
        "the seeds, and the dot marks the selected epoch."
    )
    frame = generalization(results, confirmed)
    paragraphs = [explained, stability_sentence(frame)] if len(frame) else [explained]
    return Section("Learning curves", paragraphs, figures=plots, tables=_generalization(frame))


def _learning_figure(results: Results, curve: Curve, index: int, bounds: dict[str, tuple[float, float]]) -> Figure:
    by_epoch, best, xlim = band(results, curve), best_epoch(results, curve), bounds["epoch"]
    panels = [
        partial(figures.draw_learning, band=by_epoch, metric=metric, best=best, ylim=bounds[metric], xlim=xlim)
        for metric in ("accuracy", "cross_entropy")
    ]
    last = by_epoch.iloc[-1]
    alt = (
        f"{curve.title}: after {count(int(by_epoch.index[-1]), 'epoch')} accuracy "
        f"{percent(last['train_accuracy', 'mean'])} in training, "
        f"{percent(last['val_accuracy', 'mean'])} in validation"
    )
    stem = f"learning-{index:02d}-{slug(curve.title)}"
    return Figure(stem, plain(curve.title), alt, figures.svg(3.6, *panels))


def _generalization(frame: pd.DataFrame) -> list[Table]:
    shown: dict[str, Cell] = {
        "setting": "setting",
        "best epoch (range over seeds)": _best_epoch,
        "train accuracy": "train_accuracy",
        "val accuracy": "val_accuracy",
        "gap": lambda row: percent(row.gap).replace("-", "−"),
        "val accuracy, last epoch": "last_val_accuracy",
        "train cross-entropy": "train_cross_entropy",
        "val cross-entropy": "val_cross_entropy",
    }
    if set(PARAMETERS) <= set(frame.columns):
        shown["parameters (trained)"] = lambda row: f"{millions(row.parameters)} ({millions(row.trained_parameters)})"
    caption = "Confirmed settings at their best epoch, mean over seeds"
    return [table("generalization", caption, frame, shown)] if len(frame) else []


def _best_epoch(row: Any) -> str:
    """Return the mean best epoch, and its range over the seeds unless they agree."""
    mean = number(round(row.best_epoch, 1))
    if not row.best_epoch_low < row.best_epoch_high:
        return mean
    return f"{mean} ({number(row.best_epoch_low)} to {number(row.best_epoch_high)})"


def stability_sentence(frame: pd.DataFrame) -> str:
    """Return the epoch at which the first setting peaks, and its gain over the last epoch, as a sentence."""
    row = frame.iloc[0]
    if pd.isna(row["best_epoch_sd"]):
        return ""
    spread = "" if row["best_epoch_sd"] == 0 else f", standard deviation {number(row['best_epoch_sd'])}"
    kept, last = percent(row["val_accuracy"]), percent(row["last_val_accuracy"])
    peak = f"With {row['setting']}, validation accuracy peaks at {kept} after {_best_epoch(row)} epochs{spread},"
    if kept == last:
        return f"{peak} and ends there."
    return f"{peak} and ends at {last}. The peak is slightly optimistic: the epoch was selected on the same images."
