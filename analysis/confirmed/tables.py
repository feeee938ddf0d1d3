"""The small tables a study is read by. Each is a frame with plain numbers; the report says them in words."""

import numpy as np
import pandas as pd

from analysis.confirmed.pictures import baselines, class_names
from analysis.confirmed.settings import TEST, Setting, best_trial, groups, name, winner, winner_first
from analysis.confirmed.sizes import sizes
from analysis.layout.text import NOTHING
from analysis.search.rung import best_within, common_rung
from analysis.statistics.inference import accuracy_interval, mean_interval
from study.results import Results, level_text, metrics

PARAMETERS = ("parameters", "trained_parameters")  # columns that trials.parquet may have
LEARNING = ("train_accuracy", "val_accuracy", "train_cross_entropy", "val_cross_entropy")


def scores(results: Results, setting: Setting) -> dict[str, float]:
    """Validation and test accuracy of a setting, each the mean over its seeds with a 95 % interval.

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
        setting = next((s for s in found if (factor, level) in s.stands_for), None)
        confirmed = {} if setting is None else scores(results, setting)
        rows.append(
            {
                "level": level,
                "winner": best is not None and best.levels[factor] == level,
                "trials": int(mine.sum()),
                "failed": int((search[mine]["status"] == "failed").sum()),
                "search_best": reached[mine].max(),
                "search_median": reached[mine].median(),
                "refine_best": _refined_best(refined[refined["level"] == level]),
                **dict.fromkeys(_SCORES, np.nan),
                **confirmed,
                **({} if setting is None else sizes(setting.trials)),
                "trial_seconds": _trial_seconds(
                    trials[trials["level"] == level] if setting is None else _around(results, setting)
                ),
                "epochs": search[mine]["epochs_run"].sum(),
                "seconds": search[mine]["seconds"].sum(),
            }
        )
    return pd.DataFrame(rows)


def _refined_best(refined: pd.DataFrame) -> float:
    """With test folds the mean over them: each has a best of its own."""
    return refined.groupby("seed", dropna=False)["val_accuracy"].max().mean()


def _trial_seconds(trials: pd.DataFrame) -> float:
    """What a completed trial takes: the median, because the first of several computes what the others share.

    Of a confirmed level by the trials around its setting, so that levels are compared in one company; before that by
    those in any.
    """
    return float(trials.loc[trials["status"] == "completed", "seconds"].median())


def _around(results: Results, setting: Setting) -> pd.DataFrame:
    """The refining and confirming trials that have the levels of a setting."""
    mine = results.trials[results.trials["phase"].isin(["refine", "confirm"])]
    for factor, level in setting.levels.items():
        mine = mine[mine[factor].map(level_text) == level]
    return mine


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


def winner_table(results: Results, found: list[Setting]) -> pd.DataFrame:
    """The winner on test beside chance and the most frequent class; empty before confirmation.

    Where it was trained once more on training and validation together, that one model has a row of its own.
    """
    best = winner(found)
    if best is None:
        return pd.DataFrame(columns=["model", "accuracy", "low", "high"])
    score = scores(results, best)
    chance, frequent = baselines(results)
    rows = [
        ("the winner", score["test_accuracy"], score["test_low"], score["test_high"]),
        *_retrained(results, best),
        ("most frequent class", frequent, np.nan, np.nan),
        ("chance", chance, np.nan, np.nan),
    ]
    return pd.DataFrame(rows, columns=["model", "accuracy", "low", "high"])


def retrained(results: Results, best: Setting) -> pd.DataFrame:
    """The winner's trial on training and validation together; none where only an earlier winner was trained so."""
    trials = results.trials
    again = trials[(trials["phase"] == "retrain") & (trials["status"] == "completed") & (trials["arm"] == best.arm)]
    chosen = best.trials.loc[best.trials["trial"] == best_trial(best), "seed"].iloc[0]
    return again[again["seed"] == chosen] if (again["seed"] == chosen).any() else again


