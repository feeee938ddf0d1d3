"""Published numbers, the same configurations measured here, and the differences between the two."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from analysis.confirmed.outputs import Outputs
from analysis.confirmed.settings import TEST, groups, test_predictions
from analysis.layout.page import Cell, Section, table
from analysis.layout.text import NOTHING, decimals, number, percent, percent_interval, points, value_text
from analysis.statistics.inference import accuracy_interval, mean_interval, wilson
from study.results import STUDY_FILE, Results, ResultsError, level_text, metrics
from study.writing import count

COLUMN = "published"  # in trials.parquet: the name of the published row that a trial repeats
NOT_RUN = "not run"
MEASURED = "measured"

# Common spellings -> the names in `metrics.REPORTED`.
_ALIASES = {"top1": "accuracy", "top_1": "accuracy", "top_5": "top5", "logloss": "log_loss", "auc": "auroc"}
_ALIASES |= {"cross_entropy": "log_loss", "f1": "macro_f1", "recall": "macro_recall", "precision": "macro_precision"}


def published_trials(results: Results) -> dict[str, pd.DataFrame]:
    """Return the trials of each published configuration that was run, by seed."""
    trials = results.trials
    if COLUMN not in trials:
        return {}
    ran = trials[(trials["phase"] == "published") & (trials[COLUMN].map(level_text) != "")]
    ran = ran.sort_values("seed", kind="stable")
    return {str(name): rows for name, rows in ran.groupby(COLUMN, sort=False)}


def published(results: Results, outputs: Outputs) -> pd.DataFrame:
    """Return one row for each published number, in the order the study lists them, measured if it was run.

    Accuracies have the interval of `accuracy_interval`, other metrics a t interval over at least three seeds. A
    published accuracy with a known n has Wilson's interval.
    """
    ran = published_trials(results)
    rows = [_row(results, outputs, row, ran.get(str(row["name"]))) for row in listed(results)]
    return pd.DataFrame(rows, columns=list(_COLUMNS)).astype({"n": "Int64", "seeds": "Int64", "test_n": "Int64"})


_COLUMNS = ("name", "metric", "fold", "n", "published", "published_low", "published_high", "state", "seeds", "test_n")
_COLUMNS += ("measured", "low", "high", "difference", "differs", "source", "config")


def listed(results: Results) -> list[Mapping[str, Any]]:
    """Return the published numbers that study.json lists.

    Raises:
        ResultsError: a row has no name or no numeric value.
    """
    rows = results.study.get("published") or []
    for row in rows if isinstance(rows, list) else [rows]:
        if not isinstance(row, Mapping) or "name" not in row or not isinstance(row.get("value"), int | float):
            raise ResultsError(
                f"{results.out / STUDY_FILE}: each row of `published` must be an object with at least a name and a "
                f"value that is a number, but got {row!r}. Fix it."
            )
    return list(rows)


def _row(results: Results, outputs: Outputs, claim: Mapping[str, Any], trials: pd.DataFrame | None) -> dict[str, Any]:
    metric, value, n = metric_name(claim.get("metric", "accuracy")), float(claim["value"]), claim.get("n")
    low, high = wilson(value * n, n) if metric == "accuracy" and n else (np.nan, np.nan)
    row = {
        "name": claim["name"],
        "metric": claim.get("metric", "accuracy"),
        "fold": claim.get("fold", ""),
        "n": n,
        "published": value,
        "published_low": low,
        "published_high": high,
        "differs": "; ".join([*changed(results, claim, trials), *map(value_text, claim.get("differs") or [])]),
        "source": value_text(claim.get("source") or ""),
        "config": value_text(claim.get("config") or {}),
        "state": NOT_RUN,
    }
    if trials is None:
        return row
    done = trials[trials["status"] == "completed"]["trial"].tolist()
    if not done:
        return row | {"state": "failed" if (trials["status"] == "failed").all() else "not finished"}
    measured = _accuracy(results, done) if metric == "accuracy" else _other(results, outputs, done, metric)
    return row | measured | {"difference": measured.get("measured", np.nan) - value, "seeds": len(done)}


def changed(results: Results, claim: Mapping[str, Any], trials: pd.DataFrame | None) -> list[str]:
    """Return where the columns of a published row's trials differ from its configuration, a phrase for each field."""
    config = claim.get("config")
    if trials is None or not isinstance(config, Mapping):
        return []
    changes = []
    for name, value in config.items():
        ran = dict.fromkeys(trials[name].map(level_text)) if name in trials else {}
        if ran and set(ran) != {level_text(value)}:
            used = " or ".join(level or "none" for level in ran)
            changes.append(f"{str(name).replace('_', ' ')} {used} instead of {value_text(value)}")
    own_test = results.manifest["official_split"].eq("test").any()
    if "split" in config and own_test and "official_split" in trials and trials["official_split"].eq(True).any():
        changes.append(f"the official test fold instead of the test fold of {value_text(config['split'])}")
    return changes


