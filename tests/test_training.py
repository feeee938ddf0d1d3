"""What one epoch is made of: draws, mixtures, masks, losses, averages, phases. By hand where a hand can."""

import math
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tests.images import config, measured
from trainables.augmentation.mixing import Mixture, blend, mixture
from trainables.errors import InputError
from trainables.learning.losses import batch_loss
from trainables.learning.sampling import class_balanced_draws, uniform_draws
from trainables.learning.training import drop, kept_connections
from trainables.metrics import signed, validation_metric
from trainables.nets.averaging import Average
from trainables.nets.drop_path import KeyedDropPath, key_drop_paths
from trainables.nets.models import Net, build, check_drop_path, unfreeze
from trainables.place import Place
from trainables.trial import Phase, phases_of, run_trial


def test_draws_go_through_all_items_before_any_again() -> None:
    items = np.array([2, 3, 5, 7, 11])
    drawn, occurrence = uniform_draws(1, items, 12)
    assert sorted(drawn[:5].tolist()) == sorted(drawn[5:10].tolist()) == items.tolist()
    assert occurrence.tolist() == [0] * 5 + [1] * 5 + [2] * 2
    np.testing.assert_array_equal(uniform_draws(1, items[::-1], 7)[0], drawn[:7])
    assert drawn[:5].tolist() != drawn[5:10].tolist()


def test_a_dropout_mask_belongs_to_the_image() -> None:
    chosen = config(regularizer="dropout", dropout=0.25)
    items, occurrence = np.array([4, 8, 15, 4]), np.array([0, 0, 0, 1])
    whole = drop(chosen, torch.ones(4, 2000), items, occurrence, epoch=1)
    for order in ([2, 0, 3, 1], [1], [3, 3]):
        part = drop(chosen, torch.ones(len(order), 2000), items[order], occurrence[order], epoch=1)
        assert torch.equal(part, whole[order])
    assert set(whole.unique().tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
    assert len({row.numpy().tobytes() for row in whole}) == 4
    assert abs((whole == 0).float().mean().item() - 0.25) < 0.02
    assert not torch.equal(drop(chosen, torch.ones(4, 2000), items, occurrence, epoch=2), whole)


def test_balanced_draws_give_every_class_its_share() -> None:
    items, labels = np.arange(12), np.array([0] * 9 + [1] * 2 + [2])
    drawn, occurrence = class_balanced_draws(7, items, labels, 13)
    assert sorted(Counter(labels[drawn].tolist()).values()) == [4, 4, 5]
    assert drawn.tolist() != sorted(drawn.tolist(), key=lambda item: labels[item])  # not class by class
    seen = list(zip(drawn.tolist(), occurrence.tolist(), strict=True))
    assert len(set(seen)) == 13  # an image that comes again comes in another view
    assert [number for item, number in sorted(seen) if item == 11] == list(range(Counter(drawn.tolist())[11]))
    again, _ = class_balanced_draws(7, items, labels, 13)
    np.testing.assert_array_equal(again, drawn)


def mixed(kind: str, own: list[float], boxes: list[list[int]] | None = None) -> Mixture:
    count = len(own)
    return Mixture(kind, np.arange(count), np.array(own, np.float32), np.array(boxes or [[0] * 4] * count))


def test_mixup_is_a_weighted_mean() -> None:
    ones, threes = torch.ones(2, 3, 4, 4), torch.full((2, 3, 4, 4), 3.0)
    found = blend(ones, threes, mixed("mixup", [0.25, 1.0]))
    assert found[:, 0, 0, 0].tolist() == [2.5, 1.0]


def test_cutmix_pastes_a_rectangle() -> None:
    ones, threes = torch.ones(1, 1, 4, 4), torch.full((1, 1, 4, 4), 3.0)
    found = blend(ones, threes, mixed("cutmix", [0.875], [[1, 2, 2, 4]]))
    assert (found[0, 0] == 3).nonzero().tolist() == [[2, 1], [3, 1]]
    assert ones.eq(1).all()


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_a_mixture_belongs_to_the_image(kind: str) -> None:
    chosen, pool = config(mixing=kind, mixing_alpha=1.0), np.array([3, 5, 9])
    items, occurrence = np.arange(400), np.zeros(400, np.int64)
    whole = mixture(chosen, items, occurrence, 1, pool)
    part = mixture(chosen, items[50:60], occurrence[50:60], 1, pool)
    assert whole is not None
    assert part is not None
    for name in ("partners", "own", "boxes"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole[50:60], name))
    assert set(whole.partners.tolist()) == {3, 5, 9}
    assert whole.own.min() >= 0
    assert whole.own.max() <= 1
    assert (whole.boxes[:, 2:] >= whole.boxes[:, :2]).all()
    if kind == "cutmix":
        area = (whole.boxes[:, 2:] - whole.boxes[:, :2]).prod(axis=1) / 16**2
        np.testing.assert_allclose(whole.own, 1 - area, rtol=1e-6)
    else:
        assert abs(whole.own.mean() - 0.5) < 0.05  # Beta(1, 1) is uniform


