from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import ArrayLike, NDArray

from analysis.confirmed.outputs import outputs
from analysis.confirmed.settings import settings
from analysis.findings.ensembles import ALL, ANY_SEED, EACH, GREEDY, SEEDS, SINGLE, ensembles, ensembles_section, greedy
from analysis.statistics import inference
from study import results
from tests.fabricated import Plan, fabricate, rewrite
from trainables.metrics import log_softmax

PLAN = Plan({"f": ["x", "y"]}, {"f": "y"}, classes=("ant", "bee"), items=40, seeds=3, trials=4)


def two_class(margins: ArrayLike) -> NDArray[np.float64]:
    """Log-probabilities (models, n, 2) from log p0 - log p1."""
    return np.stack([log_softmax(np.stack([one, np.zeros_like(one)], axis=1)) for one in np.asarray(margins, float)])


def test_greedy_selection_by_hand() -> None:
    """The right class is 0 throughout: A errs on the last, B on the first two, C on two; A and B cover each other."""
    labels = np.zeros(3, dtype=int)
    models = two_class([[2, 2, -1.1], [-0.9, -0.9, 2], [1, -1, -1]])
    assert greedy(labels, models, steps=1) == [0]
    assert greedy(labels, models, steps=2) == [0, 1]
    whole = greedy(labels, models)
    assert set(whole) == {0, 1}
    assert len(whole) <= 20
    assert (models[whole].mean(axis=0).argmax(axis=1) == labels).all()


def test_one_good_model_stays_alone() -> None:
    labels = np.zeros(4, dtype=int)
    assert set(greedy(labels, two_class([[3, 3, 3, 3], [-1, 1, -1, 1]]))) == {0}


def with_predictions(out: Path, edit: Callable[[pd.DataFrame], pd.DataFrame]) -> results.Results:
    rewrite(out, "predictions", edit)
    return results.read(out, logits=True)


def table(read: results.Results) -> pd.DataFrame:
    return ensembles(read, settings(read), outputs(read)).set_index("ensemble")


def cells(frame: pd.DataFrame, column: str) -> dict[str, float]:
    """A column of numbers by ensemble."""
    return {str(kind): float(value) for kind, value in frame[column].items()}


def as_said(frame: pd.DataFrame, predicted: NDArray[np.int64], margin: float = 2.0) -> pd.DataFrame:
    """The predictions with `predicted` as every model's answer, surer by `margin`."""
    logits = [np.float16(margin * np.eye(2)[one]) for one in predicted]
    return frame.assign(predicted=predicted, logits=logits)


def test_every_kind_is_there_with_what_it_takes(tmp_path: Path) -> None:
    frame = table(results.read(fabricate(tmp_path, PLAN), logits=True))
    assert frame["repeats"].to_dict() == {SINGLE: 1, ANY_SEED: 3, SEEDS: 1, ALL: 1, EACH: 3, GREEDY: 3}
    assert frame["models"].drop(GREEDY).to_dict() == {SINGLE: 1, ANY_SEED: 1, SEEDS: 3, ALL: 6, EACH: 2}
    assert frame["val_accuracy"].isna().to_dict() == {
        kind: kind in (SEEDS, ALL) for kind in (SINGLE, ANY_SEED, SEEDS, ALL, EACH, GREEDY)
    }


def test_models_that_agree_gain_nothing(tmp_path: Path) -> None:
    fabricate(tmp_path, PLAN)
    read = with_predictions(tmp_path, lambda t: as_said(t, np.where(t["item"] % 4 == 0, 1 - t["label"], t["label"])))
    frame = table(read)
    assert set(frame["accuracy"]) == {0.75}
    assert (frame[["difference", "difference_low", "difference_high"]].drop(SINGLE) == 0).to_numpy().all()
    assert [cells(frame, column)[ALL] for column in ("low", "high")] == pytest.approx(inference.wilson(30, 40))
    assert frame.loc[GREEDY, "val_accuracy"] == 0.75


