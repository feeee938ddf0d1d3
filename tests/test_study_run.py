"""Whole studies through the real command line on a real Ray: few and small, because each start costs seconds."""

import json
import os
import re
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import timm
import torch

from study import results
from study.persistence.ledger import LEDGER
from tests import notebooks
from tests.tiny import PATIENCE, command, make_pictures, run, write_study
from tests.whole import TIMING, rows
from trainables.config import from_dict
from trainables.place import Place
from trainables.trial import run_trial


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    make_pictures(folder / "pictures")
    write_study(folder)
    return folder


@pytest.fixture(scope="module")
def arguments(folder: Path) -> list[object]:
    # The gates have tests of their own.
    return [folder / "tiny.py", "--data", folder / "pictures", "--cache", folder / "cache", "--skip-preflight"]


@pytest.fixture(scope="module")
def undisturbed(folder: Path, arguments: list[object]) -> results.Results:
    """One trial after the other, from the beginning to the end."""
    run(*arguments, "--out", folder / "undisturbed", "--concurrent", 1)
    return results.read(folder / "undisturbed", logits=True)


def assert_equal_on_common_epochs(one: results.Results, other: results.Results) -> None:
    keys = ["trial", "epoch"]
    common = rows(one).merge(rows(other), on=keys, suffixes=("", "_other"))
    assert len(common) > 20
    for name in set(rows(one).columns) - set(keys):
        np.testing.assert_array_equal(common[name], common[f"{name}_other"], err_msg=name)


def test_plan_is_balanced_and_every_phase_ran(undisturbed: results.Results) -> None:
    trials = undisturbed.trials
    search = trials[trials["phase"] == "search"]
    assert len(search) == 16
    for factor, levels in undisturbed.factors.items():
        assert Counter(search[factor]) == dict.fromkeys(levels, 8)
        assert all(search[search["audit"]][factor].value_counts() == 2)
    assert (trials[trials["phase"] != "search"]["status"] == "completed").all()
    assert (trials[trials["audit"]]["status"] == "completed").all()
    confirm = trials[trials["phase"] == "confirm"]
    stood_for = {pair for cell in confirm["stands_for"] for pair in json.loads(cell)}
    assert stood_for == {f"{name}={level}" for name, levels in undisturbed.factors.items() for level in levels}
    assert set(confirm["seed"]) == {1, 2, 3}
    assert search["dropout"].notna().eq(search["regularizer"] == "dropout").all()


def test_stopped_trials_were_told_so_by_a_recorded_verdict(undisturbed: results.Results) -> None:
    stopped = undisturbed.trials.set_index("trial").query("status == 'stopped'")
    assert len(stopped) > 0
    verdicts = [json.loads(p.read_text()) for p in (undisturbed.out / LEDGER / "verdicts").glob("*.json")]
    told = {verdict["trial"]: verdict["epoch"] for verdict in verdicts if not verdict["go_on"]}
    assert told == stopped["epochs_run"].to_dict()


def test_contract_of_the_folder(undisturbed: results.Results) -> None:
    out = undisturbed.out
    for name in (
        "answers.csv",
        "report.html",
        "report.md",
        "best/model.safetensors",
        "best/config.json",
        "tensorboard",
    ):
        assert (out / name).exists(), name
    study = undisturbed.study
    assert study.get("manifest")
    assert study.get("preflight") == "skipped"
    assert study.get("test_openings") == 1
    assert study.get("compute_seconds") == pytest.approx(undisturbed.epochs["seconds"].sum())
    predictions = undisturbed.predictions
    assert (predictions.groupby(["trial", "fold"]).size() == 9).all()
    logits = np.stack(predictions["logits"].to_list())
    assert logits.dtype == np.float16
    assert logits.shape[1] == 3
    answers = pd.read_csv(out / "answers.csv")
    assert list(answers.columns) == list(results.ANSWERS_COLUMNS)
    assert len(answers) == 2


def test_val_predictions_of_confirmed_trials_give_their_best_accuracy(undisturbed: results.Results) -> None:
    val = undisturbed.predictions.query("fold == 'val'")
    accuracy = (val["label"] == val["predicted"]).groupby(val["trial"]).mean()
    confirm = undisturbed.trials.query("phase == 'confirm'").set_index("trial")["val_accuracy"]
    pd.testing.assert_series_equal(accuracy, confirm.sort_index(), check_names=False)


