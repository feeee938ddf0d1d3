"""Export a study for optuna-dashboard: `python -m analysis.export_optuna OUT [FILE]`.

optuna-dashboard OUT/optuna.log
"""

import json
import sys
import warnings
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.trial import FrozenTrial, TrialState

from analysis.confirmed.objective import metric_by_epoch, objective
from analysis.exporting import command
from analysis.hyperparameters import VARIED, Choice, space, values
from analysis.layout.text import plain
from study.results import Results
from study.writing import in_shell, write_text

FILE = "optuna.log"  # a journal is ten times faster than SQLite
_STATES = {"completed": TrialState.COMPLETE, "stopped": TrialState.PRUNED, "failed": TrialState.FAIL}
_ATTRIBUTES = ("trial", "phase", "arm", "seed", "audit", "status", "epochs_run", "best_epoch", "error")
# The tables hold durations but no start times, so trials follow one another from here.
_BEGIN = datetime(2000, 1, 1)


def export(results: Results, file: Path) -> list[str]:
    """Write every trial of search, refinement and confirmation, and return how to show them.

    Each phase is an Optuna study of its own, because importances are only meaningful in the search: refinement trials
    surround the winner, and confirmation repeats settings with new seeds.
    """
    journal = _Journal()
    storage = JournalStorage(journal)
    for phase in VARIED:
        if (results.trials["phase"] == phase).any():
            _export_phase(results, phase, storage)
    write_text("".join(f"{json.dumps(entry)}\n" for entry in journal.entries), file)
    return [f"{file}: show it with optuna-dashboard {file}"]


class _Journal(BaseJournalBackend):
    """A journal in memory, written in one go: JournalFileBackend syncs to disk after every trial."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        yield from self.entries[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self.entries += logs


def frozen_trials(results: Results, phase: str) -> list[FrozenTrial]:
    """Return the trials of a phase with the metric after each epoch; stopped ones are pruned."""
    varied, column = space(results), objective(results).column
    distributions: dict[str, BaseDistribution] = {
        name: CategoricalDistribution(kind.levels)
        if isinstance(kind, Choice)
        else FloatDistribution(kind.low, kind.high, log=kind.log)
        for name, kind in varied.items()
    }
    epochs = _after_each_epoch(results)
    frozen, clock = [], _BEGIN
    for number, row in enumerate(results.trials[results.trials["phase"] == phase].to_dict("records")):
        params, value = values(varied, row), row[column]
        state = TrialState.FAIL if pd.isna(value) else _STATES[row["status"]]
        begin, clock = clock, clock + timedelta(seconds=0.0 if pd.isna(row["seconds"]) else row["seconds"])
        frozen.append(
            FrozenTrial(
                number=number,
                trial_id=number,
                state=state,
                value=None if state is TrialState.FAIL else float(value),
                datetime_start=begin,
                datetime_complete=clock,
                params=params,
                distributions={name: distributions[name] for name in params},
                user_attrs={name: row[name] for name in _ATTRIBUTES if not pd.isna(row[name])},
                system_attrs={},
                intermediate_values=epochs.get(row["trial"], {}),
            )
        )
    return frozen


def _export_phase(results: Results, phase: str, storage: JournalStorage) -> None:
    target = objective(results)
    study = optuna.create_study(
        storage=storage,
        study_name=f"{plain(results.study['name'])}: {phase}",
        direction="maximize" if target.sign > 0 else "minimize",
    )
    with warnings.catch_warnings(category=ExperimentalWarning, action="ignore"):
        study.set_metric_names([target.metric])
    study.set_user_attr("question", results.study["question"])
    study.add_trials(frozen_trials(results, phase))


def _after_each_epoch(results: Results) -> dict[str, dict[int, float]]:
    """Return trial -> epoch -> metric."""
    rows = results.epochs[["trial", "epoch", metric_by_epoch(results)]].dropna()
    after: dict[str, dict[int, float]] = {}
    for trial, epoch, value in rows.itertuples(index=False):
        after.setdefault(trial, {})[int(epoch)] = float(value)
    return after


def main(arguments: list[str] | None = None) -> int:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return command("analysis.export_optuna", "Export a study for optuna-dashboard.", FILE, export, arguments)


if __name__ == "__main__":
    sys.exit(in_shell(main))