def test_errors_that_no_two_models_share_are_voted_out(tmp_path: Path) -> None:
    """Six models, each wrong on its own sixth of the first 36 images: alone 34 of 40, together all of them."""
    fabricate(tmp_path, PLAN)
    read = results.read(tmp_path)
    number = {trial: i for i, setting in enumerate(settings(read)) for trial in setting.trials["trial"]}
    order = {trial: i for i, trial in enumerate(number)}

    def apart(t: pd.DataFrame) -> pd.DataFrame:
        wrong = (t["item"] % 6 == t["trial"].map(order)) & (t["item"] < 36)
        return as_said(t, np.where(wrong, 1 - t["label"], t["label"]))

    frame = table(with_predictions(tmp_path, apart))
    assert frame["accuracy"][[SINGLE, ANY_SEED, SEEDS, ALL]].tolist() == pytest.approx([34 / 40, 34 / 40, 1, 1])
    assert frame.loc[ALL, "difference"] == pytest.approx(6 / 40)
    assert cells(frame, "difference_low")[ALL] > 0


def test_greedy_selection_stays_within_a_repeat_and_on_validation_that_none_trained_on(tmp_path: Path) -> None:
    """Each repeat has a validation of its own, as the studies do; x has more of it, which y may have trained on.

    On what both share, y is right throughout and x is wrong; on the rest x is right.
    """
    fabricate(tmp_path, PLAN)
    trials = pd.read_parquet(tmp_path / results.TRIALS_FILE).set_index("trial")

    def own(t: pd.DataFrame) -> pd.DataFrame:
        seed, level = t["trial"].map(trials["seed"]), t["trial"].map(trials["f"])
        val = t["fold"] == "val"
        shared = val & (t["item"] % 6 == seed)
        extra = val & (t["item"] % 6 == seed + 2) & (level == "x")
        t = as_said(t, np.where(shared & (level == "x"), 1 - t["label"], t["label"]))
        return t[~val | shared | extra]

    frame = table(with_predictions(tmp_path, own))
    assert frame.loc[GREEDY, "val_accuracy"] == 1
    members = str(frame.loc[GREEDY, "members"]).split("; ")
    chosen = [[one.split(" ")[0] for one in each.split(", ")] for each in members]
    assert [trials.loc[each, "seed"].unique().tolist() for each in chosen] == [[1], [2], [3]]
    assert {level for each in chosen for level in trials.loc[each, "f"]} == {"y"}


def test_without_shared_validation_nothing_is_chosen(tmp_path: Path) -> None:
    fabricate(tmp_path, PLAN)
    trials = pd.read_parquet(tmp_path / results.TRIALS_FILE).set_index("trial")

    def disjoint(t: pd.DataFrame) -> pd.DataFrame:
        odd = t["trial"].map(trials["f"]) == "x"
        return t[(t["fold"] == "test") | ((t["item"] % 2 == 1) == odd)]

    frame = table(with_predictions(tmp_path, disjoint))
    assert GREEDY not in frame.index
    assert {SINGLE, SEEDS, ALL, EACH} <= set(frame.index)


def test_the_section_says_what_was_chosen_on_what(tmp_path: Path) -> None:
    read = results.read(fabricate(tmp_path, PLAN), logits=True)
    section = ensembles_section(read, settings(read), outputs(read), "")
    assert section is not None
    assert section.paragraphs[0].startswith(f"Averaging models {GREEDY} reaches a test accuracy of ")
    assert "none of its models trained on" in section.paragraphs[1]


def test_one_model_makes_no_ensemble(tmp_path: Path) -> None:
    plan = Plan({"f": ["y"]}, {"f": "y"}, classes=("ant", "bee"), items=20, seeds=1, trials=2)
    read = results.read(fabricate(tmp_path, plan), logits=True)
    assert ensembles_section(read, settings(read), outputs(read), "") is None


def test_the_bootstrap_draws_images_and_groups_of_them() -> None:
    differences = np.r_[np.ones(10), np.zeros(90)]
    alone = inference.bootstrap_interval(differences, np.arange(100))
    assert alone == pytest.approx((0.05, 0.16), abs=0.011)  # quantiles of a binomial of 100 at 0.1
    assert inference.bootstrap_interval(np.tile(differences, 2), np.tile(np.arange(100), 2)) == alone
    assert inference.bootstrap_interval(np.zeros(5), np.arange(5)) == (0, 0)
