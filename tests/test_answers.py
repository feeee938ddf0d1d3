import json

import numpy as np
import pandas as pd
import pytest

from analysis.confirmed.answers import answer_sentence, answers, pairs_of, verdict
from analysis.confirmed.settings import settings, winner
from analysis.layout.text import number
from analysis.statistics.inference import Estimate, items_needed
from study import results, writing
from tests.fabricated import Plan, fabricate

SMALL = {"backbone": ["small", "large"]}
LARGE = {"backbone": "large"}


def answered(tmp_path, plan: Plan, **edits) -> pd.DataFrame:
    """Answers to a fabricated study after `edits`: file stem -> function from table to table."""
    out = fabricate(tmp_path / "study", plan)
    for stem, edit in edits.items():
        path = out / f"{stem}.parquet"
        writing.write_table(edit(pd.read_parquet(path)), path)
    return answers(results.read(out))


def test_every_pair_of_every_factor_in_the_contracts_columns(tmp_path):
    table = answered(tmp_path, Plan(items=60))
    assert list(table.columns) == list(results.ANSWERS_COLUMNS)
    pairs = table[["factor", "level_a", "level_b"]].to_numpy().tolist()
    assert pairs == [
        ["backbone", "small", "large"],
        ["regularizer", "none", "dropout"],
        ["regularizer", "none", "l2"],
        ["regularizer", "dropout", "l2"],
        ["augmentation", "none", "light"],
    ]
    assert table["companions"][0] == "regularizer=l2, augmentation=light"
    assert set(table["seeds"]) == {5}
    assert set(table["items"]) == {60}


@pytest.mark.parametrize(("worse", "expected"), [("small", "b"), ("large", "a")])
def test_a_planted_difference_is_found(tmp_path, worse, expected):
    row = answered(tmp_path, Plan(accuracy={("backbone", worse): 0.75}, items=400)).iloc[0]
    assert row["verdict"] == expected
    sign = 1 if expected == "a" else -1
    assert sign * row["difference"] == pytest.approx(0.15, abs=0.04)
    assert row["low"] < row["difference"] < row["high"]
    assert row["low"] * row["high"] > 0
    assert (row["probability_a_better"] > 0.95) == (expected == "a")
    assert pd.isna(row["seeds_needed"])


def test_no_difference_is_no_evidence_on_few_images(tmp_path):
    table = answered(tmp_path, Plan(items=100))
    assert set(table["verdict"]) == {"no evidence"}
    assert (table["low"] < 0).all()
    assert (table["high"] > 0).all()


def test_no_difference_is_equivalence_where_images_and_seeds_settle_it(tmp_path):
    plan = Plan(factors=SMALL, winner=LARGE, base=0.995, spread=0.0, items=4000, trials=4)
    assert answered(tmp_path, plan)["verdict"].tolist() == ["equivalent"]
    strict = Plan(**{**plan.__dict__, "extra": {"margin": 0.0001}})
    assert answered(tmp_path, strict)["verdict"].tolist() == ["no evidence"]


