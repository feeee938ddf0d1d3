from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.divisions import LEVELS, classes, same, seeds
from tests.trees import table
from trainables.data.splits import Folds, add_folds, divide, drop_leaks, parse_ratio
from trainables.errors import InputError

some_levels = st.lists(st.sampled_from([*LEVELS, "50-25-25", "34-33-33"]), min_size=1, max_size=4, unique=True)


def sizes(folds: Folds) -> tuple[int, int, list[int]]:
    return len(folds.test), len(folds.val), [len(train) for train in folds.train.values()]


def test_a_ratio_is_three_shares_of_a_hundred() -> None:
    assert parse_ratio("80-10-10") == (80, 10, 10)
    assert parse_ratio("62.5-12.5-25") == (62.5, 12.5, 25)


@pytest.mark.parametrize("level", ["80-10", "80-10-20", "90-10-0", "0-50-50", "a-b-c", "80/10/10", "", "110-10--20"])
def test_other_ratios_are_refused(level: str) -> None:
    with pytest.raises(InputError, match=f"each above 0 and summing to 100, but got {level!r}"):
        parse_ratio(level)


def test_counts_by_hand() -> None:
    # Test: 10% of 100. Validation of the other 90: a ninth is 10, 15/85 is 15.9, a third is 30.
    folds = divide(table({"a": [1] * 100, "b": [1] * 100}), LEVELS, seed=3)
    assert sizes(folds) == (20, 20, [160, 148, 120])


def test_whole_groups_go_to_the_nearest_count() -> None:
    # Groups of 4: a test share of 10 of 100 lies between 8 and 12 and takes the smaller.
    folds = divide(table({"a": [4] * 25}), ["80-10-10"], seed=0)
    assert sizes(folds) == (8, 12, [80])  # then 92 are left, a ninth is 10.2: 12 is nearer than 8


@given(classes, some_levels, seeds, st.integers(0, 5))
@settings(max_examples=25)
def test_what_holds_for_any_manifest(groups: dict[str, list[int]], levels: list[str], seed: int, repeat: int) -> None:
    manifest = table(groups)
    folds = divide(manifest, levels, seed, repeat)
    group = manifest["group"].to_numpy()
    for level, train in folds.train.items():
        parts = [folds.test, folds.val, train]
        assert len(np.unique(np.concatenate(parts))) == sum(map(len, parts)), "folds are disjoint"
        members = [set(group[part]) for part in parts]
        assert not (members[0] & members[1] | members[0] & members[2] | members[1] & members[2])
        for part in parts:
            assert set(manifest["label"].to_numpy()[part]) == set(manifest["label"]), "all classes everywhere"
            assert np.array_equal(part, np.sort(part))
        alone = divide(manifest, [level], seed, repeat)
        assert len(alone.test) >= len(folds.test)
    by_size = sorted(folds.train.values(), key=len)
    assert all(set(small) <= set(large) for small, large in pairwise(by_size)), "they nest"
    assert len(folds.test) + len(folds.val) + len(by_size[-1]) == len(manifest), "the largest leaves nothing out"
    assert np.array_equal(folds.test, divide(manifest, levels, seed, repeat + 1).test), "one test fold"
    shuffled = manifest.sample(frac=1, random_state=1)
    assert same(folds, divide(shuffled, levels[::-1], seed, repeat)), "no order of rows or levels matters"


@given(classes, seeds)
@settings(max_examples=10)
def test_a_level_that_tests_on_no_less_moves_no_test_image(groups: dict[str, list[int]], seed: int) -> None:
    manifest = table(groups)
    few, more = divide(manifest, ["80-10-10"], seed), divide(manifest, ["80-10-10", "40-20-40"], seed)
    assert np.array_equal(few.test, more.test)
    assert np.array_equal(few.train["80-10-10"], more.train["80-10-10"])


def test_repeats_and_seeds_divide_anew() -> None:
    manifest = table({"a": [1] * 60, "b": [1] * 60})
    first, second, other = (divide(manifest, LEVELS, seed, repeat) for seed, repeat in ((1, 0), (1, 1), (2, 0)))
    assert not np.array_equal(first.val, second.val)
    assert not np.array_equal(first.test, other.test)


