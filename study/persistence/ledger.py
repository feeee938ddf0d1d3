"""The ledger: small immutable objects under OUT/ledger, from which a study resumes. Each is written once.

    studies/NNN.json            study.json as each driver began with it
    plan/NNN.json               the plan of the search, before the first trial; one more for each extension
    settings/TRIAL.json         a trial's resolved config, before it starts
    attempts/TRIAL/NN.json      where a process began to train or test a trial
    reports/TRIAL/EEEE-AA.json  a row (epoch, attempt), written by the trial's worker
    verdicts/NNNNNN.json        a rung's verdict, before it takes effect; numbered as they were taken
    decisions/NNN.json          how the study goes on from a state that it reached, before it takes effect
    errors/TRIAL/NN.json        an exception of a trial, before the trial is retried
    cuts/NNN.json               a phase that ends early for --hours, before its remaining trials are dropped
    nondeterministic/TRIAL.json operations that may give other bits in a repeat, if the trial used any
    ends/TRIAL.json             how a trial ended; overwritten only if its test predictions cannot be stored
    openings/NNN.json           an opening of the test fold, before it is read

Objects are written under a temporary name and renamed, so a reader finds a complete object or none. With a remote --out
the writer waits until each object is stored. A full disk or a network file system may still leave a damaged object: it
counts as never written, but its number stays taken.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

from study.design.plan import Planned
from study.persistence import storage
from study.results import PHASES, STATUSES, Phase, Status
from study.study_record import DecisionRecord
from trainables.errors import InputError
from trainables.metrics import signed
from trainables.storage_errors import writing

LEDGER = "ledger"
Row = dict[str, Any]
Event = Literal["start", "row", "end", "tested"]  # of a trial, for the listeners of a study
T = TypeVar("T")


@dataclass
class Record:
    """One trial: its setting, its rows and how it ended."""

    planned: Planned
    config: dict[str, Any]
    rows: dict[int, Row] = field(default_factory=dict)  # by epoch, from 1
    status: Status | None = None  # None until it has ended
    error: str = ""

    @property
    def best(self) -> Row | None:
        """The row with the best validation metric; the first one if several are equal."""
        return max(self.rows.values(), key=lambda row: (self.score_of(row), -row["epoch"]), default=None)

    @property
    def score(self) -> float:
        """The metric of the best row, with its sign changed if less is better."""
        return float("-inf") if self.best is None else self.score_of(self.best)

    def score_of(self, row: Row) -> float:
        return signed(self.config["metric"], row["val_metric"])


@dataclass(frozen=True)
class Verdict:
    """ASHA's decision about a trial at a rung, and the value it is based on."""

    trial: str
    epoch: int
    value: float
    go_on: bool


@dataclass(frozen=True)
class Cut:
    """The decision to end a phase early, so that the rest of the study ends within --hours."""

    phase: Phase
    planned: int  # the trials of its plan; a plan that has grown since then is not cut
    dropped: tuple[str, ...]  # the planned trials that do not run


def write_object(path: Path, value: Any) -> None:
    """Write an object of the ledger as JSON, in one step.

    Raises:
        ValueError: a number in it is not finite.
        OSError: the disk is full, for example.
    """
    text = json.dumps(value, allow_nan=False)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with writing(path, len(text)):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text)
        os.replace(temporary, path)
    storage.put(path)


def end_file(trial: str) -> str:
    return f"{LEDGER}/ends/{trial}.json"


def names_of(trial: str) -> tuple[str, ...]:
    """Return the ledger's files and folders that the work on one trial reads and writes."""
    folders = (f"{LEDGER}/{kind}/{trial}" for kind in ("reports", "errors"))
    files = (f"{LEDGER}/{kind}/{trial}.json" for kind in ("settings", "nondeterministic"))
    return *files, attempts_folder(trial), *folders, end_file(trial)


def attempts_folder(trial: str) -> str:
    return f"{LEDGER}/attempts/{trial}"


def write_attempt(out: Path, trial: str, node: str, device: str) -> None:
    """Record that a process begins to train or test a trial, on this device of this node."""
    folder = out / attempts_folder(trial)
    write_object(folder / f"{_next_number(folder):02d}.json", {"node": node, "device": device})


def count_attempts(out: Path, trial: str) -> int:
    return len(_objects(out / attempts_folder(trial)))


def devices(out: Path) -> set[str]:
    """Return the kinds of device on which trials have been trained or tested."""
    attempts = (
        _read(path, lambda value: str(value["device"])) for path in (out / LEDGER).glob("attempts/*/[!.]*.json")
    )
    return set(filter(None, attempts))


