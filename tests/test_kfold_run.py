"""A study whose images test in turn, through the real command line on a real Ray: killed once, and gone on with."""

import json
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from study import results
from study.persistence.ledger import LEDGER
from tests.test_study_run import kill_when
from tests.tiny import STUDY_FILE, make_pictures, run, write_study

FOLDS, SEEDS, POINTS, PICTURES = 2, 3, 2, 45
KFOLD = (
    STUDY_FILE.replace('"regularizer": ["none", "dropout"], ', "")
    .replace(' | regularizers.strength_of("dropout")', "")
    .replace(
        "trials=16, epochs=4, refine=2, seeds=3", f"trials=8, epochs=2, refine=2, seeds={SEEDS}, test_folds={FOLDS}"
    )
)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> results.Results:
    folder = tmp_path_factory.mktemp("kfold")
    pictures = make_pictures(folder / "pictures")
    everything = [write_study(folder, KFOLD), "--data", pictures, "--out", folder / "out", "--cache", folder / "cache"]
    everything += ["--concurrent", 1, "--seed", 3, "--skip-preflight", "--resume"]
    kill_when(folder / "out", everything, 8 + POINTS)  # while the first test fold is refined
    run(*everything)
    return results.read(folder / "out", logits=True)


def test_every_test_fold_is_refined_for_itself_and_confirmed_with_its_own_best(study: results.Results) -> None:
    trials = study.trials
    assert Counter(trials["phase"]) == {"search": 8, "refine": 2 * SEEDS * FOLDS * POINTS, "confirm": 2 * SEEDS * FOLDS}
    assert set(trials["status"]) <= {"completed", "stopped"}
    refined, confirmed = (trials[trials["phase"] == phase] for phase in ("refine", "confirm"))
    assert set(confirmed["seed"]) == set(refined["seed"]) == set(range(1, SEEDS * FOLDS + 1))
    tried = refined.sort_values(["val_metric", "trial"], ascending=[False, True])
    best = tried.drop_duplicates(["seed", "augmentation"])
    for _, row in confirmed.iterrows():
        (chosen,) = best[(best["seed"] == row["seed"]) & (best["augmentation"] == row["augmentation"])].to_dict(
            "records"
        )
        assert row["arm"] == chosen["arm"]
        assert row["val_accuracy"] == chosen["val_accuracy"]  # one config, one result
    assert confirmed.groupby("augmentation")["arm"].nunique().max() > 1  # or this test would show nothing


def test_every_image_tests_once_a_round_and_the_folds_were_opened_once(study: results.Results) -> None:
    tests = study.predictions.query("fold == 'test'").merge(study.trials[["trial", "seed", "augmentation"]])
    tests["round"] = (tests["seed"] - 1) // FOLDS
    items = tests.groupby(["augmentation", "round"])["item"]
    assert (items.nunique() == PICTURES).all()
    assert (items.size() == PICTURES).all()
    assert study.study.get("budget", {}).get("test_folds") == FOLDS
    assert study.study.get("test_openings") == 1
    assert len(list((study.out / LEDGER / "openings").glob("*.json"))) == 1
    (models,) = (json.loads(file.read_text())["models"] for file in (study.out / LEDGER / "openings").glob("*.json"))
    assert set(models) == set(study.trials.query("phase == 'confirm'")["trial"])


def test_it_is_answered_from_rounds_and_all_images(study: results.Results) -> None:
    answers = pd.read_csv(study.out / "answers.csv")
    assert (answers[["seeds", "items"]].to_numpy() == [SEEDS, PICTURES]).all()
    assert set(answers["verdict"]) == {"too few seeds"}  # three rounds claim nothing
    shipped = json.loads((study.out / "best" / "trial.json").read_text())["trial"]
    assert shipped in set(study.trials.query("phase == 'confirm'")["trial"])
    report = Path(study.out / "report.md").read_text()
    assert "divided into 2 test folds" in report
    assert "Ensembles" not in report
