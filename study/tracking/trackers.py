"""Optional experiment trackers, MLflow and Weights & Biases. They get the same events as the display.

Ray's own callbacks for them are not used. For Tune a trial is one of our jobs, whose config has no hyperparameters, and
the test of a model is another Tune trial.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Protocol

from study.persistence.ledger import Event, Record
from trainables.errors import InputError

# How long a study waits at its end for a slow tracker.
_PATIENCE = 60  # seconds


class Tracker(Protocol):
    """A listener for the events of a study, as the display is."""

    def hear(self, event: Event, record: Record) -> None: ...

    def close(self) -> None: ...


def check_installed(mlflow: str | None, wandb: str | None) -> None:
    """Check that the packages of the trackers are installed, without importing them.

    Raises:
        InputError: a package is missing.
    """
    # The full MLflow package requires an older pandas. The skinny one has everything needed to write to a server.
    for flag, value, module, package in (
        ("--mlflow", mlflow, "mlflow", "mlflow-skinny"),
        ("--wandb", wandb, "wandb", "wandb"),
    ):
        if value is not None and find_spec(module) is None:
            raise InputError(f"{flag} needs the package {module}: pip install {package}")


def connect(mlflow: str | None, wandb: str | None, name: str, out: Path) -> "list[Background]":
    """Connect to the trackers that the flags ask for.

    Args:
        name: the name of the study.

    Raises:
        InputError: a tracker cannot be reached.
    """
    trackers = []
    if mlflow is not None:
        from study.tracking.mlflow import MLflowRuns

        trackers.append(Background("MLflow", MLflowRuns(mlflow, name, out)))
    if wandb is not None:
        from study.tracking.wandb import WandbRuns

        trackers.append(Background("W&B", WandbRuns(wandb, name, out)))
    return trackers


class Background:
    """Run a tracker in a separate thread, so that a slow tracker delays no trial and a failing one stops no study.

    After its first error a tracker gets no more events. The study's own tables do not depend on it.
    """

    def __init__(self, title: str, tracker: Tracker) -> None:
        self.title, self.tracker = title, tracker
        self.calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self.thread = Thread(target=self._work, daemon=True)
        self.thread.start()

    def hear(self, event: Event, record: Record) -> None:
        snapshot = replace(record, rows=dict(record.rows))  # the study keeps changing the record
        self.calls.put(lambda: self.tracker.hear(event, snapshot))

    def close(self) -> None:
        self.calls.put(self.tracker.close)
        self.calls.put(None)
        self.thread.join(_PATIENCE)
        if self.thread.is_alive():
            print(f"{self.title} is too slow: the study ends before everything is logged.", file=sys.stderr)

    def _work(self) -> None:
        works = True
        while (call := self.calls.get()) is not None:
            try:
                if works:
                    call()
            except Exception as problem:  # no error of a tracker may stop the study
                works = False
                reason = " ".join(f"{type(problem).__name__}: {problem}".split())
                print(f"{self.title} failed, so this study is no longer logged there: {reason}", file=sys.stderr)
