"""What is frozen is computed once, and no bit tells whether it was."""

import multiprocessing
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.images import config, measured
from tests.tiny import PATIENCE
from trainables.config import TrialConfig
from trainables.data.trial_data import open_trial_data
from trainables.frozen import store as stores
from trainables.frozen.store import Store, open_store
from trainables.learning.inputs import views_of_epoch
from trainables.nets.prefixes import Frozen
from trainables.place import Place
from trainables.trial import run_trial

NET = "test_efficientnet"
DEPTHS = ("head", "last stage", "all")
EVERY = frozenset((NET, depth) for depth in DEPTHS)


@pytest.fixture(autouse=True)
def small_units(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("trainables.frozen.activations.UNIT", 8)  # several units in a fold of 27
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def trial(**changes: Any) -> TrialConfig:
    return config(backbone=NET, size=32, frozen_precision="bfloat16", steps_per_epoch=4, epochs=2, **changes)


def results(chosen: TrialConfig, place: Place) -> tuple[list[Any], dict[str, torch.Tensor]]:
    rows, states = zip(*run_trial(chosen, place), strict=True)
    return [measured(row) for row in rows], states[-1].net


def assert_same(one: Any, other: Any) -> None:
    assert one[0] == other[0]
    assert all(torch.equal(tensor, other[1][name]) for name, tensor in one[1].items())


def units(place: Place) -> list[Path]:
    return sorted((place.cache / "prefixes").rglob("*.safetensors"))


@pytest.mark.parametrize("stored", [frozenset({(NET, "head")}), frozenset({(NET, "last stage"), (NET, "all")}), EVERY])
@pytest.mark.parametrize(
    "views", [{"augmentation": "none"}, {"augmentation": "strong"}, {"augmentation": "light", "views": 1}]
)
@pytest.mark.parametrize("depth", DEPTHS)
def test_sharing_changes_no_bit(depth: str, views: dict[str, Any], stored: frozenset, fresh_place: Place) -> None:
    chosen = trial(unfreeze=depth, **views)
    alone = results(chosen, fresh_place)
    shared = replace(fresh_place, stored=stored)
    assert_same(results(chosen, shared), alone)
    written = units(shared)
    assert_same(results(chosen, shared), alone)
    assert units(shared) == written


def test_a_stored_trial_computes_nothing_that_is_frozen(fresh_place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = replace(fresh_place, stored=EVERY)
    expected = {depth: results(trial(unfreeze=depth, augmentation="strong"), shared) for depth in reversed(DEPTHS)}

    def refuse(*_: Any) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(Frozen, "segment", refuse)
    monkeypatch.setattr("trainables.frozen.activations.training_views", refuse)
    monkeypatch.setattr("trainables.frozen.activations.evaluation_views", refuse)
    for depth in DEPTHS:
        # Another setting of what trains, the same frozen part.
        assert_same(results(trial(unfreeze=depth, augmentation="strong"), shared), expected[depth])
        results(trial(unfreeze=depth, augmentation="strong", learning_rate=0.1, regularizer="l2", l2=0.1), shared)


def test_one_pass_fills_the_shallower_cuts(fresh_place: Place) -> None:
    shared = replace(fresh_place, stored=EVERY)
    results(trial(unfreeze="head", augmentation="strong"), shared)
    streams = {unit.parent for unit in units(shared)}
    # 2 epochs, each with a second pass through the fold; two folds to evaluate: each as views and at both cuts.
    assert len(streams) == (2 * 2 + 2) * 3
    before = units(shared)
    results(trial(unfreeze="last stage", augmentation="strong"), shared)
    results(trial(unfreeze="all", augmentation="strong"), shared)
    assert units(shared) == before


def test_what_can_change_a_bit_is_part_of_the_name(fresh_place: Place) -> None:
    shared = replace(fresh_place, stored=EVERY)
    changes: list[dict[str, Any]] = [
        {}, {"augmentation": "light"}, {"seed": 1}, {"study_seed": 1}, {"size": 48}, {"stored_side": 16},
        {"frozen_precision": "float32"}, {"channels_last": False}, {"block_size": 16}, {"threads": 2},
    ]  # fmt: skip
    last = 0
    for change in changes:
        results(replace(trial(unfreeze="last stage", augmentation="strong"), **change), shared)
        assert len(units(shared)) > last, change
        last = len(units(shared))
    for change in ({"batch_size": 8}, {"learning_rate": 1.0}, {"regularizer": "dropout", "dropout": 0.5}):
        results(replace(trial(unfreeze="last stage", augmentation="strong"), **change), shared)
        assert len(units(shared)) == last, change


@pytest.mark.parametrize("harm", ["truncated", "empty", "garbage", "gone"])
def test_a_damaged_unit_is_computed_again(harm: str, fresh_place: Place) -> None:
    shared = replace(fresh_place, stored=EVERY)
    chosen = trial(unfreeze="last stage", augmentation="strong")
    expected = results(chosen, shared)
    for unit in units(shared):
        whole = unit.read_bytes()
        if harm == "gone":
            unit.unlink()
        else:
            unit.write_bytes({"truncated": whole[:-1], "empty": b"", "garbage": b"x" * len(whole)}[harm])
    assert_same(results(chosen, shared), expected)


@pytest.mark.parametrize("limit", [0.0, 1e-5, 1e-4])
def test_a_small_store_costs_time_and_nothing_else(
    limit: float, fresh_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "trainables.trial.open_store", lambda cache, _: Store(open_store(cache, None).folder, limit * 2**30)
    )
    chosen = trial(unfreeze="last stage", augmentation="strong")
    assert_same(results(chosen, replace(fresh_place, stored=EVERY)), results(chosen, fresh_place))
    assert sum(unit.stat().st_size for unit in units(fresh_place)) <= limit * 2**30


def test_a_full_disk_costs_time_and_nothing_else(fresh_place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(stores, "save_file", full)
    chosen = trial(unfreeze="head")
    assert_same(results(chosen, replace(fresh_place, stored=EVERY)), results(chosen, fresh_place))
    assert not units(fresh_place)


def test_images_and_prefixes_share_the_limit(fresh_place: Place) -> None:
    open_trial_data(trial(), fresh_place)
    pictures = sum(file.stat().st_size for file in fresh_place.cache.glob("*.pixels"))
    assert pictures > 0
    assert open_store(fresh_place.cache, 1.0).limit == 2**30 - pictures
    assert 0 < open_store(fresh_place.cache, None).limit < 2**60


def study_alone(chosen: TrialConfig, place: Place, results_of: Any) -> None:
    results_of.put([measured(row) for row, _ in run_trial(chosen, place)])


def test_processes_compute_a_study_together(fresh_place: Place) -> None:
    """Real processes on one empty store: each unit is written by one of them and all see the same bits."""
    shared = replace(fresh_place, stored=EVERY)
    chosen = trial(unfreeze="last stage", augmentation="strong")
    spawn = multiprocessing.get_context("spawn")
    queue = spawn.Queue()
    processes = [spawn.Process(target=study_alone, args=(chosen, shared, queue)) for _ in range(3)]
    for process in processes:
        process.start()
    rows = [queue.get(timeout=PATIENCE) for _ in processes]
    for process in processes:
        process.join()
    assert rows[0] == rows[1] == rows[2] == results(chosen, fresh_place)[0]


def test_views_are_taken_in_turn() -> None:
    items, occurrence = np.array([5, 7, 5]), np.array([0, 0, 1])
    chosen = trial(augmentation="light", views=3)
    taken = [views_of_epoch(chosen, items, occurrence, epoch).epoch.tolist() for epoch in (1, 2, 3, 4)]
    assert taken == [[1, 1, 2], [2, 2, 3], [3, 3, 1], [1, 1, 2]]
    fresh = views_of_epoch(trial(augmentation="light"), items, occurrence, 4)
    assert (fresh.epoch.tolist(), fresh.occurrence.tolist()) == ([4, 4, 4], [0, 0, 1])
    assert not views_of_epoch(trial(), items, occurrence, 4).epoch.any()  # no augmentation: the evaluation view, always
