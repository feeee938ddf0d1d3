import math
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tests.images import config, measured
from trainables.config import TrialConfig
from trainables.data.trial_data import TrialData, open_trial_data
from trainables.learning import checkpoints
from trainables.learning.checkpoints import State
from trainables.learning.inputs import Inputs
from trainables.learning.sampling import uniform_draws
from trainables.nets.scratch_nets import DESCRIPTIONS
from trainables.nets.weights import file_hash, find
from trainables.place import Place
from trainables.trial import Diverged, build_inputs, predict, run_trial, score

pytestmark = pytest.mark.usefixtures("restored_threads")


def run(chosen: TrialConfig, place: Place) -> tuple[list[dict[str, Any]], list[State]]:
    rows, states = zip(*run_trial(chosen, place), strict=True)
    return [measured(row) for row in rows], list(states)


def assert_equal(one: State, other: State) -> None:
    assert (one.epoch, one.best_epoch, one.best_score) == (
        other.epoch,
        other.best_epoch,
        other.best_score,
    )
    for part in ("net", "optimizer", "best", "average"):
        a, b = getattr(one, part), getattr(other, part)
        assert a.keys() == b.keys()
        assert all(torch.equal(a[name], b[name]) for name in a), part


TRIALS: dict[str, dict[str, Any]] = {
    "head": {"unfreeze": "head", "augmentation": "light"},
    "last stage": {"unfreeze": "last stage", "augmentation": "strong", "optimizer": "sgd", "learning_rate": 0.05},
    "from scratch": {"augmentation": "crop", "layer_decay": 0.5, "schedule": "step", "step_every": 1},
    "dropout": {"augmentation": "medium", "regularizer": "dropout", "dropout": 0.5, "optimizer": "adam"},
    "l2": {"regularizer": "l2", "l2": 0.01, "optimizer": "rmsprop"},
    "l1": {"unfreeze": "last 5 layers", "regularizer": "l1", "l1": 1e-3, "weight_decay": 0.1},
    "bfloat16": {"precision": "bfloat16", "augmentation": "light"},
    "two precisions": {"backbone": "test_efficientnet", "unfreeze": "last stage", "frozen_precision": "bfloat16"},
    "four views": {"unfreeze": "head", "augmentation": "strong", "views": 2},
    "resnet": {"backbone": "test_resnet", "unfreeze": "last stage", "size": 32, "augmentation": "light"},
    "smoothed": {"unfreeze": "head", "label_smoothing": 0.1, "clip_norm": 0.1, "warmup_epochs": 1},
    "mixup": {"mixing": "mixup", "mixing_alpha": 0.4, "augmentation": "randaugment"},
    "cutmix": {"mixing": "cutmix", "mixing_alpha": 1.0, "unfreeze": "head", "augmentation": "trivialaugment"},
    "stochastic depth": {"backbone": "test_efficientnet", "size": 32, "regularizer": "drop_path", "drop_path": 0.5},
    "drop connect": {"unfreeze": "head", "regularizer": "drop_connect", "drop_connect": 0.5},
    "l2_sp": {"regularizer": "l2_sp", "l2_sp": 0.1, "optimizer": "sgd"},
    "averaged": {"ema_decay": 0.9, "augmentation": "erasing"},
    "two phases": {"unfreeze": "last stage", "frozen_epochs": 1, "frozen_learning_rate": 0.01, "ema_decay": 0.5},
    "class balanced": {"sampling": "class_balanced", "unfreeze": "head", "metric": "val_log_loss"},
    "plain layout": {"channels_last": False, "seed": 2},
}


@pytest.mark.parametrize("name", TRIALS)
def test_a_trial_repeats_and_goes_on_from_any_epoch_bit_for_bit(name: str, place: Place, tmp_path: Path) -> None:
    chosen = config(**TRIALS[name])
    rows, states = run(chosen, place)
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    np.random.seed(1)  # whatever else a process draws
    torch.manual_seed(1)
    for stop in range(chosen.epochs):
        state = None
        for _, reached in islice(run_trial(chosen, place), stop):
            checkpoints.save(reached, tmp_path / "state")
            state = checkpoints.load(tmp_path / "state")
        again = list(run_trial(chosen, place, state))
        assert [measured(row) for row, _ in again] == rows[stop:]
        assert_equal(again[-1][1], states[-1])