def test_a_group_belongs_to_the_class_of_its_first_item() -> None:
    manifest = table({"a": [1] * 10, "b": [1] * 10})
    manifest.loc[10, "group"] = 0  # the first of b is a copy of the first of a
    folds = divide(manifest, LEVELS, seed=0)
    for part in (folds.test, folds.val, *folds.train.values()):
        assert (0 in part) == (10 in part)
    manifest.loc[manifest["label"] == 1, "group"] = range(10)  # every b is a copy of an a
    with pytest.raises(InputError, match=r"Class 'b' needs at least 3 different images .* has 0 \(0 different\)"):
        divide(manifest, LEVELS, seed=0)


def test_too_small_a_class_is_refused_by_name_and_number() -> None:
    expected = r"3 different images for training, validation, test, but has 7 \(2 different\)"
    with pytest.raises(InputError, match=f"^Class 'b' needs at least {expected}"):
        divide(table({"a": [1] * 9, "b": [6, 1]}), ["80-10-10"], seed=0)


def test_the_official_test_set_is_the_test_fold() -> None:
    manifest = table({"a": [1] * 20, "b": [1] * 20}, dict.fromkeys((0, 1, 2, 25), "test"))
    folds = divide(manifest, ["80-10-10"], seed=5)
    assert folds.test.tolist() == [0, 1, 2, 25]
    assert sizes(folds) == (4, 4, [32])  # a ninth of 17 and of 19 is 2
    assert sizes(divide(manifest, ["80-10-10"], seed=5, official=False)) == (4, 4, [32])
    assert divide(manifest, ["80-10-10"], seed=5, official=False).test.tolist() != [0, 1, 2, 25]


def test_the_official_validation_holds_in_repeat_0_and_gives_its_size_to_the_others() -> None:
    official = {0: "test", 1: "val", 2: "val", 3: "val", 20: "test", 21: "val"}
    manifest = table({"a": [1] * 20, "b": [1] * 20}, official)
    first, later = divide(manifest, ["60-20-20"], seed=1), divide(manifest, ["60-20-20"], seed=1, repeat=1)
    assert first.val.tolist() == [1, 2, 3, 21]
    assert later.val.tolist() != [1, 2, 3, 21]
    assert [(later.val < 20).sum(), (later.val >= 20).sum()] == [3, 1]
    assert first.test.tolist() == later.test.tolist() == [0, 20]
    with pytest.raises(InputError, match="leaves no ratio to compare, but got the splits 80-10-10, 60-30-10"):
        divide(manifest, ["80-10-10", "60-30-10"], seed=1)


def test_an_official_validation_without_a_test_set_stays_out_of_the_test_fold() -> None:
    manifest = table({"a": [1] * 20, "b": [1] * 20}, {0: "val", 20: "val"})
    folds = divide(manifest, ["80-10-10"], seed=1)
    assert folds.val.tolist() == [0, 20]
    assert sizes(folds) == (4, 2, [34])
    assert np.array_equal(folds.test, divide(manifest, ["80-10-10"], seed=1, repeat=4).test)


