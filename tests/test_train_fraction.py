"""How much of the training set a trial sees: a factor like any other, with as many steps at every share."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from study.design.plan import search_plan
from study.design.settings import resolve
from tests.courses import BASE, small_study
from tests.images import config, measured
from trainables.data.folds import count_training_images
from trainables.data.trial_data import open_trial_data
from trainables.errors import InputError
from trainables.place import Place
from trainables.trial import run_trial

FRACTIONS = [0.25, 0.5, 0.75, 1.0]
NET = "test_efficientnet"


def results(place: Place, **changes: Any) -> tuple[list[Any], dict[str, torch.Tensor]]:
    chosen = config(backbone=NET, unfreeze="last stage", size=32, augmentation="light", epochs=2, **changes)
    rows, states = zip(*run_trial(chosen, place), strict=True)
    return [measured(row) for row in rows], states[-1].net


def test_a_smaller_share_lies_within_a_larger_one_and_all_are_measured_on_their_own(fresh_place: Place) -> None:
    each = [open_trial_data(config(train_fraction=one), fresh_place) for one in FRACTIONS]
    assert [len(one.train) for one in each] == [6, 12, 21, 27]  # of 9 a class
    for smaller, larger in pairwise(each):
        assert set(smaller.train) <= set(larger.train)
        assert np.array_equal(smaller.val, larger.val)
        assert np.array_equal(smaller.pool, larger.pool)
    assert set(each[0].sample) == set(each[0].train)
    assert [len(one.sample) for one in each[1:]] == [9, 9, 9]  # as many as validate
    assert [count_training_images(config(train_fraction=one), fresh_place.manifest) for one in FRACTIONS] == [
        6,
        12,
        21,
        27,
    ]
    both = config(train_fraction=0.25, trains_on="train+val")
    assert count_training_images(both, fresh_place.manifest) == 6 + 9


def test_rows_hang_on_the_share_and_the_whole_is_the_default(fresh_place: Place) -> None:
    whole = results(fresh_place)
    assert results(fresh_place, train_fraction=1.0)[0] == whole[0]
    assert results(fresh_place, train_fraction=0.5)[0] != whole[0]


def test_what_is_frozen_is_shared_by_all_shares(fresh_place: Place) -> None:
    shared = replace(fresh_place, stored=frozenset({(NET, "head"), (NET, "last stage")}))
    results(shared, steps_per_epoch=3)  # 24 of 27 images: one pass
    stored = set((fresh_place.cache / "prefixes").rglob("*.safetensors"))
    fewer = results(shared, train_fraction=0.75, steps_per_epoch=2)
    training = {unit.parent for unit in set((fresh_place.cache / "prefixes").rglob("*.safetensors")) - stored}
    assert len(training) == 1, "its own sample of the training fold, which is evaluated, and no more"
    rows, net = results(fresh_place, train_fraction=0.75, steps_per_epoch=2)
    assert fewer[0] == rows
    assert all(torch.equal(tensor, fewer[1][name]) for name, tensor in net.items())


def test_as_a_factor_every_share_takes_equal_steps_in_an_arm_of_its_own() -> None:
    study = small_study({"train_fraction": FRACTIONS}, nuisances={})
    plan = search_plan(study, 12, BASE.study_seed)
    configs = [resolve(study, planned, BASE) for planned in plan]
    assert sorted({one.train_fraction for one in configs}) == FRACTIONS
    assert {one.steps_per_epoch for one in configs} == {4}  # 30 images in batches of 8
    for one, planned in zip(configs, plan, strict=True):
        for other, another in zip(configs, plan, strict=True):
            assert (planned.arm == another.arm) == (one.train_fraction == other.train_fraction)


@pytest.mark.parametrize("level", [0, -0.5, 1.5])
def test_a_share_lies_between_nothing_and_all(level: float) -> None:
    with pytest.raises(InputError, match=r"`0 < train_fraction <= 1` must hold, but got"):
        small_study({"train_fraction": [level, 1.0]})


def test_a_share_is_compared_or_fixed_not_tuned() -> None:
    from search_spaces.distributions import Range

    with pytest.raises(InputError, match="'train_fraction' is not: make it a factor"):
        small_study(nuisances={"train_fraction": Range(low=0.1, high=1.0)})
    fixed = {"size": 16, "backbone": "small_cnn", "unfreeze": "all", "train_fraction": 0.5}
    study = small_study(fixed=fixed)
    assert resolve(study, search_plan(study, 1, 0)[0], BASE).train_fraction == 0.5