@pytest.mark.parametrize("name", ["last stage", "two precisions", "mixup", "stochastic depth", "averaged"])
def test_nothing_depends_on_uninitialized_memory(name: str, place: Place) -> None:
    """In deterministic mode, PyTorch fills new tensors with NaN unless it is told not to."""
    chosen = config(**TRIALS[name])
    rows, _ = run(chosen, place)
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        assert torch.empty(1).isnan()
        filled, _ = run(chosen, place)
    finally:
        torch.use_deterministic_algorithms(False)
    assert filled == rows


def test_a_states_tensors_are_its_own(place: Place) -> None:
    chosen = config()
    trial = run_trial(chosen, place)
    _, first = next(trial)
    kept = {f"{part}{name}": t.clone() for part in ("net", "optimizer") for name, t in getattr(first, part).items()}
    list(trial)
    list(run_trial(chosen, place, first))
    for part in ("net", "optimizer"):
        assert all(torch.equal(tensor, kept[f"{part}{name}"]) for name, tensor in getattr(first, part).items())


def test_a_finished_trial_has_nothing_left(place: Place) -> None:
    _, states = run(config(), place)
    assert list(run_trial(config(), place, states[-1])) == []


@pytest.mark.parametrize("changes", [{"seed": 1}, {"study_seed": 1}, {"batch_size": 4}, {"augmentation": "light"}])
def test_what_the_config_changes_the_rows_change(changes: dict[str, Any], place: Place) -> None:
    assert run(config(), place)[0] != run(config(**changes), place)[0]


def test_a_head_does_not_depend_on_threads(place: Place) -> None:
    chosen = {"unfreeze": "head", "augmentation": "light"}
    rows, _ = run(config(**chosen), place)
    assert run(config(**chosen, threads=2), place)[0] == rows


def test_training_learns_and_rows_mean_what_they_say(place: Place) -> None:
    chosen = config(epochs=8, steps_per_epoch=6, learning_rate=0.01)
    rows, states = run(chosen, place)
    assert rows[-1]["train_accuracy"] > 0.8
    assert rows[-1]["val_accuracy"] > 0.6
    best = max(rows, key=lambda row: row["val_accuracy"])  # the first of equals
    assert (states[-1].best_epoch, states[-1].best_score) == (best["epoch"], best["val_accuracy"])
    assert [row["learning_rate"] for row in rows] == pytest.approx(
        [0.005 * (1 + math.cos(math.pi * epoch / 8)) for epoch in range(8)]
    )
    pictures = open_trial_data(chosen, place)
    logits = predict(chosen, place, states[-1].best, pictures.val)
    assert logits.shape == (9, 3)
    accuracy, cross_entropy = score(torch.from_numpy(logits), pictures.labels[pictures.val])
    assert (accuracy, cross_entropy) == (best["val_accuracy"], best["val_cross_entropy"])


def test_train_accuracy_is_measured_without_augmentation_in_evaluation_mode(place: Place) -> None:
    chosen = config(augmentation="strong", regularizer="dropout", dropout=0.8, epochs=2)
    rows, states = run(chosen, place)
    pictures = open_trial_data(chosen, place)
    assert len(pictures.sample) == len(pictures.val) == 9
    assert set(pictures.sample) <= set(pictures.train)
    for row, state in zip(rows, states, strict=True):
        logits = torch.from_numpy(predict(chosen, place, state.net, pictures.sample))
        expected = score(logits, pictures.labels[pictures.sample])
        assert (row["train_accuracy"], row["train_cross_entropy"]) == expected


def test_the_cross_entropy_holds_no_penalty(place: Place) -> None:
    rows, _ = run(config(unfreeze="head", regularizer="l2", l2=100.0, learning_rate=1e-9, epochs=1), place)
    assert rows[0]["val_cross_entropy"] == pytest.approx(math.log(3), abs=1e-4)
    rows, states = run(config(unfreeze="head", regularizer="l2", l2=0.5, epochs=1), place)
    assert rows[0]["penalty"] == pytest.approx(0.5 * states[0].net["head.weight"].square().sum().item(), rel=1e-6)


