"""Export a study as DeepCAVE's data frames: `python -m analysis.export_deepcave OUT [FOLDER]`.

Run `deepcave --open` and select the folder of a phase, or use any program that reads CSV.
"""

import sys
from collections.abc import Hashable, Iterator, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.confirmed.objective import metric_by_epoch, objective
from analysis.exporting import command
from analysis.hyperparameters import VARIED, Choice, Space, space, values
from study.results import Results, level_text
from study.writing import in_shell, write_table

# DeepCAVE's data frames have no conditions: the level of a conditional factor that does not exist.
_NOWHERE = "absent"


def export(results: Results, folder: Path) -> list[Path]:
    """Write a folder with trials.csv and configspace.csv for each phase, and return the folders.

    Phases are separate because importances are only meaningful in the search. A budget is a number of epochs at which
    any trial of the phase ended. A trial has a row for each budget that it reached, with its best value until then.
    """
    folders, varied = [], space(results)
    for phase in VARIED:
        trials = results.trials[results.trials["phase"] == phase]
        if len(trials):
            into = folder / phase
            into.mkdir(parents=True, exist_ok=True)
            write_table(pd.DataFrame(_rows(results, trials, varied)), into / "trials.csv")
            write_table(_configspace(varied, trials), into / "configspace.csv")
            folders.append(into)
    return folders


def _rows(results: Results, trials: pd.DataFrame, varied: Space) -> Iterator[dict[str, Any]]:
    target = objective(results)
    direction = "maximize" if target.sign > 0 else "minimize"
    metric = f"metric:{target.metric} [{'0; 1' if target.sign > 0 else '0; +inf'}] ({direction})"
    budgets = sorted({int(epochs) for epochs in trials["epochs_run"].dropna() if epochs > 0}) or [0]
    reached = _until(results, set(trials["trial"]))
    numbers = {arm: number for number, arm in enumerate(trials["arm"].map(str).unique())}
    clock = 0.0
    for row in trials.to_dict("records"):
        seed = -1 if pd.isna(row["seed"]) else int(row["seed"])
        config = {"config_id": numbers[str(row["arm"])], "seed": seed, **_cells(varied, row)}
        more = {"trial": row["trial"], "ended": row["status"]}
        failed, curve = row["status"] == "failed" or row["trial"] not in reached, reached.get(row["trial"], {})
        if failed:
            times = {"start_time": clock, "end_time": clock, "status": "crashed"}
            yield {**config, "budget": budgets[-1], metric: np.nan, **times, **more}
            continue
        for budget in (epochs for epochs in budgets if epochs in curve):
            best, seconds = curve[budget]
            times = {"start_time": clock, "end_time": clock + seconds, "status": "success"}
            yield {**config, "budget": budget, metric: best, **times, **more}
        clock += max(seconds for _, seconds in curve.values())


def _until(results: Results, trials: set[str]) -> dict[str, dict[int, tuple[float, float]]]:
    """Return trial -> epoch -> best metric and total seconds up to that epoch."""
    sign, column = objective(results).sign, metric_by_epoch(results)
    rows = results.epochs[results.epochs["trial"].isin(trials)].sort_values(["trial", "epoch"])
    rows = rows.dropna(subset=["epoch", column])
    best = sign * (sign * rows[column]).groupby(rows["trial"]).cummax()
    seconds = rows["seconds"].fillna(0.0).groupby(rows["trial"]).cumsum()
    until: dict[str, dict[int, tuple[float, float]]] = {}
    for trial, epoch, value, time in zip(rows["trial"], rows["epoch"], best, seconds, strict=True):
        until.setdefault(trial, {})[int(epoch)] = (float(value), float(time))
    return until


def _cells(varied: Space, row: Mapping[Hashable, Any]) -> dict[str, str | float]:
    present = values(varied, row)
    return {
        name: _label(name, kind, str(present.get(name, _NOWHERE)))
        if isinstance(kind, Choice)
        else present.get(name, kind.low)
        for name, kind in varied.items()
    }


def _configspace(varied: Space, trials: pd.DataFrame) -> pd.DataFrame:
    """Return one row per hyperparameter, in the format that DeepCAVE documents for data frames."""
    rows = []
    for name, kind in varied.items():
        if isinstance(kind, Choice):
            nowhere = [_NOWHERE] if (trials[name].map(level_text) == "").any() else []
            levels = [_label(name, kind, level) for level in (*kind.levels, *nowhere)]
            items = {f"item_{number}": level for number, level in enumerate(levels)}
            rows.append({"name": name, "type": "categorical", "default": levels[0], **items})
        else:
            ends = {"lower": kind.low, "upper": kind.high if kind.high > kind.low else kind.low + 1.0}
            rows.append({"name": name, "type": "float", **ends, "distribution": "uniform", "log": kind.log})
    needed = ["name", "type", "lower", "upper", "distribution", "log", "default", "ordered"]
    frame = pd.DataFrame(rows)
    return frame.reindex(columns=[*needed, *(column for column in frame if column not in needed)])


def _label(name: str, kind: Choice, level: str) -> str:
    """Return a level as text that survives a CSV file: 96 or None would not be read back as text."""
    csv = [pd.DataFrame({"level": [other]}).to_csv(index=False) for other in kind.levels]
    read = [pd.read_csv(StringIO(text))["level"].tolist() for text in csv]
    return level if read == [[other] for other in kind.levels] else f"{name} {level}"


def main(arguments: list[str] | None = None) -> int:
    return command("analysis.export_deepcave", "A study as DeepCAVE reads it.", "deepcave", export, arguments)


if __name__ == "__main__":
    sys.exit(in_shell(main))
