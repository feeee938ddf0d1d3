"""Other people's trackers beside our tables: MLflow and Weights & Biases hear what the display hears.

Ray's own callbacks for both are not used: one of Tune's trials is a job here, whose config says where the job lies
and not which setting it has, and a look at the test fold is a trial to Tune, too.
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

# What a study waits at its end for a tracker that is slow.
_PATIENCE = 60  # seconds


class Tracker(Protocol):
    """Hears of the events of a study, as the display does."""

    def hear(self, event: Event, record: Record) -> None: ...

    def close(self) -> None: ...


def check_installed(mlflow: str | None, wandb: str | None) -> None:
    """Refuse a tracker whose package is missing, before anything is imported.

    Raises:
        InputError: it is.
    """
    # MLflow whole asks for an older pandas; its skinny package has all that writes to a server.
    for flag, value, module, package in (
        ("--mlflow", mlflow, "mlflow", "mlflow-skinny"),
        ("--wandb", wandb, "wandb", "wandb"),
    ):
        if value is not None and find_spec(module) is None:
            raise InputError(f"{flag} needs the package {module}: pip install {package}")


def connect(mlflow: str | None, wandb: str | None, name: str, out: Path) -> "list[Background]":
    """The trackers that were asked for, reached once.

    Raises:
        InputError: one cannot be reached.
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
    """A tracker in a thread of its own: one that is slow holds up no trial, one that fails ends no study.

    After its first error it hears nothing more; the study's own tables are whole without it.
    """

    def __init__(self, title: str, tracker: Tracker) -> None:
        self.title, self.tracker = title, tracker
        self.calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self.thread = Thread(target=self._work, daemon=True)
        self.thread.start()

    def hear(self, event: Event, record: Record) -> None:
        as_of_now = replace(record, rows=dict(record.rows))  # the study keeps writing into it
        self.calls.put(lambda: self.tracker.hear(event, as_of_now))

    def close(self) -> None:
        self.calls.put(self.tracker.close)
        self.calls.put(None)
        self.thread.join(_PATIENCE)
        if self.thread.is_alive():
            print(f"{self.title} has not taken in everything yet; the study does not wait for it.", file=sys.stderr)

    def _work(self) -> None:
        works = True
        while (call := self.calls.get()) is not None:
            try:
                if works:
                    call()
            except Exception as problem:  # whatever it is: the study goes on
                works = False
                said = " ".join(f"{type(problem).__name__}: {problem}".split())
                print(f"{self.title} hears no more of this study: {said}", file=sys.stderr)