@pytest.mark.parametrize("copies", [1, 4])
def test_difference_is_exact(tmp_path, copies):
    """Ten images, each there `copies` times: every large model right on all, every small one on six."""
    n = 10 * copies

    def predict(table: pd.DataFrame) -> pd.DataFrame:
        test = table[table["fold"] == "test"]
        small = test["trial"].isin([f"confirm-{k:03d}" for k in range(5)])
        return test.assign(predicted=np.where(small & (test["item"] // copies >= 6), -1, test["label"]))

    plan = Plan(factors=SMALL, winner=LARGE, items=n, trials=4)
    duplicated = {"manifest": lambda t: t.assign(group=t["item"] // copies)}
    row = answered(tmp_path, plan, predictions=predict, **duplicated).iloc[0]
    assert row["items"] == n
    assert row["difference"] == pytest.approx(-0.4)
    assert row["probability_a_better"] == 0
    # no spread between seeds: a normal interval over ten groups, of which four differ
    assert row["high"] - row["low"] == pytest.approx(2 * 1.959964 * np.sqrt(0.24 / 9), abs=1e-5)


@pytest.mark.parametrize("seeds", [3, 4])
def test_few_seeds_give_an_interval_and_no_claim(tmp_path, seeds):
    row = answered(tmp_path, Plan(accuracy={("backbone", "small"): 0.6}, seeds=seeds)).iloc[0]
    assert row["verdict"] == "too few seeds"
    assert row["high"] < 0
    assert row["p_holm"] < 0.05
    assert row["seeds_needed"] == 5


def test_a_lead_with_too_few_seeds_says_what_would_settle_it(tmp_path):
    row = pairs_of(answered(tmp_path, Plan(accuracy={("backbone", "small"): 0.6}, seeds=3)), "backbone")[0]
    sentence = answer_sentence(row, 0.01, 1)
    assert sentence.startswith("large is ahead of small, too few seeds for a claim (small minus large: ")
    assert sentence.endswith("Nothing is claimed below 5 seeds: run again with --resume --seeds 5.")
    row["low"], row["high"], row["seeds_needed"] = -0.1, 0.1, 12
    assert answer_sentence(row, 0.01, 1).endswith("run again with --resume --seeds 12.")


def nested(seeds: int, most_seeds: int | None = 15) -> Plan:
    budget = {"trials": 24, "epochs": 9, "seeds": seeds} | ({"most_seeds": most_seeds} if most_seeds else {})
    return Plan(accuracy={("backbone", "small"): 0.6}, seeds=8, items=60, extra={"budget": budget})


def first_seeds_of_small(seeds: int):
    """Leave out the later seeds of the setting that stands for `small`, whose trials are confirm-000 to -007."""
    return lambda t: t[~t["trial"].isin([f"confirm-{i:03d}" for i in range(seeds, 8)])]


def test_levels_with_more_seeds_are_compared_on_the_common_ones(tmp_path):
    fewer = answered(tmp_path / "a", nested(5), trials=first_seeds_of_small(5)).iloc[0]
    assert (fewer["seeds"], fewer["verdict"]) == (5, "b")
    among_five = answered(tmp_path / "b", nested(5), trials=lambda t: t[(t["phase"] != "confirm") | (t["seed"] <= 5)])
    pd.testing.assert_series_equal(fewer, among_five.iloc[0])


@pytest.mark.parametrize("most_seeds", [None, 5])
def test_unequal_seeds_are_refused_where_the_study_adds_none(tmp_path, most_seeds):
    row = answered(tmp_path, nested(5, most_seeds), trials=first_seeds_of_small(5)).iloc[0]
    assert row["verdict"] == "refused: unequal seeds (1 2 3 4 5 against 1 2 3 4 5 6 7 8)"


def test_a_failed_seed_is_not_hidden_by_common_seeds(tmp_path):
    def fail(t: pd.DataFrame) -> pd.DataFrame:
        return t.assign(status=t["status"].mask(t["trial"] == "confirm-002", "failed"))

    row = answered(tmp_path, nested(5), trials=fail).iloc[0]
    assert row["verdict"] == "refused: unequal seeds (1 2 4 5 6 7 8 against 1 2 3 4 5 6 7 8)"


def test_seeds_that_neither_level_has_in_full_are_refused(tmp_path):
    def crossed(t: pd.DataFrame) -> pd.DataFrame:
        return t[~t["trial"].isin(["confirm-002", "confirm-011"])]  # seed 3 of one, seed 4 of the other

    assert answered(tmp_path, nested(5), trials=crossed)["verdict"].iloc[0].startswith("refused: unequal seeds")


def test_the_winner_does_not_win_by_the_seeds_it_lacks(tmp_path):
    """Every seed after the fifth is hard, and `large`, which is better on each seed, has them."""
    plan = Plan(factors=SMALL, winner=LARGE, seeds=8, items=60, extra=dict(nested(5).extra))
    out = fabricate(tmp_path / "study", plan)
    trials = first_seeds_of_small(5)(pd.read_parquet(out / results.TRIALS_FILE))
    score = 0.9 - 0.2 * (trials["seed"] > 5) + 0.01 * (trials["backbone"] == "large")
    better = trials["val_accuracy"].mask(trials["phase"] == "confirm", score)
    writing.write_table(trials.assign(val_accuracy=better), out / results.TRIALS_FILE)
    best = winner(settings(results.read(out)))
    assert best is not None
    assert best.levels == {"backbone": "large"}


def confirmed_without(trial: str):
    return lambda t: t[t["trial"] != trial]


@pytest.mark.parametrize(
    ("plan", "edits", "reason"),
    [
        (Plan(seeds=2), {}, "fewer than 3 seeds (2)"),
        (Plan(extra={"goal": "best"}), {}, "the search looked for the best setting"),
        (Plan(), {"trials": confirmed_without("confirm-004")}, "unequal seeds (1 2 3 4 against 1 2 3 4 5)"),
        (Plan(), {"trials": lambda t: t[t["phase"] != "confirm"]}, "no confirmed trial for small"),
        (Plan(), {"predictions": confirmed_without("confirm-004")}, "not all models predicted the same"),
        (Plan(), {"predictions": lambda t: t.drop(t.index[3])}, "not all models predicted the same"),
        (Plan(), {"predictions": lambda t: t.head(0)}, "the test fold has not been opened"),
        (Plan(), {"predictions": lambda t: t[t["fold"] == "val"]}, "the test fold has not been opened"),
    ],
)
def test_refusals_name_their_reason(tmp_path, plan, edits, reason):
    row = answered(tmp_path, plan, **edits).iloc[0]
    assert row["verdict"].startswith(f"refused: {reason}")
    assert row[["difference", "low", "high", "p_holm", "seeds_needed"]].isna().all()


def test_a_refusal_leaves_other_answers_alone(tmp_path):
    plan = Plan(accuracy={("augmentation", "none"): 0.6})
    table = answered(tmp_path, plan, trials=confirmed_without("confirm-004"))
    assert table["verdict"].iloc[0].startswith("refused")
    assert table["verdict"].iloc[-1] == "b"


def test_the_order_of_rows_does_not_matter(tmp_path):
    plan = Plan(items=60, seeds=3, trials=4)
    shuffle = {"predictions": lambda t: t.sample(frac=1, random_state=1)}
    shuffle["trials"] = lambda t: t.sample(frac=1, random_state=2)
    straight, shuffled = answered(tmp_path / "a", plan), answered(tmp_path / "b", plan, **shuffle)
    pd.testing.assert_frame_equal(straight, shuffled)


def test_items_without_a_group_are_their_own(tmp_path):
    plan = Plan(items=60, seeds=3, trials=4)
    numbered = answered(tmp_path / "a", plan)
    unnumbered = answered(tmp_path / "b", plan, manifest=lambda t: t.assign(group=None))
    pd.testing.assert_frame_equal(numbered, unnumbered)


def test_a_failed_seed_makes_seeds_unequal(tmp_path):
    def fail(t: pd.DataFrame) -> pd.DataFrame:
        return t.assign(status=t["status"].mask(t["trial"] == "confirm-000", "failed"))

    assert answered(tmp_path, Plan(), trials=fail)["verdict"].iloc[0].startswith("refused: unequal seeds")


def test_one_setting_for_two_levels_is_not_compared_with_itself(tmp_path):
    def merge(t: pd.DataFrame) -> pd.DataFrame:
        both = json.dumps(["backbone=large", "backbone=small"])
        names = t["stands_for"].where(t["phase"] == "confirm")
        large = names.str.contains("backbone=large", na=False)
        names = names.mask(names.str.contains("backbone=small", na=False), "[]").mask(large, both)
        return t.assign(stands_for=names)

    row = answered(tmp_path, Plan(), trials=merge).iloc[0]
    assert row["verdict"] == "refused: the same setting stands for both levels"


def test_different_company_is_refused(tmp_path):
    def stray(t: pd.DataFrame) -> pd.DataFrame:
        small = (t["phase"] == "confirm") & (t["backbone"] == "small")
        return t.assign(augmentation=t["augmentation"].mask(small, "none"))

    row = answered(tmp_path, Plan(), trials=stray).iloc[0]
    assert row["verdict"] == "refused: other factors were not held equal (augmentation)"


def test_numeric_levels_are_one_level_however_written(tmp_path):
    plan = Plan(factors={"rate": [0, 0.5]}, winner={"rate": 0.5}, items=60, trials=4)
    table = answered(tmp_path, plan, trials=lambda t: t.assign(rate=t["rate"].astype(float)))
    assert table[["level_a", "level_b"]].to_numpy().tolist() == [["0", "0.5"]]
    assert not table["verdict"].iloc[0].startswith("refused")


def test_the_winner_is_chosen_on_validation(tmp_path):
    """`small` is far better on test, `large` on validation."""
    out = fabricate(tmp_path / "study", Plan(factors=SMALL, winner=LARGE, accuracy={("backbone", "large"): 0.5}))
    trials = pd.read_parquet(out / results.TRIALS_FILE)
    confirmed = trials["phase"] == "confirm"
    better = trials["val_accuracy"].mask(confirmed & (trials["backbone"] == "large"), 0.99)
    writing.write_table(trials.assign(val_accuracy=better), out / results.TRIALS_FILE)
    best = winner(settings(results.read(out)))
    assert best is not None
    assert best.levels == {"backbone": "large"}
    assert best.seeds == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("mean", "p_holm", "seeds", "expected"),
    [
        (0.02, 0.01, 5, "a"),
        (-0.02, 0.01, 5, "b"),
        (0.02, 0.06, 5, "no evidence"),
        (0.001, 0.5, 5, "equivalent"),
        (0.0072, 0.5, 5, "equivalent"),  # by the 90% interval; the 95% one reaches past the margin
        (0.009, 0.5, 5, "no evidence"),
        (0.02, 0.01, 4, "too few seeds"),
        (0.001, 0.5, 4, "too few seeds"),
    ],
)
def test_verdict(mean, p_holm, seeds, expected):
    estimate = Estimate(mean=mean, seed_variance=1e-6, item_variance=1e-6, seeds=seeds, items=100)
    assert verdict(estimate, p_holm, allowed=0.01) == expected


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"difference": 0.02, "seeds_needed": 40}, "If the difference is real, about 40 seeds would show it."),
        (
            {"difference": 0.02, "items_needed": 1200},
            f"about {number(1200)} test images would show it (now 60); more seeds alone would not.",
        ),
        (
            {"difference": 0.02, "items_needed": 1200, "seeds": 3},
            f"about {number(1200)} test images with 5 seeds would show it (now 60); more seeds alone would not.",
        ),
        (
            {"difference": 0.02},
            "If the difference is real, showing it takes many more seeds and many more test images.",
        ),
        ({"difference": 0.0}, "The measured difference is zero, so there is no effect to plan for."),
    ],
)
def test_what_would_settle_a_pair_is_only_said_where_it_would(row, said):
    pair = {"level_a": "x", "level_b": "y", "verdict": "no evidence", "low": -0.1, "high": 0.1, "seeds": 5, "items": 60}
    sentence = answer_sentence(pair | {"seeds_needed": pd.NA, "items_needed": pd.NA} | row, 0.01, 1)
    assert sentence.endswith(said)


def test_the_images_that_are_said_to_do_would_do():
    # 2.802 normal quantiles (5% level, 80% power) times sqrt(1e-4 * 100 / n) are 0.02 at n = 196.2
    assert items_needed(Estimate(0.02, 0.0, 1e-4, 5, 100)) == 200
    assert items_needed(Estimate(0.0, 0.0, 1e-4, 5, 100)) is None
    assert items_needed(Estimate(0.02, 4e-4, 1e-4, 5, 100)) is None  # the seeds alone leave too much doubt
