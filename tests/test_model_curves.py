"""Depths, strengths and training images of classes: what their figures draw, from fabricated folders."""

import json

import numpy as np
import pandas as pd
import pytest

from analysis import report
from analysis.confirmed import tables
from analysis.confirmed.settings import settings
from analysis.findings.generalization import generalization, stability_sentence
from analysis.findings.regularization_strength import strength_sections, strengths, without
from analysis.findings.unfreeze_depth import depth_section, depths
from analysis.layout.text import percent
from study import results, writing
from tests.fabricated import Plan, fabricate, rewrite

DEPTHS = ["all", "last 20 layers", "head", "last stage", "last 2 stages"]
SHARES = {"head": 0.0, "last 20 layers": 0.7, "last stage": 0.6, "last 2 stages": 0.9, "all": 1.0}
STRENGTHS = {
    "learning_rate": {"low": 1e-4, "high": 1e-1, "log": True, "when": {}},
    "dropout": {"low": 0.1, "high": 0.8, "log": False, "when": {"regularizer": "dropout"}},
    "l2": {"low": 1e-6, "high": 1e-2, "log": True, "when": {"regularizer": ["l2"]}},
    "l1": {"low": 1e-6, "high": 1e-2, "log": True, "when": {"regularizer": "l1"}},
}


def test_depths_are_ordered_by_what_trains_else_by_name(tmp_path):
    fabricate(tmp_path, Plan(factors={"unfreeze": DEPTHS}, winner={"unfreeze": "all"}, items=60, trials=10))
    read = results.read(tmp_path)
    _, line = depths(tables.comparison(read, settings(read), "unfreeze"))
    assert line["level"].tolist() == ["head", "last 20 layers", "last stage", "last 2 stages", "all"]
    assert line["share"].isna().all()
    rewrite(
        tmp_path, "trials", lambda t: t.assign(parameters=1000.0, trained_parameters=t["unfreeze"].map(SHARES) * 1000)
    )
    read = results.read(tmp_path)
    said, line = depths(tables.comparison(read, settings(read), "unfreeze"))
    assert (said, line["level"].tolist()) == ("test accuracy", sorted(SHARES, key=lambda one: SHARES[one]))
    assert line["share"].tolist() == [0.0, 0.6, 0.7, 0.9, 1.0]
    section = depth_section(read, settings(read))
    assert section is not None
    assert "last stage (60.0% of the backbone)" in section.paragraphs[0]


def test_no_depth_no_section(tmp_path):
    read = results.read(fabricate(tmp_path, Plan(items=40, trials=6, seeds=3)))
    assert depth_section(read, settings(read)) is None
    assert strength_sections(read, settings(read)) == [], "no strength was declared"


@pytest.fixture
def regularized(tmp_path):
    """Dropout's strengths rise with the trial, the refined best at 0.5; L2 has one value alone."""
    fabricate(tmp_path, Plan(items=60, seeds=3, extra={"nuisances": STRENGTHS}))

    def strong(trials: pd.DataFrame) -> pd.DataFrame:
        order = np.arange(len(trials)) / len(trials)
        dropout = np.where(trials["regularizer"] == "dropout", 0.1 + 0.7 * order, np.nan)
        refined = (trials["phase"] == "refine") & (trials["regularizer"] == "dropout")
        dropout[refined] = [0.5, 0.6]
        trials.loc[refined, "val_accuracy"] = [0.93, 0.91]
        return trials.assign(dropout=dropout, l2=np.where(trials["regularizer"] == "l2", 1e-3, np.nan))

    rewrite(tmp_path, "trials", strong)
    return tmp_path


def test_strengths_are_those_under_a_level_that_were_tried_at_several_values(regularized):
    read = results.read(regularized)
    (dropout,) = strengths(read, settings(read))
    assert (dropout.nuisance.name, dropout.factor, dropout.levels) == ("dropout", "regularizer", ["dropout"])
    assert sorted(dropout.refined["strength"]) == [0.5, 0.6]
    assert set(dropout.trials["phase"]) == {"search", "refine"}
    search = read.trials[(read.trials["phase"] == "search") & (read.trials["regularizer"] == "dropout")]
    assert len(dropout.trials) == 2 + search["val_accuracy"].notna().sum()
    assert without(read, settings(read), "regularizer", [dropout]) is None, "two levels without one are no one line"


