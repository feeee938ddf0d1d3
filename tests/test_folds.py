import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.divisions import LEVELS, classes, same, seeds
from tests.trees import table
from trainables.data.splits import divide
from trainables.errors import InputError


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_in_a_k_fold_every_image_validates_once_a_round(folds: int) -> None:
    manifest = table({"a": [1] * 17, "b": [1] * 8})
    rest: set[int] = set()
    rounds = []
    for repeat in range(1, 2 * folds + 1):
        found = divide(manifest, ["70-15-15"], 0, repeat, folds=folds)
        train, val = set(found.train["70-15-15"].tolist()), set(found.val.tolist())
        assert not train & val
        rest = rest or train | val
        assert train | val == rest
        rounds.append(val)
    for one in (rounds[:folds], rounds[folds:]):
        assert sorted(item for val in one for item in val) == sorted(rest)
    assert rounds[0] != rounds[folds]
    assert same(divide(manifest, ["70-15-15"], 0, folds=folds), divide(manifest, ["70-15-15"], 0))


@given(classes, seeds, st.integers(2, 6), st.sampled_from([["70-15-15"], LEVELS]))
@settings(max_examples=8)
def test_in_test_folds_every_image_tests_once_a_round(
    groups: dict[str, list[int]], seed: int, k: int, levels: list[str]
) -> None:
    manifest = table({name: [*sizes, 1] for name, sizes in groups.items()} | {"d": [1] * 6})
    group = manifest["group"].to_numpy()
    for round_ in range(2):
        folds = [divide(manifest, levels, seed, k * round_ + i, test_folds=k) for i in range(1, k + 1)]
        assert sorted(item for fold in folds for item in fold.test) == manifest["item"].tolist()
        for fold in folds:
            for part in (fold.val, *fold.train.values()):
                assert not set(group[part]) & set(group[fold.test]), "a group tests as a whole"
                assert set(manifest["label"].to_numpy()[part]) == set(manifest["label"]), "all classes learn"
            rest = np.concatenate([fold.test, fold.val, max(fold.train.values(), key=len)])
            assert sorted(rest) == manifest["item"].tolist(), "nothing is left out"
        for label in set(manifest["label"]):
            mine = manifest[manifest["label"] == label]
            counts = [mine[mine["item"].isin(fold.test)]["group"].nunique() for fold in folds]
            assert max(counts) - min(counts) <= 1, "classes are spread evenly"
            pictures = [int(mine["item"].isin(fold.test).sum()) for fold in folds]
            assert max(pictures) - min(pictures) <= mine.groupby("group").size().max()
    assert same(divide(manifest, levels, seed, test_folds=k), divide(manifest, levels, seed)), (
        "the search's are as ever"
    )


def test_rounds_and_seeds_divide_what_tests_anew() -> None:
    manifest = table({"a": [1] * 40, "b": [1] * 20})
    first, again, later, other = (
        divide(manifest, ["70-15-15"], seed, repeat, test_folds=5).test.tolist()
        for seed, repeat in ((1, 1), (1, 1), (1, 6), (2, 1))
    )
    assert first == again
    assert later != first != other
    assert len(first) == 12  # 8 of a, 4 of b


@pytest.mark.parametrize(("sizes", "k", "ok"), [([1, 1, 1], 2, False), ([1] * 4, 2, True), ([1] * 3, 3, True)])
def test_what_a_test_fold_leaves_of_a_class_must_train_and_validate(sizes: list[int], k: int, ok: bool) -> None:
    manifest = table({"a": [1] * 20, "b": sizes})
    if ok:
        assert all(len(divide(manifest, ["70-15-15"], 0, i, test_folds=k).val) for i in range(k + 1))
    else:
        with pytest.raises(InputError, match=f"Class 'b' needs at least 4 different images .* has {len(sizes)}"):
            divide(manifest, ["70-15-15"], 0, test_folds=k)


def test_more_test_folds_than_images_are_refused() -> None:
    with pytest.raises(InputError, match="9 test folds need at least as many different images, but got 8"):
        divide(table({"a": [1] * 4, "b": [2] * 4}), ["70-15-15"], 0, test_folds=9)