def write_nondeterministic(out: Path, trial: str, operations: Iterable[str]) -> None:
    write_object(out / LEDGER / "nondeterministic" / f"{trial}.json", sorted(operations))


def read_nondeterministic(out: Path) -> dict[str, list[str]]:
    """Return the nondeterministic operations of each trial that used any."""
    paths = _objects(out / LEDGER / "nondeterministic")
    return {path.stem: _read(path, lambda value: [str(name) for name in value]) or [] for path in paths}


def write_setting(out: Path, planned: Planned, config: dict[str, Any]) -> None:
    write_object(out / LEDGER / "settings" / f"{planned.trial}.json", {"planned": planned.to_dict(), "config": config})


def write_report(out: Path, trial: str, attempt: int, row: Row) -> None:
    write_object(out / LEDGER / "reports" / trial / f"{row['epoch']:04d}-{attempt:02d}.json", row)


def write_verdict(out: Path, number: int, verdict: Verdict) -> None:
    write_object(out / LEDGER / "verdicts" / f"{number:06d}.json", vars(verdict))


def write_end(out: Path, trial: str, status: Status, error: str = "") -> None:
    write_object(out / end_file(trial), {"status": status, "error": error})


def read_end(out: Path, trial: str) -> tuple[Status, str] | None:
    """Return status and error as the trial wrote them; None if it did not, or if they are damaged."""
    path = out / end_file(trial)
    if not path.exists():
        return None
    return _read(path, lambda end: (STATUSES[STATUSES.index(end["status"])], str(end["error"])))


def write_error(out: Path, trial: str, epoch: int, error: str) -> int:
    """Record an exception of a trial after `epoch` epochs. Return how many it has raised there so far."""
    folder = out / LEDGER / "errors" / trial
    earlier = _objects(folder)
    write_object(folder / f"{len(earlier):02d}.json", {"epoch": epoch, "error": error})
    return 1 + sum(_read(path, lambda value: value["epoch"] == epoch) or 0 for path in earlier)


def read_setting(out: Path, trial: str) -> tuple[Planned, dict[str, Any]]:
    """Return a trial as planned, and its resolved config.

    Raises:
        OSError, ValueError, KeyError: its setting is missing or damaged.
    """
    return _setting(json.loads((out / LEDGER / "settings" / f"{trial}.json").read_text()))


def read_reports(out: Path, trial: str) -> tuple[dict[int, Row], int]:
    """Return a trial's rows by epoch, each from the last attempt, and the number of attempts.

    An epoch whose row is damaged in every attempt is missing, but its attempts count.
    """
    rows, attempts = {}, 0
    for path in sorted((out / LEDGER / "reports" / trial).glob("[0-9]*.json")):
        epoch, attempt = (int(part) for part in path.stem.split("-"))
        row = _read(path, lambda value, epoch=epoch: _checked_row(value, epoch))
        if row is not None:
            rows[epoch] = row
        attempts = max(attempts, attempt)
    return rows, attempts


def repeated_epochs(out: Path) -> int:
    """Return how many epochs ran again after an interruption. Their rows equal the first ones."""
    folders = (out / LEDGER / "reports").glob("[!.]*")
    reports = [[path.name.split("-")[0] for path in folder.glob("[0-9]*.json")] for folder in folders]
    return sum(len(epochs) - len(set(epochs)) for epochs in reports)


def write_cut(out: Path, cut: Cut) -> None:
    number = len(list((out / LEDGER / "cuts").glob("*.json")))
    write_object(out / LEDGER / "cuts" / f"{number:03d}.json", vars(cut))


def read_cuts(out: Path) -> list[Cut]:
    read = (_read(path, _cut) for path in _objects(out / LEDGER / "cuts"))
    return [cut for cut in read if cut is not None]


def write_opening(
    out: Path,
    models: dict[str, str],
    trials: Mapping[str, Sequence[str]] | None = None,
    recommended: DecisionRecord | None = None,
) -> None:
    """Record an opening of the test fold before the fold is read.

    Args:
        models: the hash of every model that will see the fold, by trial.
        trials: the levels that each trial of the study stands for at this time.
        recommended: the decision that names the recommended setting at this time.
    """
    number = len(list((out / LEDGER / "openings").glob("*.json")))
    opening = {"models": models, "trials": trials, "recommended": recommended}
    write_object(out / LEDGER / "openings" / f"{number:03d}.json", opening)


def read_openings(out: Path) -> list[dict[str, str]]:
    """Return the models of each opening. A damaged one still counts as an opening; its models are unknown."""
    paths = _objects(out / LEDGER / "openings")
    return [_read(path, lambda value: dict(value["models"])) or {} for path in paths]


