"""Whole studies of other kinds, on a real Ray: all trials fail, goal="best", with and without sharing."""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from study import results
from tests.tiny import STUDY_FILE, make_pictures, run, write_study
from tests.whole import rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kinds")
    make_pictures(folder / "pictures")
    return folder


@pytest.fixture(scope="module")
def flags(folder: Path) -> list[object]:
    return ["--data", folder / "pictures", "--cache", folder / "cache", "--skip-preflight"]


def test_failing_trials_are_recorded_and_a_study_of_them_exits_1(folder: Path, flags: list[object]) -> None:
    absurd = STUDY_FILE.replace("optimizers.adaptive(1e-3, 1e-1)", "optimizers.adaptive(1e30, 1e35)")
    (folder / "absurd").mkdir()
    file = write_study(folder / "absurd", absurd.replace('"batch_size": 8', '"batch_size": 8, "optimizer": "sgd"'))
    done = run(file, *flags, "--out", folder / "failing", "--trials", 2, expect=1)
    assert "without a usable trial" in done.stderr
    trials = results.read(folder / "failing").trials
    assert list(trials["status"]) == ["failed", "failed"]
    assert trials["error"].str.contains("Diverged").all()


def test_goal_best_samples_with_tpe_and_confirms_the_best(folder: Path, flags: list[object]) -> None:
    (folder / "best").mkdir()
    file = write_study(folder / "best", STUDY_FILE.replace("    budget=", '    goal="best",\n    budget='))
    run(file, *flags, "--out", folder / "goal", "--trials", 6, "--epochs", 2, "--seeds", 1)
    study = results.read(folder / "goal")
    assert Counter(study.trials["phase"]) == {"search": 6, "confirm": 3}
    assert pd.read_csv(folder / "goal" / "answers.csv")["verdict"].str.startswith("refused").all()


FROZEN_STUDY = """
from search_spaces import optimizers
from study.spec import Budget, Study

STUDY = Study(
    dataset="folder",
    question="Does sharing change a row?",
    factors={"unfreeze": ["head", "last stage", "all"], "augmentation": ["none", "light"]},
    nuisances=optimizers.adaptive(1e-3, 1e-1),
    fixed={"backbone": "test_efficientnet", "size": 32, "batch_size": 8, "split": "60-20-20"},
    budget=Budget(trials=12, epochs=2, refine=1, seeds=1),
)
"""


def test_sharing_what_is_frozen_changes_no_row(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "frozen.py").write_text(FROZEN_STUDY)
    same = [tmp_path / "frozen.py", "--data", folder / "pictures", "--weights", "none", "--concurrent", 1]
    same += ["--skip-preflight"]
    run(*same, "--cache", tmp_path / "cache", "--out", tmp_path / "shared")
    assert list((tmp_path / "cache" / "prefixes").rglob("*.safetensors"))
    run(*same, "--cache", tmp_path / "other", "--out", tmp_path / "alone", "--no-sharing")
    assert not (tmp_path / "other" / "prefixes").exists()
    shared, alone = (results.read(tmp_path / name, logits=True) for name in ("shared", "alone"))
    pd.testing.assert_frame_equal(rows(shared), rows(alone), check_exact=True)
    one, other = (
        np.stack(study.predictions.sort_values(["trial", "fold", "item"])["logits"].to_list())
        for study in (shared, alone)
    )
    np.testing.assert_array_equal(one, other)