@pytest.mark.parametrize(
    ("official", "message"),
    [
        ({0: "test"}, "Every class needs a test image, but 'b' has none in the official split"),
        ({0: "test", 9: "test", 1: "val"}, "Every class needs a validation image, but 'b' has none"),
        (
            {0: "test"} | dict.fromkeys(range(6, 11), "test"),
            r"'b' needs at least 2 different .* validation, but has 1 \(1",
        ),
        (
            {0: "val", 1: "test", 6: "val"} | dict.fromkeys(range(7, 12), "test"),
            "needs at least 1 .* for training, but has 0",
        ),
    ],
)
def test_official_folds_need_every_class(official: dict[int, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        divide(table({"a": [1] * 6, "b": [1] * 6}, official), ["80-10-10"], seed=0)


def test_groups_across_the_official_boundary_lose_their_training_members() -> None:
    # Items 0-3 one group with a test member, 4-6 one with a validation member, 7-8 training only.
    manifest = table(
        {"a": [4, 3, 2, 1, 1], "b": [1] * 6},
        {1: "test", 2: "val", 5: "val", 9: "train", 11: "test", 12: "val"},
    )
    leaks = drop_leaks(manifest, official=True)
    assert leaks.loc[~leaks["keep"], "drop_reason"].to_dict() == {
        0: "duplicate of a test image",
        2: "duplicate of a test image",
        3: "duplicate of a test image",
        4: "duplicate of a validation image",
        6: "duplicate of a validation image",
    }
    pd.testing.assert_frame_equal(drop_leaks(leaks, official=True), leaks)
    pd.testing.assert_frame_equal(drop_leaks(manifest, official=False), manifest)
    folds = divide(manifest, ["80-10-10"], seed=0)
    assert (folds.test.tolist(), folds.val.tolist()) == ([1, 11], [5, 12])
    assert folds.train["80-10-10"].tolist() == [7, 8, 9, 10, 13, 14, 15, 16]


def test_folds_as_columns() -> None:
    manifest = table({"a": [1] * 30, "b": [1] * 30})
    manifest.loc[7, "keep"] = False
    folded = add_folds(manifest, LEVELS, seed=2, official=True, split_is_factor=True)
    folds = divide(manifest, LEVELS, seed=2)
    assert folded.loc[[7], ["fold", *(f"split_{level}" for level in LEVELS)]].isna().to_numpy().all()
    for name, items in (("test", folds.test), ("val", folds.val)):
        for column in ("fold", *(f"split_{level}" for level in LEVELS)):
            assert folded.index[folded[column] == name].tolist() == items.tolist()
    for level in LEVELS:
        assert folded.index[folded[f"split_{level}"] == "train"].tolist() == folds.train[level].tolist()
    assert set(folded["fold"].dropna()) == {"test", "val", "pool"}
    assert set(folded["split_60-30-10"].dropna()) == {"train", "val", "test", "unused"}
    assert "unused" not in set(folded["split_80-10-10"])  # it sets the common validation and uses all the rest
    plain = add_folds(manifest, ["80-10-10"], seed=2, official=True, split_is_factor=False)
    assert list(plain.columns) == [*manifest.columns, "fold"]


def test_columns_show_the_leaks_as_dropped() -> None:
    manifest = table({"a": [2, 1, 1, 1], "b": [1] * 4}, {0: "test", 5: "test"})
    folded = add_folds(manifest, ["80-10-10"], seed=0, official=True, split_is_factor=False)
    assert not folded.loc[1, "keep"]
    assert folded.loc[1, "drop_reason"] == "duplicate of a test image"
    assert folded["fold"].isna()[1]


@given(
    classes, st.lists(st.floats(0.01, 1), min_size=1, max_size=4), seeds, st.integers(0, 5), st.sampled_from([None, 3])
)
@settings(max_examples=25)
def test_shares_of_a_training_set_nest(
    groups: dict[str, list[int]], fractions: list[float], seed: int, repeat: int, k_fold: int | None
) -> None:
    manifest = table(groups)
    levels = ["80-10-10", "60-30-10"]
    whole = divide(manifest, levels, seed, repeat, folds=k_fold)
    shares = [divide(manifest, levels, seed, repeat, folds=k_fold, fraction=one) for one in sorted(fractions)]
    for smaller, larger in pairwise([*shares, whole]):
        assert np.array_equal(smaller.val, larger.val)
        assert np.array_equal(smaller.test, larger.test)
        assert np.array_equal(smaller.pool, larger.pool), "what is stored is shared by all shares"
        for level in levels:
            assert set(smaller.train[level]) <= set(larger.train[level])
            assert set(manifest["label"].to_numpy()[smaller.train[level]]) == set(manifest["label"]), "all classes"
            taken = manifest[manifest["item"].isin(smaller.train[level])]
            assert len(taken) == manifest["group"].isin(taken["group"]).sum(), "whole groups"
    assert np.array_equal(whole.pool, max(whole.train.values(), key=len))


def test_a_share_is_one_of_every_class() -> None:
    # Test: 10 and 20; the pool of 90 and 180 less a ninth to validate leaves 80 and 160 to train on.
    folds = divide(table({"a": [1] * 100, "b": [1] * 200}), ["80-10-10"], seed=3, fraction=0.25)
    train = folds.train["80-10-10"]
    assert ((train < 100).sum(), (train >= 100).sum()) == (20, 40)
    assert len(folds.pool) == 240
    least = divide(table({"a": [1] * 100, "b": [1] * 200}), ["80-10-10"], seed=3, fraction=1e-6)
    assert len(least.train["80-10-10"]) == 2
