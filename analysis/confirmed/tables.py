"""The small tables a study is read by. Each is a frame with plain numbers; the report says them in words."""

import numpy as np
import pandas as pd

from analysis.confirmed.settings import Setting, groups, having, standing_for, winner
from analysis.search.rung import best_within, common_rung
from analysis.statistics.inference import accuracy_interval, mean_interval
from study.results import Results, level_text

PARAMETERS = ("parameters", "trained_parameters")  # columns that trials.parquet may have
LEARNING = ("train_accuracy", "val_accuracy", "train_cross_entropy", "val_cross_entropy")


def scores(results: Results, setting: Setting) -> dict[str, float]:
    """Validation and test accuracy of a setting, each the mean over its seeds with a 95% interval.

    Validation: for new seeds. Test: for new seeds and new images (see `accuracy_interval`).
    """
    val = setting.by_seed(setting.trials["val_accuracy"])
    val_low, val_high = mean_interval(val)
    test, test_low, test_high = np.nan, np.nan, np.nan
    if setting.tested:
        correct = setting.correct.to_numpy()
        test = float(correct.mean())
        test_low, test_high = accuracy_interval(correct, groups(results, setting.correct.columns), setting.folds)
    return {
        "seeds": len(setting.seeds),
        "val_accuracy": float(val.mean()),
        "val_low": max(val_low, 0.0) if np.isfinite(val_low) else np.nan,  # no accuracy lies beyond
        "val_high": min(val_high, 1.0) if np.isfinite(val_high) else np.nan,
        "test_accuracy": test,
        "test_low": test_low,
        "test_high": test_high,
    }


def comparison(results: Results, found: list[Setting], factor: str) -> pd.DataFrame:
    """One row for each level of a factor: what the search saw, what refining and confirming made of it."""
    best, rung = winner(found), common_rung(results, factor)
    trials = results.trials.assign(level=results.trials[factor].map(level_text))
    search = trials[trials["phase"] == "search"]
    reached = search["trial"].map(best_within(results.epochs, rung)).astype(float)
    refined = in_company(results, trials[trials["phase"] == "refine"], factor)
    rows = []
    for level in results.factors[factor]:
        mine = search["level"] == level
        setting = standing_for(found, factor, level)
        confirmed = {} if setting is None else scores(results, setting)
        # A confirmed level by the trials of its setting, so that levels are compared with all others held fixed. The
        # median, because the first of several trials computes what the others share.
        if setting is None:
            timed = trials[trials["level"] == level]
        else:
            timed = having(setting.levels, trials[trials["phase"].isin(["refine", "confirm"])])
        best_of_seeds = refined[refined["level"] == level].groupby("seed", dropna=False)["val_accuracy"].max()
        rows.append(
            {
                "level": level,
                "winner": best is not None and best.levels[factor] == level,
                "trials": int(mine.sum()),
                "failed": int((search[mine]["status"] == "failed").sum()),
                "search_best": reached[mine].max(),
                "search_median": reached[mine].median(),
                "refine_best": best_of_seeds.mean(),  # each test fold has a best of its own
                **dict.fromkeys(_SCORES, np.nan),
                **confirmed,
                **({} if setting is None else sizes(setting.trials)),
                "trial_seconds": float(timed.loc[timed["status"] == "completed", "seconds"].median()),
                "epochs": search[mine]["epochs_run"].sum(),
                "seconds": search[mine]["seconds"].sum(),
            }
        )
    return pd.DataFrame(rows)


_SCORES = ("seeds", "val_accuracy", "val_low", "val_high", "test_accuracy", "test_low", "test_high")


def in_company(results: Results, refined: pd.DataFrame, factor: str) -> pd.DataFrame:
    """Refine trials with the other factors at the winner's levels, by construction the most frequent ones.

    Where a conditional factor does not exist it cannot differ; its own levels are refined where it does.
    """
    refined = refined.loc[refined[factor].map(level_text) != ""]
    for other in results.factors:
        levels = refined[other].map(level_text)
        if other != factor and (levels != "").any():
            refined = refined.loc[levels.isin(["", levels[levels != ""].mode().iloc[0]])]
    return refined


def pareto(results: Results) -> pd.DataFrame:
    """The search trials that no other beats in accuracy without taking longer; the fastest first."""
    search = results.trials[results.trials["phase"] == "search"].dropna(subset=["val_accuracy"])
    ranked = search.sort_values(["seconds", "val_accuracy"], ascending=[True, False], kind="stable")
    best_so_far = ranked["val_accuracy"].cummax().shift(fill_value=-np.inf)
    front = ranked[ranked["val_accuracy"] > best_so_far]
    return front[["trial", *results.factors, "val_accuracy", "epochs_run", "seconds"]].reset_index(drop=True)


def overview(results: Results) -> pd.DataFrame:
    """Trials, epochs and seconds of each phase by status."""
    columns = {"trials": ("trial", "size"), "epochs": ("epochs_run", "sum"), "seconds": ("seconds", "sum")}
    return results.trials.groupby(["phase", "status"], sort=False).agg(**columns).reset_index()


def failures(results: Results) -> pd.DataFrame:
    """Why trials failed, the most frequent reason first."""
    failed = results.trials[results.trials["status"] == "failed"]
    reason = failed["error"].fillna("no error recorded").map(lambda error: (str(error).splitlines() or [""])[0])
    return reason.value_counts().rename_axis("error").reset_index(name="trials")


# Columns that trials.parquet may have, and what heads them in a table.
SIZES = {
    "parameters": "parameters",
    "trained_parameters": "trained parameters",
    "file_bytes": "model file",
    "latency_ms": "one image takes",
}


def sizes(trials: pd.DataFrame) -> dict[str, float]:
    """The median over trials of one setting: all but the latency are alike."""
    return {
        column: float(pd.to_numeric(trials[column], errors="coerce").median()) for column in SIZES if column in trials
    }


def shown_sizes(frame: pd.DataFrame) -> dict[str, str]:
    """The headers and columns of those sizes that `frame` has and in which its rows differ."""
    return {heading: column for column, heading in SIZES.items() if column in frame and frame[column].nunique() > 1}


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