def test_the_level_without_any_is_the_line_they_are_seen_against(regularized):
    rewrite(
        regularized,
        "trials",
        lambda t: t.assign(l2=np.where(t["regularizer"] == "l2", 10.0 ** -(np.arange(len(t)) % 4 + 2), np.nan)),
    )
    read = results.read(regularized)
    found, each = settings(read), strengths(read, settings(read))
    assert [one.nuisance.name for one in each] == ["dropout", "l2"]
    assert [one.nuisance.log for one in each] == [False, True]
    plain = without(read, found, "regularizer", each)
    assert plain is not None
    level, accuracy, (low, high) = plain
    mine = next(one for one in found if ("regularizer", "none") in one.stands_for)
    assert (level, accuracy) == ("none", pytest.approx(mine.trials["val_accuracy"].mean()))
    assert low < accuracy < high
    (section,) = strength_sections(read, found)
    assert (
        f"dropout: best at 0.5 (range 0.1 to 0.8), {percent(0.93)} validation accuracy, 2 refinement trials."
        in section.paragraphs[1]
    )
    assert len({picture.stem for picture in section.figures}) == 2


@pytest.mark.parametrize(
    "declared", [None, [], {"dropout": 3}, {"dropout": {"low": 0.1, "high": "x", "when": {"regularizer": "dropout"}}}]
)
def test_what_a_folder_does_not_describe_is_not_drawn(declared, regularized):
    study = json.loads((regularized / results.STUDY_FILE).read_text())
    writing.write_json(study | {"nuisances": declared}, regularized / results.STUDY_FILE)
    read = results.read(regularized)
    assert strengths(read, settings(read)) == []


def test_the_table_of_classes_has_the_training_images_of_each(tmp_path):
    """The pool of class k is cut to 10 (k + 1) images."""
    names = tuple("abc")
    fabricate(tmp_path, Plan(classes=names, items=36, seeds=3, factors={"f": ["x", "y"]}, winner={"f": "y"}, trials=4))

    def pool(manifest: pd.DataFrame) -> pd.DataFrame:
        rest = manifest[manifest["fold"] != "pool"]
        label = np.repeat(np.arange(3), [10, 20, 30])
        rows = {"item": 1000 + np.arange(60), "label": label, "label_name": np.array(list(names))[label]}
        more = pd.DataFrame(rows).assign(fold="pool", keep=True, path="p", sha256="s", mode="RGB", group=range(60))
        return pd.concat([rest, more], ignore_index=True)

    rewrite(tmp_path, "manifest", pool)
    for share, expected in ((1.0, [10, 20, 30]), (0.5, [5, 10, 15])):
        rewrite(tmp_path, "trials", lambda t, share=share: t.assign(train_fraction=share))
        report.build(tmp_path)
        classes = pd.read_csv(tmp_path / results.TABLES_FOLDER / "classes.csv").sort_values("label")
        assert classes["training_images"].tolist() == expected


def test_the_epoch_that_is_kept_over_seeds(tmp_path):
    fabricate(tmp_path, Plan(items=40, seeds=3, trials=6, factors={"f": ["x", "y"]}, winner={"f": "y"}))
    rewrite(
        tmp_path,
        "trials",
        lambda t: t.assign(best_epoch=np.where(t["phase"] == "confirm", t["seed"] + 3, t["best_epoch"])),
    )
    read = results.read(tmp_path)
    frame = generalization(read, settings(read))
    kept = frame.iloc[0][["best_epoch", "best_epoch_sd", "best_epoch_low", "best_epoch_high"]].tolist()
    assert kept == [5, 1, 4, 6]
    mine = settings(read)[0].trials["trial"]
    ends = read.epochs[(read.epochs["epoch"] == 9) & read.epochs["trial"].isin(mine)]["val_accuracy"].mean()
    assert ends in frame["last_val_accuracy"].tolist()
    assert "after 5 (4 to 6) epochs, standard deviation 1, and ends at" in stability_sentence(frame)