def trials_at_openings(out: Path) -> list[dict[str, list[str]] | None]:
    """Return the `trials` of each opening; None if it is damaged or older than this record."""
    return [_read(path, lambda value: value.get("trials")) for path in _objects(out / LEDGER / "openings")]


def write_study(out: Path, study_json: dict[str, Any]) -> None:
    """Write a copy of study.json, which a resume uses if the original is damaged."""
    number = len(_objects(out / LEDGER / "studies"))
    write_object(out / LEDGER / "studies" / f"{number:03d}.json", study_json)


def studies(out: Path) -> list[Path]:
    """Return the copies of study.json, newest first."""
    return _objects(out / LEDGER / "studies")[::-1]


def write_plan(out: Path, planned: Iterable[Planned], number: int | None = None) -> None:
    """Write another part of the plan, or part `number` again."""
    if number is None:
        number = len(_objects(out / LEDGER / "plan"))
    write_object(out / LEDGER / "plan" / f"{number:03d}.json", [trial.to_dict() for trial in planned])


def read_plan(out: Path) -> list[Planned]:
    """Return the planned search trials, extensions last.

    Raises:
        InputError: a part is damaged. Without it this would be a different study under the same name.
    """
    planned: list[Planned] = []
    for path in _objects(out / LEDGER / "plan"):
        part = _read(path, lambda entries: [_planned(entry) for entry in entries])
        if part is None:
            raise InputError(f"The plan {path} is damaged: restore a copy of it, or choose another --out.")
        planned += part
    return planned


def read_verdicts(out: Path) -> list[Verdict]:
    read = (_read(path, lambda value: Verdict(**value)) for path in _objects(out / LEDGER / "verdicts"))
    return [verdict for verdict in read if verdict is not None]


def next_verdict(out: Path) -> int:
    """Return the number of the next verdict, above all others, damaged ones included."""
    return _next_number(out / LEDGER / "verdicts")


def write_decisions(out: Path, state: str, decisions: Sequence[DecisionRecord]) -> None:
    """Write what was decided in a state of the study."""
    folder = out / LEDGER / "decisions"
    write_object(folder / f"{_next_number(folder):03d}.json", {"state": state, "decisions": list(decisions)})


def read_decisions(out: Path) -> dict[str, list[DecisionRecord]]:
    """Return what was decided, by the state in which it was."""
    paths = _objects(out / LEDGER / "decisions")
    return dict(filter(None, (_read(path, lambda value: (str(value["state"]), value["decisions"])) for path in paths)))


def _next_number(folder: Path) -> int:
    """Return a number above those of all objects, damaged ones included."""
    return 1 + max((int(path.stem) for path in _objects(folder)), default=-1)


def read_records(out: Path) -> dict[str, Record]:
    """Return every trial whose setting was recorded, by name."""
    settings = (_read(path, _setting) for path in _objects(out / LEDGER / "settings"))
    return {planned.trial: read_record(out, planned, config) for planned, config in filter(None, settings)}


def read_record(out: Path, planned: Planned, config: dict[str, Any]) -> Record:
    """Return the state of a trial. If it ended but one of its rows is missing, it counts as running and runs again."""
    record = Record(planned, config)
    record.rows, _ = read_reports(out, planned.trial)
    record.status, record.error = read_end(out, planned.trial) or (None, "")
    named = [int(path.stem.split("-")[0]) for path in (out / LEDGER / "reports" / planned.trial).glob("[0-9]*.json")]
    if record.status in ("completed", "stopped") and len(record.rows) < max(named, default=0):
        record.status = None
    return record


def _objects(folder: Path) -> list[Path]:
    return sorted(folder.glob("[!.]*.json"))


def _read(path: Path, make: Callable[[Any], T]) -> T | None:
    """Return `make` of an object's content; None if it is damaged, as if it had never been written."""
    try:
        return make(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        _report_damage(path)
        return None


@cache
def _report_damage(path: Path) -> None:
    print(f"{path} is damaged: it counts as never written.", file=sys.stderr)


def _checked_row(value: Any, epoch: int) -> Row:
    if value["epoch"] != epoch:
        raise ValueError
    float(value["val_metric"])
    return dict(value)


def _cut(value: Any) -> Cut:
    return Cut(PHASES[PHASES.index(value["phase"])], int(value["planned"]), tuple(value["dropped"]))


def _setting(value: Any) -> tuple[Planned, dict[str, Any]]:
    return _planned(value["planned"]), dict(value["config"])


def _planned(value: dict[str, Any]) -> Planned:
    values: dict[str, Any] = value | {"stands_for": tuple(value["stands_for"])}
    return Planned(**values)
