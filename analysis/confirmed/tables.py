"""Summary tables of a study. Each is a frame of plain numbers, which the report formats."""

import numpy as np
import pandas as pd

from analysis.confirmed.settings import Setting, groups, having, standing_for, winner
from analysis.search.rung import best_within, common_rung
from analysis.statistics.inference import accuracy_interval, mean_interval
from study.results import Results, level_text

PARAMETERS = ("parameters", "trained_parameters")  # columns that trials.parquet may have
LEARNING = ("train_accuracy", "val_accuracy", "train_cross_entropy", "val_cross_entropy")


def scores(results: Results, setting: Setting) -> dict[str, float]:
    """Return validation and test accuracy of a setting, each the mean over its seeds with a 95% interval.

    The validation interval is for new seeds, the test interval for new seeds and images (see `accuracy_interval`).
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
        "val_low": max(val_low, 0.0) if np.isfinite(val_low) else np.nan,  # an accuracy is between 0 and 1
        "val_high": min(val_high, 1.0) if np.isfinite(val_high) else np.nan,
        "test_accuracy": test,
        "test_low": test_low,
        "test_high": test_high,
    }


def comparison(results: Results, confirmed: list[Setting], factor: str) -> pd.DataFrame:
    """Return one row for each level of a factor: its results in search, refinement and confirmation."""
    best, rung = winner(confirmed), common_rung(results, factor)
    trials = results.trials.assign(level=results.trials[factor].map(level_text))
    search = trials[trials["phase"] == "search"]
    reached = search["trial"].map(best_within(results.epochs, rung)).astype(float)
    refined = in_company(results, confirmed, trials[trials["phase"] == "refine"], factor)
    rows = []
    for level in results.factors[factor]:
        searched = search["level"] == level
        setting = standing_for(confirmed, factor, level)
        scored = {} if setting is None else scores(results, setting)
        # A confirmed level is timed by the trials of its setting, so that all other factors are held fixed. The median,
        # because the first of several trials computes the features that the others share.
        if setting is None:
            timed = trials[trials["level"] == level]
        else:
            timed = having(setting.levels, trials[trials["phase"].isin(["refine", "confirm"])])
        seconds = timed.loc[timed["status"] == "completed", "seconds"]
        best_of_seeds = refined[refined["level"] == level].groupby("seed", dropna=False)["val_accuracy"].max()
        rows.append(
            {
                "level": level,
                "winner": best is not None and best.levels[factor] == level,
                "trials": int(searched.sum()),
                "failed": int((search[searched]["status"] == "failed").sum()),
                "search_best": reached[searched].max(),
                "search_median": reached[searched].median(),
                "refine_best": best_of_seeds.mean(),  # with test folds, each fold has its own best
                **dict.fromkeys(_SCORES, np.nan),
                **scored,
                **({} if setting is None else sizes(setting.trials)),
                "trial_seconds": float(seconds.median()),
                "fast_seconds": float(seconds.quantile(0.25)),
                "slow_seconds": float(seconds.quantile(0.75)),
                "epochs": search[searched]["epochs_run"].sum(),
                "seconds": search[searched]["seconds"].sum(),
            }
        )
    return pd.DataFrame(rows)


_SCORES = ("seeds", "val_accuracy", "val_low", "val_high", "test_accuracy", "test_low", "test_high")


def in_company(results: Results, confirmed: list[Setting], refined: pd.DataFrame, factor: str) -> pd.DataFrame:
    """Return refinement trials with the other factors at the levels at which the levels of `factor` are compared.

    These are the levels of the confirmed settings, or before the confirmation the most frequent ones. A trial in which
    a conditional factor does not exist is kept; only existing levels of the factor are compared.
    """
    refined = refined.loc[refined[factor].map(level_text) != ""]
    standing = [setting for setting in confirmed if any(name == factor for name, _ in setting.stands_for)]
    for other in results.factors:
        levels = refined[other].map(level_text)
        if other == factor or (levels == "").all():
            continue
        held = {setting.levels[other] for setting in standing} or {levels[levels != ""].mode().iloc[0]}
        refined = refined.loc[levels.isin(held | {""})]
    return refined


def pareto(results: Results) -> pd.DataFrame:
    """Return the Pareto front of the search, fastest first: no other trial is more accurate in less time."""
    search = results.trials[results.trials["phase"] == "search"].dropna(subset=["val_accuracy"])
    ranked = search.sort_values(["seconds", "val_accuracy"], ascending=[True, False], kind="stable")
    best_so_far = ranked["val_accuracy"].cummax().shift(fill_value=-np.inf)
    front = ranked[ranked["val_accuracy"] > best_so_far]
    return front[["trial", *results.factors, "val_accuracy", "epochs_run", "seconds"]].reset_index(drop=True)


def overview(results: Results) -> pd.DataFrame:
    """Return trials, epochs and seconds by phase and status."""
    columns = {"trials": ("trial", "size"), "epochs": ("epochs_run", "sum"), "seconds": ("seconds", "sum")}
    return results.trials.groupby(["phase", "status"], sort=False).agg(**columns).reset_index()


def failures(results: Results) -> pd.DataFrame:
    """Return the errors of failed trials, most frequent first."""
    failed = results.trials[results.trials["status"] == "failed"]
    reason = failed["error"].fillna("no error recorded").map(lambda error: (str(error).splitlines() or [""])[0])
    return reason.value_counts().rename_axis("error").reset_index(name="trials")


# Columns that trials.parquet may have, and their headings in a table.
SIZES = {
    "parameters": "parameters",
    "trained_parameters": "trained parameters",
    "file_bytes": "model file",
    "latency_ms": "one image takes",
}


def sizes(trials: pd.DataFrame) -> dict[str, float]:
    """Return the medians over trials of one setting; all sizes but the latency are equal."""
    recorded = [column for column in SIZES if column in trials]
    return {column: float(pd.to_numeric(trials[column], errors="coerce").median()) for column in recorded}


def shown_sizes(frame: pd.DataFrame) -> dict[str, str]:
    """Return heading -> column for the sizes that differ between the rows of `frame`."""
    return {heading: column for column, heading in SIZES.items() if column in frame and frame[column].nunique() > 1}


def dots(comparison: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    """Choose the accuracy to plot for the levels of a factor: test, else confirmation, else search.

    Returns:
        The name of that accuracy, and a frame with columns level, winner, value, low, high; low and high are NaN if
        there is no interval.
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
