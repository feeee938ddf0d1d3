"""Log trials as runs of an MLflow experiment with the study's name."""

import os
import time
from pathlib import Path
from typing import Any

from study.persistence.ledger import Event, Record
from study.tracking.tracked import hyperparameters, measured, summary
from trainables.errors import InputError

_DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # the default of 7 takes minutes if a server does not answer
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}
_STATUS = {"completed": "FINISHED", "stopped": "FINISHED", "failed": "FAILED"}


class MLflowRuns:
    """One run per trial. A trial that continues after a crash becomes a new run with all its rows.

    Raises:
        InputError: MLflow cannot be reached.
    """

    def __init__(self, uri: str, name: str, out: Path) -> None:
        for variable, value in _DEFAULTS.items():
            os.environ.setdefault(variable, value)
        from mlflow import MlflowClient  # pyright: ignore[reportAttributeAccessIssue, reportMissingImports]
        from mlflow.entities import Metric, Param  # pyright: ignore[reportMissingImports]

        self.name, self.out = name, str(out.absolute())
        self.metric, self.param = Metric, Param
        try:
            self.client = MlflowClient(tracking_uri=uri)
            self.client.search_experiments(max_results=1)
        except Exception as problem:  # from MLflow, its database or its HTTP client
            first = str(problem).strip().partition("\n")[0]
            raise InputError(f"--mlflow {uri} cannot be used: {first}") from None
        self.experiment = ""
        self.runs: dict[str, str] = {}  # trial -> run
        self.logged: dict[str, int] = {}  # trial -> epochs

    def hear(self, event: Event, record: Record) -> None:
        if event == "tested" or (event == "start" and record.status is not None):
            return  # the test of a trial is not a run
        trial = record.planned.trial
        if trial not in self.runs:
            self._begin(trial, record)
        self._log_rows(trial, record)
        if event == "end":
            self._end(trial, record)

    def close(self) -> None:
        """End the runs of interrupted trials."""
        for run in self.runs.values():
            self.client.set_terminated(run, "KILLED")

    def _begin(self, trial: str, record: Record) -> None:
        if not self.experiment:
            self.experiment = self._experiment()
            self._end_lost_runs()
        tags = {"trial": trial, "out": self.out, "arm": record.planned.arm, "audit": str(record.planned.audit)}
        run = self.client.create_run(self.experiment, tags=tags, run_name=trial).info.run_id
        params = [self.param(name, str(value)) for name, value in hyperparameters(record).items()]
        self.client.log_batch(run, params=params)
        self.runs[trial], self.logged[trial] = run, 0

    def _experiment(self) -> str:
        experiment = self.client.get_experiment_by_name(self.name)
        return experiment.experiment_id if experiment else self.client.create_experiment(self.name)

    def _end_lost_runs(self) -> None:
        """End the runs that a killed process left in this study. No other process drives it now."""
        of_study = f"tags.out = '{self.out.replace(chr(39), chr(39) * 2)}' and attributes.status = 'RUNNING'"
        for run in self.client.search_runs([self.experiment], of_study):
            self.client.set_terminated(run.info.run_id, "KILLED")

    def _log_rows(self, trial: str, record: Record) -> None:
        new = [row for epoch, row in sorted(record.rows.items()) if epoch > self.logged[trial]]
        for row in new:
            self._log(trial, measured(row), row["epoch"])
            self.logged[trial] = row["epoch"]

    def _end(self, trial: str, record: Record) -> None:
        self._log(trial, summary(record), len(record.rows))
        run = self.runs.pop(trial)
        self.client.set_tag(run, "status", record.status)
        if record.error:
            self.client.set_tag(run, "error", record.error)
        self.client.set_terminated(run, _STATUS[record.status or "failed"])

    def _log(self, trial: str, values: dict[str, Any], step: int) -> None:
        now = int(1000 * time.time())
        self.client.log_batch(self.runs[trial], [self.metric(name, value, now, step) for name, value in values.items()])