def metric_name(text: Any) -> str:
    """Return the name in `metrics.REPORTED` of a metric in any common spelling; an unknown name is returned as is."""
    name = str(text).lower().replace("-", "_").replace(" ", "_").removeprefix("val_").removeprefix("test_")
    return _ALIASES.get(name, name)


def _accuracy(results: Results, trials: list[str]) -> dict[str, Any]:
    right = test_predictions(results)
    correct = right[right["trial"].isin(trials)].pivot(index="trial", columns="item", values="right")
    if correct.empty or len(correct) < len(trials) or correct.isna().to_numpy().any():
        return {"state": "not evaluated on test"}
    low, high = accuracy_interval(correct.to_numpy(), groups(results, correct.columns))
    mean = float(correct.to_numpy().mean())
    return {"state": MEASURED, "measured": mean, "low": low, "high": high, "test_n": correct.shape[1]}


def _other(results: Results, outputs: Outputs, trials: list[str], metric: str) -> dict[str, Any]:
    if metric not in metrics.REPORTED:
        return {"state": f"{metric} is not measured here"}
    models = [output for trial in trials if (output := outputs.of(trial, TEST)) is not None]
    if len(models) < len(trials):
        return {"state": "not evaluated on test"}
    values = [metrics.all_metrics(model.labels, model.predicted, model.log_probabilities)[metric] for model in models]
    low, high = mean_interval(values)
    return {"state": MEASURED, "measured": np.mean(values), "low": low, "high": high, "test_n": len(models[0].items)}


def published_section(results: Results, outputs: Outputs, overlap: str) -> Section | None:
    """Return the section; None if no published numbers are listed or trials.parquet has no column for them."""
    if not listed(results) or COLUMN not in results.trials:
        return None
    frame = published(results, outputs)
    measured = frame[frame["state"] == MEASURED]
    inside = int(((measured["low"] <= measured["published"]) & (measured["published"] <= measured["high"])).sum())
    numbers = count(len(frame), "published number")
    sentences = [f"None of the {numbers} was measured here. Run the study with --published."]
    if len(measured):
        sentences = [
            f"{len(measured)} of {numbers} were reproduced on this study's test images.",
            f"{inside or 'None'} of them {'lies' if inside == 1 else 'lie'} within the measured 95% CI. Differences "
            "may come from the conditions listed as different.",
        ]
    shown: dict[str, Cell] = {
        "configuration": "name",
        "metric": lambda row: str(row.metric).replace("_", " "),
        "published": lambda row: _interval(row.metric, row.published, row.published_low, row.published_high),
        "on": lambda row: (row.fold or NOTHING) + (f", n\u00a0=\u00a0{number(row.n)}" if pd.notna(row.n) else ""),
        "measured on test": lambda row: _interval(row.metric, row.measured, row.low, row.high),
        "seeds": lambda row: number(row.seeds) if row.state == MEASURED else row.state,
        "difference": lambda row: _difference(row.metric, row.difference),
        "what differs": lambda row: row.differs or NOTHING,
    }
    caption = (
        "Published and measured values with 95% CIs. Measured: mean over seeds; with fewer than 3 seeds the interval "
        f"is for these models on new images. Difference: measured minus published, accuracies in points.{overlap}"
    )
    return Section("Published results", sentences, tables=[table("published", caption, frame, shown)])


def _is_share(metric: Any) -> bool:
    return metric_name(metric) not in ("log_loss", "auroc")


def _interval(metric: Any, mean: Any, low: Any, high: Any) -> str:
    if _is_share(metric):
        return percent_interval(mean, low, high) if pd.notna(low) else percent(mean)
    return f"{decimals(mean)} ({decimals(low)} to {decimals(high)})" if pd.notna(low) else decimals(mean)


def _difference(metric: Any, difference: Any) -> str:
    if pd.isna(difference):
        return NOTHING
    return points(difference) if _is_share(metric) else decimals(difference)
