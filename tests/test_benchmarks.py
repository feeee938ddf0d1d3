"""The benchmarks run; how fast is for docs/speed.md to say, never for a test."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.tiny import PATIENCE, make_pictures

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pictures(tmp_path_factory.mktemp("pictures") / "of")


def benchmark(name: str, *arguments: object) -> str:
    command = [sys.executable, "-m", f"tests.benchmarks.{name}", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ.copy(), timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.long
def test_the_race_has_every_contestant_do_the_same_search(pictures: Path, tmp_path: Path) -> None:
    peers = "ours,ours-unshared,plain-ray-reuse,optuna,sklearn"
    small = ["--trials", 3, "--size", 32, "--csv", tmp_path / "race.csv", "--work", "head-32"]
    shown = benchmark("race", "--data", pictures, "--peers", peers, *small)
    rows = pd.read_csv(tmp_path / "race.csv").set_index("peer")
    assert list(rows.index) == peers.split(",")
    assert (rows["trial_epochs"] == 9).all()
    assert rows["best"].between(0.2, 1).all()
    best = rows["best"].to_dict()
    assert best["ours"] == best["ours-unshared"]
    assert (rows[["wall", "cpu"]] > 0).all(axis=None)
    assert "plain/it" in shown


def test_a_driver_of_many_trials_is_watched() -> None:
    lines = benchmark("many_trials", "--trials", 40).splitlines()
    assert [int(line.split()[0]) for line in lines[1:11]] == [4 * n for n in range(1, 11)]
    assert [line.split(",")[0] for line in lines if line.startswith("a report")] == [
        "a report while it ran: status 0",
        "a report at the end: status 0",
    ]


def test_throughput_is_set_beside_a_tensor_that_never_changes(pictures: Path) -> None:
    small = ["--backbones", "test_efficientnet", "--depths", "head,all", "--size", 32, "--steps", 2]
    shown = benchmark("throughput", "--data", pictures, *small)
    assert len(re.findall(r"^ *test_efficientnet", shown, re.MULTILINE)) == 4  # as it is measured, and at the end