def _retrained(results: Results, best: Setting) -> list[tuple[str, float, float, float]]:
    again = retrained(results, best)
    seen = results.predictions[results.predictions["fold"] == TEST]
    rows = []
    for trial in again["trial"]:
        mine = seen[seen["trial"] == trial]
        if len(mine):
            right = (mine["label"] == mine["predicted"]).to_numpy(float)
            interval = accuracy_interval(right[None], groups(results, pd.Index(mine["item"])))
            rows.append(("retrained on training and validation", float(right.mean()), *interval))
    return rows


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
    reason = failed["error"].fillna("no error recorded").map(lambda error: (error.splitlines() or [""])[0])
    return reason.value_counts().rename_axis("error").reset_index(name="trials")


def generalization(results: Results, found: list[Setting]) -> pd.DataFrame:
    """Each confirmed setting at its best epoch, mean over seeds: train, validation and the gap between.

    `last_val_accuracy` is that of the last epoch, which keeping the best one is to be compared with.
    """
    last = results.epochs.sort_values("epoch").groupby("trial").tail(1)
    rows = []
    for setting in winner_first(found):
        at_best = setting.trials[["trial", "best_epoch"]].merge(
            results.epochs, left_on=["trial", "best_epoch"], right_on=["trial", "epoch"]
        )
        means = {column: at_best[column].mean() for column in LEARNING}
        gap = means["train_accuracy"] - means["val_accuracy"]
        row = {"setting": name(setting, found), **_best_epochs(setting), **means, "gap": gap}
        row["last_val_accuracy"] = last[last["trial"].isin(setting.trials["trial"])]["val_accuracy"].mean()
        rows.append(row | sizes(setting.trials))
    extra = [column for column in PARAMETERS if column in results.trials]
    return pd.DataFrame(rows, columns=["setting", *_BEST_EPOCHS, *LEARNING, "gap", "last_val_accuracy", *extra])


_BEST_EPOCHS = ("best_epoch", "best_epoch_sd", "best_epoch_low", "best_epoch_high")


def _best_epochs(setting: Setting) -> dict[str, float]:
    """Which epoch was kept, over the seeds: mean, standard deviation, first and last."""
    kept = setting.trials["best_epoch"]
    return dict(zip(_BEST_EPOCHS, (kept.mean(), kept.std(), kept.min(), kept.max()), strict=True))


def confusion(results: Results, setting: Setting) -> pd.DataFrame:
    """Test predictions of all seeds of a setting: rows the true class, columns the predicted one, by name."""
    seen = results.predictions[results.predictions["trial"].isin(setting.trials["trial"])]
    seen = seen[seen["fold"] == TEST]
    names = class_names(results).reindex(np.union1d(seen["label"], seen["predicted"]))
    matrix = pd.crosstab(seen["label"], seen["predicted"])
    return matrix.reindex(index=names.index, columns=names.index, fill_value=0)


def classes(matrix: pd.DataFrame, names: pd.Series, seeds: int) -> pd.DataFrame:
    """The classification report of a confusion of `seeds` models: every class of `names`, the worst F1 first.

    Support is images, so a class without any has no recall and no F1; it comes last.
    """
    every = names.index.union(matrix.index)
    whole = matrix.reindex(index=every, columns=every, fill_value=0)
    each = metrics.per_class(whole.to_numpy())
    table = pd.DataFrame(
        {
            "label": names.reindex(every).fillna(NOTHING).to_numpy(),
            "precision": each.precision,
            "recall": each.recall,
            "f1": each.f1,
            "support": each.support // seeds,
        }
    )
    return table.sort_values("f1", kind="stable", na_position="last").reset_index(drop=True)


def confused(matrix: pd.DataFrame, names: pd.Series) -> pd.DataFrame:
    """Which classes are mistaken for which, the most frequent first, with the share of the true class it concerns."""
    counts = matrix.to_numpy(copy=True)
    totals = counts.sum(axis=1)
    np.fill_diagonal(counts, 0)
    true, predicted = np.nonzero(counts)
    table = pd.DataFrame(
        {
            "label": names.reindex(matrix.index[true]).to_numpy(),
            "predicted": names.reindex(matrix.columns[predicted]).to_numpy(),
            "times": counts[true, predicted],
            "share": counts[true, predicted] / totals[true],
        }
    )
    return table.sort_values(["times", "share"], ascending=False, kind="stable")
