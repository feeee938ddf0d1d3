"""Whole studies whose trials are trained by two workers each, through Ray Train: minutes, so beside the suite."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from study import results
from tests.test_study_run import TIMING, kill_when
from tests.tiny import PATIENCE, make_pictures, run, write_study

# Ray Train starts half a dozen processes for every trial.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3 * PATIENCE)]
STUDY = """
from search_spaces import optimizers
from study.spec import Budget, Study

STUDY = Study(
    dataset="folder",
    question="Do two workers follow the curve of one?",
    factors={"augmentation": ["none", "light"]},
    nuisances=optimizers.adaptive(1e-3, 1e-1),
    fixed={"backbone": "small_cnn", "unfreeze": "all", "size": 16, "batch_size": 8, "split": "60-20-20"},
    budget=Budget(trials=2, epochs=3, refine=1, seeds=1),
    control=False,
)
"""
KEYS = ["trial", "epoch"]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[object]]:
    folder = tmp_path_factory.mktemp("together")
    pictures, file = make_pictures(folder / "pictures"), write_study(folder, STUDY)
    return folder, [file, "--data", pictures, "--cache", folder / "cache", "--concurrent", 1, "--skip-preflight"]


@pytest.fixture(scope="module")
def by_two(places: tuple[Path, list[object]]) -> Path:
    folder, arguments = places
    run(*arguments, "--out", folder / "two", "--workers-per-trial", 2)
    return folder / "two"


def rows(out: Path) -> pd.DataFrame:
    return results.read(out).epochs.drop(columns=TIMING).sort_values(KEYS, ignore_index=True)


def test_two_workers_follow_the_curve_of_one(places: tuple[Path, list[object]], by_two: Path) -> None:
    folder, arguments = places
    run(*arguments, "--out", folder / "one")
    both = rows(folder / "one").merge(rows(by_two), on=KEYS, suffixes=("", "_two"))
    assert both["trial"].nunique() >= 3
    for name in ("train_cross_entropy", "val_cross_entropy", "learning_rate"):
        np.testing.assert_allclose(both[f"{name}_two"], both[name], rtol=5e-3, err_msg=name)
    assert set(results.read(by_two).trials["workers"]) == {2}
    assert set(results.read(by_two).trials["status"]) <= {"completed", "stopped"}


def test_killed_and_resumed_two_workers_give_the_same_rows(places: tuple[Path, list[object]], by_two: Path) -> None:
    folder, arguments = places
    again = [*arguments, "--out", folder / "killed", "--workers-per-trial", 2, "--resume"]
    kill_when(folder / "killed", again, 1)
    run(*again)
    pd.testing.assert_frame_equal(rows(by_two), rows(folder / "killed"), check_exact=True)
