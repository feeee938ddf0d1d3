"""A study that was disturbed beside one that was not."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from study.persistence.ledger import LEDGER

TIMING = ["seconds", "images_per_second", "latency_ms"]
ANSWERS = ["factor", "level_a", "level_b", "difference", "low", "high", "verdict"]


@dataclass(frozen=True)
class Outcome:
    statuses: str  # of the drivers, one after another
    ended: int  # trials that had ended when the last damage was done
    again: int  # of these, how many were run again
    repeated: int  # epochs of which there are two rows in the ledger, equal ones
    recovered: float  # seconds from --resume to the first new object in the ledger
    differs: str  # from the undisturbed study; empty where nothing does

    @classmethod
    def of(
        cls, out: Path, statuses: list[int], recovered: float, before: dict[str, set[str]], wrong: list[str]
    ) -> "Outcome":
        after = snapshot(out)
        again = [trial for trial, files in before.items() if after.get(trial) != files]
        repeated = sum(len(files) - len({name.split("-")[0] for name in files}) for files in _reports(out).values())
        return cls(
            " ".join(map(str, statuses)), len(before), len(again), repeated, round(recovered, 1), "; ".join(wrong)
        )


def snapshot(out: Path) -> dict[str, set[str]]:
    """The reports of every trial that has ended."""
    ended = {path.stem for path in (out / LEDGER / "ends").glob("[!.]*.json")}
    return {trial: files for trial, files in _reports(out).items() if trial in ended}


def differences(undisturbed: Path, disturbed: Path, before: dict[str, set[str]]) -> list[str]:
    """Each way in which the two differ that must not be."""
    wrong = []
    for file, keys in (("epochs.parquet", ["trial", "epoch"]), ("trials.parquet", ["trial"])):
        one, other = (_table(out / file, keys) for out in (undisturbed, disturbed))
        if other.duplicated(keys).any():
            wrong.append(f"{file} has a row twice")
        try:
            pd.testing.assert_frame_equal(one, other, check_exact=True)
        except AssertionError as problem:
            wrong.append(f"{file}: {str(problem).splitlines()[0]}")
    one, other = (pd.read_csv(out / "answers.csv")[ANSWERS] for out in (undisturbed, disturbed))
    if not one.equals(other):
        wrong.append("answers.csv")
    openings = json.loads((disturbed / "study.json").read_text())["test_openings"]
    if openings != 1:
        wrong.append(f"the test fold was opened {openings} times")
    return wrong


def _table(file: Path, keys: list[str]) -> pd.DataFrame:
    frame = pd.read_parquet(file)
    return frame.drop(columns=[name for name in TIMING if name in frame]).sort_values(keys, ignore_index=True)


def _reports(out: Path) -> dict[str, set[str]]:
    folders: list[Any] = sorted((out / LEDGER / "reports").glob("*"))
    return {folder.name: {path.name for path in folder.glob("[0-9]*.json")} for folder in folders}
