"""Whether a study that was disturbed ended whole: its rows are an undisturbed one's, none is missing, none twice."""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from study import results
from study.persistence import ledger

TIMING = ["seconds", "images_per_second"]  # what two runs of one config may differ in


def differences(out: Path, undisturbed: Path, report: Path) -> list[str]:
    """What is wrong with the study in `out` and its `report`; empty where nothing."""
    study, other = results.read(out), results.read(undisturbed)
    planned = {each.trial for each in ledger.read_plan(out)}
    known = study.trials.set_index("trial")
    wrong = [f"{trial} has not ended" for trial in sorted(planned - set(known.index))]
    wrong += [
        f"{trial} ended as {row.status}: {row.error}" for trial, row in known.iterrows() if row.status == "failed"
    ]
    wrong += [f"{trial} has no end" for trial in known.index if ledger.read_end(out, trial) is None]
    if set(known["phase"]) != set(other.trials["phase"]):
        wrong.append(f"phases {set(known['phase'])}")
    twice = study.epochs.duplicated(["trial", "epoch"])
    wrong += [f"{row.trial} has epoch {row.epoch} twice" for row in study.epochs[twice].itertuples()]
    counted = study.epochs.groupby("trial").size()
    wrong += [f"{trial} misses rows" for trial in known.index if counted.get(trial) != known["epochs_run"][trial]]
    common = common_rows(study, other)
    if len(common) < len(study.epochs) / 2:
        wrong.append(f"only {len(common)} rows in common with the undisturbed study")
    for name in set(study.epochs.columns) - {"trial", "epoch", *TIMING}:
        if not np.array_equal(common[name], common[f"{name}_other"], equal_nan=True):
            wrong.append(f"{name} differs from the undisturbed study's")
    if study.study.get("test_openings") != 1:
        wrong.append(f"the test fold was opened {study.study.get('test_openings')} times")
    return wrong + wrong_in_report(study, report)


def wrong_in_report(study: results.Results, report: Path) -> list[str]:
    """The fetched report is what the tables give here, and names the winner's test accuracy, counted anew."""
    confirm = study.trials.query("phase == 'confirm'")
    test = study.predictions.query("fold == 'test'").merge(confirm[["trial", "arm"]], on="trial")
    best = confirm.groupby("arm")["val_accuracy"].mean().idxmax()
    won = test[test["arm"] == best]
    accuracy = f"{100 * (won['label'] == won['predicted']).mean():.1f}%"
    wrong = [] if accuracy in report.read_text() else [f"the report does not say {accuracy}"]
    with tempfile.TemporaryDirectory() as folder:
        again = Path(folder, "again")
        shutil.copytree(study.out, again)
        (again / results.REPORT_HTML).unlink()
        subprocess.run([sys.executable, "-m", "analysis.report", str(again)], check=True, capture_output=True)
        if (again / results.REPORT_HTML).read_text() != report.read_text():
            wrong.append("the report differs from the one that its tables give")
    return wrong


def common_rows(study: results.Results, other: results.Results) -> pd.DataFrame:
    """The epochs that both have, of trials whose config is the same."""
    same = set(_configs(study.out).items()) & set(_configs(other.out).items())
    names = {trial for trial, _ in same}
    mine, theirs = (each.epochs[each.epochs["trial"].isin(names)] for each in (study, other))
    return mine.merge(theirs, on=["trial", "epoch"], suffixes=("", "_other"))


def rows(study: results.Results) -> pd.DataFrame:
    """Every epoch of every trial, in order, without what time measures."""
    return study.epochs.drop(columns=TIMING).sort_values(["trial", "epoch"]).reset_index(drop=True)


def summary(out: Path, undisturbed: Path) -> str:
    """What the study has, and what the disturbance cost it."""
    study, other = results.read(out), results.read(undisturbed)
    attempts: dict[str, list[tuple[int, int]]] = {}
    for file in (out / "ledger/reports").glob("*/[0-9]*.json"):
        epoch, attempt = map(int, file.stem.split("-"))
        attempts.setdefault(file.parent.name, []).append((epoch, attempt))
    again = sorted(trial for trial, each in attempts.items() if max(attempt for _, attempt in each) > 1)
    repeated = sum(len(each) - len({epoch for epoch, _ in each}) for each in attempts.values())
    statuses = study.trials["status"].value_counts().to_dict()
    return "\n".join(
        [
            f"trials: {len(study.trials)} ({', '.join(f'{n} {status}' for status, n in statuses.items())})",
            f"rows: {len(study.epochs)}, of which {len(common_rows(study, other))} are the undisturbed study's as well",
            f"went on elsewhere: {', '.join(again) or 'none'}; epochs trained twice: {repeated}",
        ]
    )


def _configs(out: Path) -> dict[str, str]:
    settings = (out / "ledger/settings").glob("[!.]*.json")
    return {file.stem: json.dumps(json.loads(file.read_text())["config"], sort_keys=True) for file in settings}