def test_without_mixing_there_is_no_mixture() -> None:
    assert mixture(config(), np.arange(3), np.zeros(3, np.int64), 1, np.arange(3)) is None


def test_the_loss_of_a_mixed_batch_counts_each_label_by_its_share() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 0.0]])
    labels, others = torch.tensor([0, 0]), torch.tensor([1, 1])
    found = batch_loss(config(), logits, labels, others, mixed("mixup", [0.75, 0.5]))
    right = math.log(1 + math.exp(-2))
    assert found.item() == pytest.approx((0.75 * right + 0.25 * (right + 2) + math.log(2)) / 2)


def test_label_smoothing_is_for_training_alone(place: Place) -> None:
    smooth = config(unfreeze="head", label_smoothing=0.5, epochs=1, learning_rate=1e-9)
    (row, _) = next(run_trial(smooth, place))
    assert row["val_cross_entropy"] == pytest.approx(math.log(3), abs=1e-4)
    logits, labels = torch.tensor([[2.0, 0.0]]), torch.tensor([0])
    right = math.log(1 + math.exp(-2))
    assert batch_loss(smooth, logits, labels, labels, None).item() == pytest.approx(0.75 * right + 0.25 * (right + 2))


def test_one_output_is_the_binary_cross_entropy() -> None:
    net = Net(build("small_cnn", None, 0), 1)
    features = torch.randn(5, net.head.in_features, generator=torch.Generator().manual_seed(1))
    torch.nn.init.normal_(net.head.weight, std=0.1, generator=torch.Generator().manual_seed(2))
    logits, labels = net.logits(features), torch.tensor([0, 1, 1, 0, 1])
    assert logits.shape == (5, 2)
    z = net.head(features)[:, 0]
    expected = F.binary_cross_entropy_with_logits(z, labels.float())
    assert batch_loss(config(), logits, labels, labels, None).item() == pytest.approx(expected.item(), rel=1e-6)


def test_dropped_connections_differ_by_step_and_keep_the_mean() -> None:
    chosen, weight = config(regularizer="drop_connect", drop_connect=0.25), torch.zeros(40, 100)
    one = kept_connections(chosen, weight, epoch=1, step=0)
    assert one is not None
    assert set(one.unique().tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
    assert abs(one.mean().item() - 1) < 0.05
    other = kept_connections(chosen, weight, epoch=1, step=1)
    assert other is not None
    assert not torch.equal(one, other)
    assert kept_connections(config(), weight, 1, 0) is None


def test_stochastic_depth_skips_whole_branches_and_nothing_in_evaluation() -> None:
    path = KeyedDropPath(0.5)
    x = torch.ones(2, 3, 2, 2)
    assert path(x) is x
    path.scale = torch.tensor([0.0, 2.0])
    assert path(x).sum(dim=(1, 2, 3)).tolist() == [0, 24]
    body = build("test_efficientnet", None, 0, drop_paths=True)
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    before = body.module(x)
    paths = key_drop_paths(body.module, 0.3)
    rates = [each.rate for each in paths]
    assert rates == sorted(rates)
    assert 0 < max(rates) <= 0.3
    assert torch.equal(body.module(x), before)


@pytest.mark.parametrize("backbone", ["small_cnn", "vgg11"])
def test_a_net_without_branches_cannot_skip_any(backbone: str) -> None:
    with pytest.raises(InputError, match=f"{backbone} has no residual branches to drop"):
        check_drop_path(backbone)
    check_drop_path("resnet18")


def test_the_average_follows_the_weights_by_its_formula() -> None:
    body = build("small_cnn", None, 0)
    net = Net(body, 2)
    unfreeze(net, body, "head")
    average = Average(net, 0.9, {}, 0)
    for value in (1.0, 2.0):
        torch.nn.init.constant_(net.head.weight, value)
        average.update()
    # The decay is (1 + t) / (10 + t) at first: 2/11, then 3/12.
    expected = 0.25 * (9 / 11) + 0.75 * 2
    assert average.state["head.weight"].unique().item() == pytest.approx(expected)
    with average.in_place():
        assert net.head.weight.unique().item() == pytest.approx(expected)
    assert net.head.weight.unique().item() == 2.0


def test_two_phases_are_the_head_alone_and_then_deeper() -> None:
    chosen = config(epochs=5, frozen_epochs=2, frozen_learning_rate=0.5, unfreeze="last stage", learning_rate=0.1)
    head, deeper = phases_of(chosen)
    assert (head.first, head.last, deeper.first, deeper.last) == (0, 2, 2, 5)
    assert (head.config.unfreeze, head.config.learning_rate, head.config.epochs) == ("head", 0.5, 2)
    assert (deeper.config.unfreeze, deeper.config.learning_rate, deeper.config.epochs) == ("last stage", 0.1, 3)
    assert phases_of(config()) == [Phase(0, 3, config())]


def test_the_first_phase_is_the_head_only_trial(place: Place) -> None:
    two = config(epochs=4, frozen_epochs=2, unfreeze="last block", schedule="constant")
    rows = [measured(row) for row, _ in run_trial(two, place)]
    alone = [measured(row) for row, _ in run_trial(config(epochs=2, unfreeze="head", schedule="constant"), place)]
    assert rows[:2] == alone
    assert len(rows) == 4


def test_patience_ends_a_trial_and_keeps_the_best_epoch(place: Place) -> None:
    chosen = config(epochs=30, patience=2, unfreeze="head", learning_rate=1e-9)
    rows = list(run_trial(chosen, place))
    assert [row["epoch"] for row, _ in rows] == [1, 2, 3]
    assert rows[-1][1].best_epoch == 1
    assert list(run_trial(chosen, place, rows[-1][1])) == []


LOGITS = np.array([[2.0, 0.0, 1.0], [0.0, 2.0, 1.0], [3.0, 0.0, 1.0], [0.0, 1.0, 2.0]])
LABELS = np.array([0, 1, 1, 2])


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ("val_accuracy", 3 / 4),
        ("val_balanced_accuracy", (1 + 1 / 2 + 1) / 3),
        ("val_macro_f1", (2 / 3 + 2 / 3 + 1) / 3),
        ("val_top5", 1.0),
    ],
)
def test_metrics_by_hand(metric: str, value: float) -> None:
    assert validation_metric(metric, LOGITS, LABELS) == pytest.approx(value)
    assert signed(metric, value) == value


