"""Planted label swaps are found, from models that did not train on the image."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.confirmed.settings import settings
from analysis.findings.label_errors import COLUMNS, MOST_SUSPECTS, Suspects, suspects
from study import results
from tests.fabricated import Plan, fabricate, rewrite

# The models classify nearly every image correctly, so the suspects are the images whose labels were swapped.
PLAN = Plan({"f": ["x", "y"]}, {"f": "y"}, {("f", "x"): 0.5}, base=0.995, items=300, trials=4, spread=0.0)


def swapped(out: Path, items: Collection[int]) -> None:
    """The label of these images becomes the next class; what the models say stays."""

    def relabel(rows: pd.DataFrame) -> pd.DataFrame:
        wrong, classes = rows["item"].isin(list(items)), len(PLAN.classes)
        return rows.assign(label=np.where(wrong, (rows["label"] + 1) % classes, rows["label"]))

    def renamed(rows: pd.DataFrame) -> pd.DataFrame:
        rows = relabel(rows)
        return rows.assign(label_name=[PLAN.classes[label] for label in rows["label"]])

    def rescored(rows: pd.DataFrame) -> pd.DataFrame:
        rows = relabel(rows)
        logits = np.stack(rows["logits"].to_list()).astype(float)
        own = logits[np.arange(len(rows)), rows["label"]]
        return rows.assign(cross_entropy=np.log(np.exp(logits).sum(axis=1)) - own)

    rewrite(out, "manifest", renamed)
    rewrite(out, "predictions", rescored)


def found_in(out: Path) -> Suspects:
    study = results.read(out)
    return suspects(study, settings(study))


def test_planted_swaps_are_the_suspects(tmp_path: Path) -> None:
    planted = [3, 17, 50, 119, 222, 254, 301, 340]  # the last two: validation
    swapped(fabricate(tmp_path, PLAN), planted)
    found = found_in(tmp_path)
    frame = found.frame.set_index("item")
    rows = {row["item"]: row for row in found.frame.to_dict("records")}
    assert set(planted) <= set(frame.index[: len(planted) + 3])
    assert list(found.frame.columns) == list(COLUMNS)
    assert found.looked_at == 300 + 150
    assert 1 <= found.confident <= found.doubtful == len(frame) < 12
    for item in planted:
        row = rows[item]
        assert row["suggested"] == PLAN.classes[item % 4]
        assert row["label_name"] == PLAN.classes[(item + 1) % 4]
        assert row["probability"] < 0.2 < row["suggested_probability"]
        assert row["models"] == 5
        assert row["agree"] >= 3
        assert row["others"] == 5 >= row["others_agree"]
        assert row["fold"] == ("test" if item < 300 else "val")
        assert row["path"].endswith(f"/{item}.jpg")
    assert frame["probability"].is_monotonic_increasing
    assert frame["others_agree"].sum() > 0  # half of what the other setting says is right


def test_by_hand(tmp_path: Path) -> None:
    """Three models; the label of item 0 has 0.1, 0.2 and 0.9, of item 1 two name different other classes."""
    fabricate(tmp_path, replace(PLAN, seeds=3, items=4))
    winning = next(one for one in settings(results.read(tmp_path)) if one.levels == {"f": "y"})
    trials = winning.trials["trial"].tolist()
    says = {  # item -> (predicted, its confidence, probability of the label) of each model
        0: [(1, 0.8, 0.1), (1, 0.7, 0.2), (0, 0.9, 0.9)],
        1: [(0, 0.5, 0.3), (2, 0.6, 0.3), (1, 0.6, 0.6)],
        2: [(2, 0.9, 0.9)] * 3,
        3: [(1, 0.6, 0.4)] * 3,
    }

    def said(rows: pd.DataFrame) -> pd.DataFrame:
        rows = rows[rows["trial"].isin(trials) & (rows["fold"] == "test")].copy()
        each = [says[item][trials.index(trial)] for item, trial in zip(rows["item"], rows["trial"], strict=True)]
        rows["predicted"], rows["confidence"], own = (np.array(column) for column in zip(*each, strict=True))
        return rows.assign(cross_entropy=-np.log(own))

    rewrite(tmp_path, "predictions", said)
    found = found_in(tmp_path)
    assert found.frame["item"].tolist() == [0, 3]  # of item 1 no other class is named by most
    first, last = found.frame.iloc[0], found.frame.iloc[1]
    assert (first["probability"], last["probability"]) == (pytest.approx(0.4), pytest.approx(0.4))
    assert (first["agree"], first["models"]) == (2, 3)
    assert first["suggested_probability"] == pytest.approx((0.8 + 0.7) / 3)
    assert (first["suggested"], first["label_name"]) == ("bee", "ant")
    # Images that carry "bee" have it with 0.4 on average: both suggestions are above that.
    assert found.frame["confident"].tolist() == [True, True]
    assert (found.looked_at, found.doubtful, found.confident) == (4, 2, 2)
    assert found.frame[["others_agree", "others"]].to_numpy().tolist() == [[0, 0]] * 2  # no other setting was asked


def test_at_most_fifty_and_none_without_predictions(tmp_path: Path) -> None:
    swapped(fabricate(tmp_path, PLAN), range(0, 300, 4))
    found = found_in(tmp_path)
    assert len(found.frame) == MOST_SUSPECTS < found.doubtful
    (tmp_path / results.PREDICTIONS_FILE).unlink()
    nothing = found_in(tmp_path)
    assert nothing.frame.empty
    assert nothing.looked_at == 0


def test_images_a_model_trained_on_do_not_count(tmp_path: Path) -> None:
    swapped(fabricate(tmp_path, PLAN), [3])
    rewrite(tmp_path, "predictions", lambda rows: rows.assign(fold=rows["fold"].mask(rows["item"] == 3, "train")))
    assert 3 not in set(found_in(tmp_path).frame["item"])
