"""The study's memory: small immutable objects under OUT/ledger, written once and never changed.

    plan/NNN.json               the settings decided on before the first trial; one more for each extension
    settings/TRIAL.json         a trial's resolved config, before it starts
    reports/TRIAL/EEEE-AA.json  a row (epoch, attempt), written from the trial's side
    verdicts/NNNNNN.json        a rung's verdict, before it takes effect; numbered as they were taken
    errors/TRIAL/NN.json        an exception of a trial, before it is retried
    ends/TRIAL.json             how a trial ended
    openings/NNN.json           an opening of the test fold, before it is read

Objects are written under a temporary name and renamed, so a reader finds a whole one or none. Where --out is remote,
each is there before its writer goes on.
"""

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from study import storage
from study.plan import Planned
from trainables.errors import InputError
from trainables.metrics import signed

LEDGER = "ledger"
Row = dict[str, Any]


@dataclass
class Record:
    """What is known of one trial."""

    planned: Planned
    config: dict[str, Any]
    rows: dict[int, Row] = field(default_factory=dict)  # by epoch, from 1
    status: str | None = None  # completed, stopped, failed, or None while it is not ended
    error: str = ""

    @property
    def best(self) -> Row | None:
        """The first of the rows with the best metric on the validation."""
        return max(self.rows.values(), key=lambda row: (self.score_of(row), -row["epoch"]), default=None)

    @property
    def score(self) -> float:
        """The metric of the best row, turned so that more is better."""
        return float("-inf") if self.best is None else self.score_of(self.best)

    def score_of(self, row: Row) -> float:
        return signed(self.config["metric"], row["val_metric"])


@dataclass(frozen=True)
class Verdict:
    """What ASHA decided about a trial at a rung, and on which value."""

    trial: str
    epoch: int
    value: float
    go_on: bool


@contextmanager
def sole_driver(out: Path, shown: Path | str | None = None) -> Iterator[None]:
    """Within it no other process drives the study in `out`; a killed one's lock ends with it, and leaves no file.

    `shown` is what an error calls it.
    """
    folder = os.open(out, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"--out {shown or out} is in use: another process runs its study. Wait for it, or end it."
            ) from None
        except OSError:
            pass  # a network file system that locks no folders
        yield
    finally:
        os.close(folder)


def write_object(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(value))
    os.replace(temporary, path)
    storage.put(path)


def end_file(trial: str) -> str:
    return f"{LEDGER}/ends/{trial}.json"


def names_of(trial: str) -> tuple[str, ...]:
    """What the ledger has of one trial for those who work on it."""
    return f"{LEDGER}/settings/{trial}.json", f"{LEDGER}/reports/{trial}", f"{LEDGER}/errors/{trial}", end_file(trial)


def write_setting(out: Path, planned: Planned, config: dict[str, Any]) -> None:
    write_object(out / LEDGER / "settings" / f"{planned.trial}.json", {"planned": planned.to_dict(), "config": config})


def write_report(out: Path, trial: str, attempt: int, row: Row) -> None:
    write_object(out / LEDGER / "reports" / trial / f"{row['epoch']:04d}-{attempt:02d}.json", row)


def write_verdict(out: Path, number: int, verdict: Verdict) -> None:
    write_object(out / LEDGER / "verdicts" / f"{number:06d}.json", vars(verdict))


def write_end(out: Path, trial: str, status: str, error: str = "") -> None:
    write_object(out / end_file(trial), {"status": status, "error": error})


def read_end(out: Path, trial: str) -> tuple[str, str] | None:
    """How a trial ended, by its own word: status and error."""
    path = out / end_file(trial)
    if not path.exists():
        return None
    end = json.loads(path.read_text())
    return end["status"], end["error"]


def write_error(out: Path, trial: str, error: str) -> int:
    """Count an exception of a trial; gives how many there are now."""
    folder = out / LEDGER / "errors" / trial
    number = len(list(folder.glob("[!.]*.json")))
    write_object(folder / f"{number:02d}.json", {"error": error})
    return number + 1


def read_setting(out: Path, trial: str) -> tuple[Planned, dict[str, Any]]:
    value = json.loads((out / LEDGER / "settings" / f"{trial}.json").read_text())
    return _planned(value["planned"]), value["config"]


def read_reports(out: Path, trial: str) -> tuple[dict[int, Row], int]:
    """A trial's rows by epoch, those of the last attempt, and how many attempts there were."""
    rows, attempts = {}, 0
    for path in sorted((out / LEDGER / "reports" / trial).glob("[0-9]*.json")):
        epoch, attempt = (int(part) for part in path.stem.split("-"))
        rows[epoch] = json.loads(path.read_text())
        attempts = max(attempts, attempt)
    return rows, attempts


def write_opening(out: Path, models: dict[str, str]) -> None:
    """Record that the test fold is opened, with the hash of every frozen model, before it is read."""
    number = len(list((out / LEDGER / "openings").glob("*.json")))
    write_object(out / LEDGER / "openings" / f"{number:03d}.json", {"models": models})


def read_openings(out: Path) -> list[dict[str, str]]:
    return [value["models"] for value in _read_all(out / LEDGER / "openings")]


def write_plan(out: Path, planned: Iterable[Planned]) -> None:
    number = len(list((out / LEDGER / "plan").glob("*.json")))
    write_object(out / LEDGER / "plan" / f"{number:03d}.json", [each.to_dict() for each in planned])


def read_plan(out: Path) -> list[Planned]:
    """The planned search trials, those of later extensions behind the first."""
    return [_planned(entry) for part in _read_all(out / LEDGER / "plan") for entry in part]


def read_verdicts(out: Path) -> list[Verdict]:
    return [Verdict(**value) for value in _read_all(out / LEDGER / "verdicts")]


def read_records(out: Path) -> dict[str, Record]:
    """Every trial whose setting was recorded, by name."""
    records = {}
    for value in _read_all(out / LEDGER / "settings"):
        planned = _planned(value["planned"])
        records[planned.trial] = Record(planned, value["config"])
    for trial, record in records.items():
        record.rows, _ = read_reports(out, trial)
        record.status, record.error = read_end(out, trial) or (None, "")
    return records


def _read_all(folder: Path) -> list[Any]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("[!.]*.json"))]


def _planned(value: dict[str, Any]) -> Planned:
    return Planned(**value | {"stands_for": tuple(value["stands_for"])})