def test_metrics_agree_with_scikit_learn() -> None:
    from sklearn.metrics import log_loss, roc_auc_score

    random = np.random.default_rng(0)
    logits, labels = random.normal(size=(60, 4)), random.integers(0, 4, 60)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
    assert validation_metric("val_auroc", logits, labels) == pytest.approx(expected)
    assert validation_metric("val_log_loss", logits, labels) == pytest.approx(log_loss(labels, probabilities))
    assert signed("val_log_loss", 0.5) == -0.5


def test_the_metric_chooses_the_epoch(place: Place) -> None:
    chosen = config(epochs=6, metric="val_log_loss", learning_rate=0.02)
    rows, states = zip(*run_trial(chosen, place), strict=True)
    losses = [row["val_cross_entropy"] for row in rows]
    assert [row["val_metric"] for row in rows] == pytest.approx(losses)
    assert states[-1].best_epoch == 1 + losses.index(min(losses))


@pytest.mark.parametrize("net", ["lenet5", "three_block_cnn", "plain_cnn", "norm_cnn"])
def test_nets_from_scratch_take_any_size_and_train(net: str, place: Place) -> None:
    rows = [row for row, _ in run_trial(config(backbone=net, size=32, stored_side=32, epochs=1), place)]
    assert math.isfinite(rows[0]["val_cross_entropy"])


def test_lenets_parameters_are_those_of_the_paper() -> None:
    # Two convolutions on 3 and 6 maps (all connected), then 400-120-84: LeCun et al. 1998 without the last layer.
    parameters = sum(p.numel() for p in build("lenet5", None, 0).module.parameters())
    assert parameters == (25 * 3 + 1) * 6 + (25 * 6 + 1) * 16 + 401 * 120 + 121 * 84


@pytest.mark.parametrize(
    "changes",
    [
        {"regularizer": "l2", "l2": 0.01, "clip_norm": 0.5, "augmentation": "light"},
        {"regularizer": "dropout", "dropout": 0.5, "mixing": "mixup", "mixing_alpha": 0.4, "ema_decay": 0.9},
        {"regularizer": "drop_connect", "drop_connect": 0.5, "label_smoothing": 0.1, "optimizer": "sgd"},
    ],
)
def test_micro_batches_train_like_the_whole_batch(changes: dict[str, Any], place: Place) -> None:
    """Up to rounding, in a net without batch norms."""
    chosen = config(backbone="three_block_cnn", **changes)
    (_, whole), (_, parts) = (list(run_trial(replace(chosen, micro_batch=size), place))[-1] for size in (None, 2))
    assert any(not torch.equal(whole.net[name], parts.net[name]) for name in whole.net), "it rounds differently"
    for name, tensor in whole.net.items():
        torch.testing.assert_close(parts.net[name], tensor, rtol=1e-3, atol=1e-5)


def test_a_micro_batch_of_a_whole_batch_changes_nothing(place: Place) -> None:
    whole, one = (list(run_trial(config(micro_batch=size), place))[-1][0] for size in (None, 8))
    assert measured(whole) == measured(one)


def test_a_micro_batch_divides_the_batch_of_a_worker() -> None:
    assert config(batch_size=8, workers=2, micro_batch=2).micro_batch == 2
    with pytest.raises(InputError, match="`micro_batch` must divide the 4 images of a batch on one worker, but got 3"):
        config(batch_size=8, workers=2, micro_batch=3)
