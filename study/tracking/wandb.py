"""Log trials as runs of a Weights & Biases project, in a group with the study's name."""

from pathlib import Path
from typing import Any

from study.persistence.ledger import Event, Record
from study.tracking.tracked import hyperparameters, measured, summary
from trainables.errors import InputError

# The study's own tables already record its console output, hardware and packages.
_QUIET = {"console": "off", "silent": True, "disable_git": True, "x_disable_stats": True, "x_save_requirements": False}


class WandbRuns:
    """One run per trial. A trial that continues after a crash becomes a new run with all its rows.

    Raises:
        InputError: there is no API key, or W&B cannot be used for another reason.
    """

    def __init__(self, project: str, name: str, out: Path) -> None:
        import wandb  # pyright: ignore[reportMissingImports]

        self.start = wandb.init  # pyright: ignore[reportAttributeAccessIssue]
        self.project, self.name, self.out = project, name, out
        try:
            mode = wandb.setup().settings.mode  # pyright: ignore[reportAttributeAccessIssue]
            usable = mode in ("offline", "disabled") or wandb.login(prompt=False)  # pyright: ignore[reportAttributeAccessIssue]
        except Exception as problem:  # from W&B or its HTTP client
            raise InputError(f"--wandb {project} cannot be used: {str(problem).strip().splitlines()[0]}") from None
        if not usable:
            raise InputError("--wandb needs an API key: run wandb login, or set WANDB_MODE=offline and sync later.")
        self.runs: dict[str, Any] = {}
        self.logged: dict[str, int] = {}

    def hear(self, event: Event, record: Record) -> None:
        if event == "tested" or (event == "start" and record.status is not None):
            return  # the test of a trial is not a run
        trial = record.planned.trial
        if trial not in self.runs:
            self.runs[trial], self.logged[trial] = self._begin(record), 0
        for epoch, row in sorted(record.rows.items()):
            if epoch > self.logged[trial]:
                self.runs[trial].log(measured(row), step=epoch)
                self.logged[trial] = epoch
        if event == "end":
            run = self.runs.pop(trial)
            run.summary.update({**summary(record), "status": record.status, "error": record.error})
            run.finish(exit_code=int(record.status == "failed"))

    def close(self) -> None:
        """End the runs of interrupted trials."""
        for run in self.runs.values():
            run.finish(exit_code=1)

    def _begin(self, record: Record) -> Any:
        planned = record.planned
        return self.start(
            project=self.project,
            dir=str(self.out),
            name=planned.trial,
            group=self.name,
            job_type=planned.phase,
            config=hyperparameters(record) | {"arm": planned.arm, "audit": planned.audit},
            reinit="create_new",  # several trials run at once
            settings=_QUIET,
        )