@pytest.mark.parametrize("changes", [{"optimizer": "sgd"}, {"optimizer": "adam", "unfreeze": "last stage"}])
def test_an_absurd_rate_diverges_by_name(changes: dict[str, Any], place: Place) -> None:
    with pytest.raises(Diverged, match=r"The loss is not finite after epoch \d at learning rate 1e\+37."):
        run(config(learning_rate=1e37, **changes), place)


def test_score_counts_by_hand() -> None:
    logits = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [0.0, 2.0]])
    accuracy, cross_entropy = score(logits, np.array([0, 0, 0, 1]))
    right = math.log(1 + math.exp(-2))
    assert accuracy == 0.75  # of equals the first counts as predicted
    assert cross_entropy == pytest.approx((math.log(2) + right + (2 + right) + right) / 4, rel=1e-12)


def inputs(chosen: TrialConfig, place: Place) -> tuple[Inputs, TrialData]:
    pictures = open_trial_data(chosen, place)
    one = build_inputs(chosen, place, pictures)
    torch.nn.init.normal_(one.net.head.weight, generator=torch.Generator().manual_seed(1))
    return one, pictures


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("depth", ["head", "all"])
def test_features_do_not_depend_on_the_rest_of_their_block(precision: str, depth: str, place: Place) -> None:
    chosen = config(precision=precision, frozen_precision=precision, unfreeze=depth, block_size=4)
    one, pictures = inputs(chosen, place)
    one.net.logits = lambda features, kept=None: features
    items = pictures.train
    whole = one.evaluation_logits(items)
    assert (whole.dtype, whole.shape) == (torch.float32, (27, 64 * DESCRIPTIONS["small_cnn"].grid ** 2))
    for some in ([0], [3, 4, 5, 6, 7], list(range(26, -1, -1)), [2, 2, 2]):
        assert torch.equal(one.evaluation_logits(items[some]), whole[some])


def test_frozen_features_follow_the_head(place: Place) -> None:
    one, pictures = inputs(config(unfreeze="head"), place)
    before = one.evaluation_logits(pictures.val)
    one.net.head.weight.data.mul_(2)
    assert torch.equal(one.evaluation_logits(pictures.val), 2 * before)


def test_frozen_and_training_backbones_see_the_same_views(place: Place) -> None:
    frozen, pictures = inputs(config(unfreeze="head", augmentation="strong"), place)
    trained, _ = inputs(config(unfreeze="all", augmentation="strong"), place)
    items, occurrence = uniform_draws(1, pictures.train, 24)
    for one in (frozen, trained):
        one.net.eval()
    a, b = (list(one.training_features(items, occurrence, 1)) for one in (frozen, trained))
    assert [len(batch) for batch in a] == [8, 8, 8]
    assert all(x.requires_grad is False and y.requires_grad for x, y in zip(a, b, strict=True))
    torch.testing.assert_close(torch.cat(a), torch.cat(b).detach(), rtol=1e-4, atol=1e-5)


def test_every_start_is_ln_k_and_pretrained_weights_are_checked(place: Place) -> None:
    file = find("tf_efficientnet_lite0")
    chosen = config(
        backbone="tf_efficientnet_lite0", weights="pretrained", weights_hash=file_hash(file), unfreeze="head", size=64
    )
    pictures = open_trial_data(chosen, place)
    logits = build_inputs(chosen, place, pictures).evaluation_logits(pictures.val)
    assert F.cross_entropy(logits.double(), torch.zeros(9, dtype=torch.int64)).item() == math.log(3)
    with pytest.raises(RuntimeError, match=r"must have the SHA-256 of the study \(0123\.\.\.\), but .*pth has"):
        build_inputs(config(**(chosen.to_dict() | {"weights_hash": "0123"})), place, pictures)


def test_the_test_fold_is_out_of_reach_of_training(place: Place) -> None:
    pictures = open_trial_data(config(), place)
    folds = [set(fold.tolist()) for fold in (pictures.train, pictures.val, pictures.test)]
    assert [len(fold) for fold in folds] == [27, 9, 9]
    assert len(set.union(*folds)) == 45
    assert pictures.classes == 3
    np.testing.assert_array_equal(np.bincount(pictures.labels[pictures.train]), [9, 9, 9])