def test_a_trial_alone_gives_the_rows_it_gave_in_the_study(undisturbed: results.Results, folder: Path) -> None:
    place = Place(undisturbed.out / results.MANIFEST_FILE, folder / "pictures", folder / "cache")
    for trial in ("search-0002", undisturbed.trials["trial"].iloc[-1]):
        setting = json.loads((undisturbed.out / LEDGER / "settings" / f"{trial}.json").read_text())
        alone = pd.DataFrame([row for row, _ in run_trial(from_dict(setting["config"]), place)]).drop(columns=TIMING)
        recorded = rows(undisturbed).query("trial == @trial").drop(columns="trial")
        pd.testing.assert_frame_equal(alone, recorded.reset_index(drop=True), check_exact=True)


def test_best_loads_with_timm_and_predicts_as_recorded(undisturbed: results.Results) -> None:
    net = timm.create_model(f"local-dir:{undisturbed.out / 'best'}", pretrained=True).eval()
    assert net.num_classes == 3
    with torch.inference_mode():
        assert net(torch.zeros(1, 3, 16, 16)).shape == (1, 3)
    labels = json.loads((undisturbed.out / "best" / "labels.json").read_text())
    assert labels == ["blue", "green", "red"]


@pytest.mark.long
def test_beside_others_every_row_is_the_same(
    undisturbed: results.Results, folder: Path, arguments: list[object]
) -> None:
    run(*arguments, "--out", folder / "beside", "--concurrent", 2)
    assert_equal_on_common_epochs(undisturbed, results.read(folder / "beside"))


def test_killed_and_resumed_every_row_and_survivor_is_the_same(
    undisturbed: results.Results, folder: Path, arguments: list[object]
) -> None:
    out = folder / "killed"
    everything = [*arguments, "--out", out, "--concurrent", 1, "--resume"]
    for ends in (0, 5, 21):  # before the first trial ends, in the search, in the confirmation
        kill_when(out, everything, ends)
    run(*everything)
    killed = results.read(out)
    pd.testing.assert_frame_equal(rows(undisturbed), rows(killed), check_exact=True)
    columns = ["trial", "status", "epochs_run", "best_epoch", "val_accuracy", "stands_for"]
    pd.testing.assert_frame_equal(
        undisturbed.trials[columns].sort_values("trial", ignore_index=True),
        killed.trials[columns].sort_values("trial", ignore_index=True),
        check_exact=True,
    )
    assert killed.study.get("test_openings") == 1


def test_interrupted_says_how_to_go_on_and_an_extended_study_keeps_its_rows(
    undisturbed: results.Results, folder: Path, arguments: list[object]
) -> None:
    out = folder / "interrupted"
    process = start([*arguments, "--out", out])
    wait_for_ends(out, process, 3)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert error.strip().splitlines()[-1].endswith("--resume")
    assert len(results.read(out).trials) >= 3
    done = run(*arguments, "--out", out, "--resume", "--trials", 18, "--seeds", 4)
    assert done.stdout.startswith(f"Resuming study tiny; results go to {out}\n{(out / 'summary.txt').read_text()}\n")
    assert re.search(r"(^|\n)study tiny: .* elapsed, about .* left; search \d+ of 18", done.stderr)
    assert re.search(r"\nstudy tiny: [^,]* elapsed; search 18 of 18 .*, test (\d+) of \1; best", done.stderr)
    extended = results.read(out)
    assert_equal_on_common_epochs(undisturbed, extended)
    assert Counter(extended.trials["phase"])["search"] == 18
    assert set(extended.trials.query("phase == 'confirm'")["seed"]) == {1, 2, 3, 4}
    assert len(extended.study.get("deviations", [])) == 2


def start(arguments: list[object]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ.copy()
    )


def wait_for_ends(out: Path, process: subprocess.Popen[str], count: int) -> None:
    """Until so many trials have ended and another is under way."""
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        ends = len(list((out / LEDGER / "ends").glob("[!.]*.json")))
        running = list((out / "checkpoints").glob("[!.]*"))
        if ends >= count and running:
            return
        time.sleep(0.01)
    raise AssertionError(f"ended with {process.returncode} before {count} trials had: {process.communicate()}")


def kill_when(out: Path, arguments: list[object], ends: int) -> None:
    process = start(arguments)
    wait_for_ends(out, process, ends)
    process.kill()
    process.communicate()


def test_a_notebook_opens_what_a_real_study_left(
    undisturbed: results.Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebooks.surroundings(monkeypatch, tmp_path, STUDY=undisturbed.out)
    cells = notebooks.run("explore.ipynb").cells
    assert notebooks.said(cells[-1]) == "[]\n"  # neither torch nor Ray
    assert undisturbed.study["question"] in "".join(notebooks.said(cell) for cell in cells if "outputs" in cell)
