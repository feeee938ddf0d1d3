"""The tables of `python -m study.retrieval`."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import report
from study.products.best import load_best, prepared, views
from study.products.retrieval import KNN_COLUMNS, RETRIEVAL_COLUMNS, embed, trained_on
from study.results import KNN_FILE, MANIFEST_FILE, RETRIEVAL_FILE, TABLES_FOLDER, UNSEEN_FILE
from study.retrieval import main
from tests.fabricated import fabricate
from tests.finished import HEAD_ONLY, LAST_STAGE, Finished, finish
from tests.images import config
from tests.tiny import COLOURS, STUDY_FILE
from trainables.data.trial_data import open_trial_data


def tables(study: Finished, *flags: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    assert main([str(study.out), "--cache", str(study.cache), *flags]) == 0
    knn, retrieved = (pd.read_csv(study.out / TABLES_FOLDER / name) for name in (KNN_FILE, RETRIEVAL_FILE))
    return knn, retrieved


def test_of_a_backbone_that_was_trained_the_retrieval_is_closed_set(finished: Finished) -> None:
    knn, retrieved = tables(finished)
    assert list(knn.columns) == KNN_COLUMNS
    assert set(knn["backbone"]) == {"small_cnn"}
    assert set(knn["features"]) == {64 * 9}
    assert set(knn["n"]) == {9}
    assert knn["accuracy"].between(0, 1).all()
    test = knn[knn["fold"] == "test"]
    assert len(test) == 1
    chosen = knn[(knn["fold"] == "val") & knn["chosen"]].iloc[0]
    assert chosen["accuracy"] == knn[knn["fold"] == "val"]["accuracy"].max()
    assert (test.iloc[0][["k", "metric"]] == chosen[["k", "metric"]]).all()
    assert list(retrieved.columns) == RETRIEVAL_COLUMNS
    assert retrieved["protocol"].tolist() == ["closed set"]
    assert retrieved[["classes", "pictures"]].to_numpy().tolist() == [[3, 9]]
    assert set(retrieved["trained_on"]) == {"training fold"}


def test_of_a_backbone_that_was_not_it_is_zero_shot(tmp_path: Path) -> None:
    _, retrieved = tables(finish(tmp_path, HEAD_ONLY))
    assert retrieved["protocol"].tolist() == ["zero-shot", "zero-shot"]
    assert retrieved["classes"].tolist() == [3, 2]
    assert retrieved["pictures"].tolist() == [9, 6]


def test_the_backbone_as_its_weights_came_stands_beside_the_trained_one(tmp_path: Path) -> None:
    knn, retrieved = tables(finish(tmp_path, LAST_STAGE, weights=()), "--frozen")
    trained, frozen = "pretraining, training fold (last stage)", "pretraining"
    assert retrieved["trained_on"].tolist() == [trained, frozen, frozen]
    assert retrieved["protocol"].tolist() == ["closed set", "zero-shot", "zero-shot"]
    assert knn.groupby("trained_on")["chosen"].sum().to_dict() == {trained: 2, frozen: 2}
    assert set(knn["features"]) == {1280}
    measured = [name for name in map(str, retrieved) if name.startswith("recall_at_")] + ["map_at_r"]
    assert len(retrieved[measured].drop_duplicates()) == 3


def test_what_formed_the_features_is_said() -> None:
    pretrained = {"backbone": "resnet18", "weights": "pretrained"}
    assert trained_on(config(**pretrained, unfreeze="head")) == "pretraining"
    assert trained_on(config(**pretrained, unfreeze="last stage")) == "pretraining, training fold (last stage)"
    assert trained_on(config(backbone="resnet18", unfreeze="head")) == "nothing"
    assert trained_on(config()) == "training fold"


def test_classes_set_aside_are_searched_by_a_net_that_never_saw_them(tmp_path: Path) -> None:
    text = STUDY_FILE.replace("    budget=", "    unseen=0.4,\n    budget=")
    study = finish(tmp_path, text, colours=COLOURS | {"violet": (140, 90, 150), "yellow": (150, 140, 90)})
    assert load_best(study.out).names == ["blue", "green", "red"]
    seen, unseen = (pd.read_parquet(study.out / name) for name in (MANIFEST_FILE, UNSEEN_FILE))
    assert set(seen["label_name"]) == {"blue", "green", "red"}
    assert unseen["label_name"].value_counts().to_dict() == {"violet": 15, "yellow": 15}
    knn, retrieved = tables(study)
    assert set(knn["n"]) == {9}
    assert retrieved["protocol"].tolist() == ["closed set", "zero-shot"]
    assert retrieved[["classes", "pictures"]].to_numpy()[1].tolist() == [2, 30]
    assert retrieved.loc[1, "trained_on"] == "training fold"


def test_features_are_what_the_classifier_is_given(finished: Finished) -> None:
    pictures = open_trial_data(finished.config, finished.place)
    whole, cut = load_best(finished.out), load_best(finished.out)
    found = embed(cut, pictures.pixels, pictures.test, pictures.labels[pictures.test])
    np.testing.assert_array_equal(found.labels, pictures.labels[pictures.test])
    inputs = views(whole, [prepared(whole, pictures.pixels[int(item)]) for item in pictures.test])
    classifier = whole.net.get_classifier()  # pyright: ignore[reportCallIssue] (a method of every timm net)
    by_hand = found.features @ classifier.weight.numpy().T + classifier.bias.numpy()
    np.testing.assert_allclose(by_hand, whole.net(inputs).numpy(), rtol=1e-4, atol=1e-4)


def test_bad_input(finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = ["--cache", str(finished.cache)]
    assert main([str(tmp_path), *cache]) == 2
    assert "cannot be read as one" in capsys.readouterr().err
    assert main([str(finished.out), *cache, "--frozen"]) == 2
    assert "was trained from scratch" in capsys.readouterr().err
    assert main([str(finished.out), *cache, "--data", str(tmp_path)]) == 2
    assert "is missing or has changed since" in capsys.readouterr().err
    unopened = tmp_path / "unopened"
    shutil.copytree(finished.out, unopened)
    shutil.rmtree(unopened / "ledger" / "openings")
    assert main([str(unopened), *cache]) == 2
    assert "has not opened its test fold" in capsys.readouterr().err


def test_a_new_report_leaves_the_tables_of_other_programs(tmp_path: Path) -> None:
    out = fabricate(tmp_path / "study")
    (out / TABLES_FOLDER).mkdir()
    for name, columns in {KNN_FILE: KNN_COLUMNS, RETRIEVAL_FILE: RETRIEVAL_COLUMNS, "older.csv": ["a"]}.items():
        (out / TABLES_FOLDER / name).write_text(",".join(columns) + "\n")
    report.build(out)
    left = {file.name for file in (out / TABLES_FOLDER).iterdir()}
    assert {KNN_FILE, RETRIEVAL_FILE} <= left
    assert "older.csv" not in left
