import math
from typing import Any

import pytest
import torch

from tests.images import config
from trainables.config import OPTIMIZERS
from trainables.learning.optimizers import (
    build_optimizer,
    load_optimizer_tensors,
    optimizer_tensors,
    penalty,
    schedule,
    set_rate,
    take_step,
)
from trainables.nets.models import Net, build, unfreeze
from trainables.nets.scratch_nets import DESCRIPTIONS

WIDTHS = DESCRIPTIONS["small_cnn"].widths
FEATURES = WIDTHS[-1] * DESCRIPTIONS["small_cnn"].grid ** 2


def make_net(depth: str = "all", backbone: str = "small_cnn") -> Net:
    body = build(backbone, None, 1)
    net = Net(body, 3)
    unfreeze(net, body, depth)
    return net


def steps(net: Net, optimizer: torch.optim.Optimizer, count: int, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        for parameter in net.parameters():
            if parameter.requires_grad:
                parameter.grad = torch.randn(parameter.shape, generator=generator)
        take_step(optimizer)


# A first step from 0 with gradient 2 at rate 0.1: by definition of each.
FIRST = {"sgd": -0.2, "adam": -0.1, "adamw": -0.1, "rmsprop": -0.1 / math.sqrt(0.01)}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_first_step_by_hand(optimizer: str) -> None:
    net = make_net("head")
    chosen = build_optimizer(config(optimizer=optimizer, learning_rate=0.1), net)
    net.head.bias.grad = torch.full((3,), 2.0)
    chosen.step()
    torch.testing.assert_close(net.head.bias.detach(), torch.full((3,), FIRST[optimizer]), rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    # From weight 1 and gradient 0: decoupled it shrinks by rate x decay, as a gradient it is 0.5 x weight.
    [("adamw", 1 - 0.1 * 0.5), ("sgd", 1 - 0.1 * 0.5), ("adam", 1 - 0.1), ("rmsprop", 1 - 0.1 / math.sqrt(0.01))],
)
def test_weight_decay_by_hand(optimizer: str, expected: float) -> None:
    net = make_net("head")
    chosen = build_optimizer(config(optimizer=optimizer, learning_rate=0.1, weight_decay=0.5), net)
    torch.nn.init.ones_(net.head.weight)
    net.head.weight.grad = torch.zeros_like(net.head.weight)
    chosen.step()
    torch.testing.assert_close(net.head.weight[0, 0].item(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop"])
def test_momentum_is_the_configs(optimizer: str) -> None:
    chosen = build_optimizer(config(optimizer=optimizer, momentum=0.5), make_net("head"))
    assert all(group["momentum"] == 0.5 for group in chosen.param_groups)


@pytest.mark.parametrize(
    ("changes", "factors"),
    [
        ({"schedule": "constant"}, {0: 1.0, 39: 1.0}),
        ({"schedule": "cosine"}, {0: 1.0, 10: 0.5 + math.sqrt(0.5) / 2, 20: 0.5, 30: 0.5 - math.sqrt(0.5) / 2}),
        ({"schedule": "step", "step_every": 2}, {0: 1.0, 19: 1.0, 20: 0.1, 39: 0.1}),
        ({"schedule": "step", "step_every": 1, "step_factor": 0.5}, {9: 1.0, 10: 0.5, 25: 0.25, 39: 0.125}),
        ({"schedule": "constant", "warmup_epochs": 2}, {0: 0.05, 9: 0.5, 19: 1.0, 20: 1.0, 39: 1.0}),
        ({"schedule": "cosine", "warmup_epochs": 1}, {4: 0.5, 9: 1.0, 10: 1.0, 25: 0.5}),
    ],
)
def test_schedules_by_hand(changes: dict[str, Any], factors: dict[int, float]) -> None:
    chosen = config(epochs=4, steps_per_epoch=10, **changes)
    assert {step: schedule(chosen, step) for step in factors} == pytest.approx(factors)


def test_the_cosine_ends_at_nothing() -> None:
    assert schedule(config(epochs=4, steps_per_epoch=10), 40) == pytest.approx(0, abs=1e-15)


def test_layer_decay_by_depth() -> None:
    net = make_net()
    chosen = build_optimizer(config(learning_rate=1.0, layer_decay=0.5), net)
    set_rate(chosen, 0.1)
    rates = {id(p): group["lr"] for group in chosen.param_groups for p in group["params"]}
    of = {name: rates[id(parameter)] for name, parameter in net.named_parameters()}
    assert of["head.weight"] == of["head.bias"] == 0.1
    for block, rate in enumerate((0.0125, 0.025, 0.05)):
        assert {value for name, value in of.items() if name.startswith(f"backbone.blocks.{block}.")} == {rate}


def test_only_what_trains_is_optimised() -> None:
    net = make_net("last block")
    chosen = build_optimizer(config(), net)
    assert sum(len(group["params"]) for group in chosen.param_groups) == 5  # convolution, norm (2), head (2)


START = {"head.weight": torch.full((3, FEATURES), 3.0)}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 0.0),
        ({"regularizer": "dropout", "dropout": 0.5}, 0.0),
        ({"regularizer": "l2", "l2": 0.01}, 0.01 * 4 * 3 * FEATURES),  # weights of -2 in a head of 3 classes
        ({"regularizer": "l1", "l1": 0.01}, 0.01 * 2 * 3 * FEATURES),
        ({"regularizer": "l2_sp", "l2_sp": 0.01}, 0.01 * 25 * 3 * FEATURES),  # weights of -2, at the start 3
    ],
)
def test_the_penalty_of_a_head_by_hand(changes: dict[str, Any], expected: float) -> None:
    net = make_net("head")
    torch.nn.init.constant_(net.head.weight, -2.0)
    torch.nn.init.constant_(net.head.bias, 100.0)
    assert penalty(config(**changes), net, START).item() == pytest.approx(expected, rel=1e-6)


def test_the_penalty_covers_the_weights_that_train_and_no_norm() -> None:
    net = make_net("last block")
    for parameter in net.parameters():
        torch.nn.init.ones_(parameter)
    before, last = WIDTHS[-2:]  # a convolution of 3 x 3 and a head of 3 classes
    assert penalty(config(regularizer="l2", l2=1.0), net, {}).item() == last * before * 9 + 3 * FEATURES


def test_the_penaltys_gradient_is_two_lambda_w() -> None:
    net = make_net("head")
    torch.nn.init.constant_(net.head.weight, 3.0)
    penalty(config(regularizer="l2", l2=0.5), net, {}).backward()
    assert net.head.weight.grad is not None
    assert (net.head.weight.grad == 3.0).all()
    assert net.head.bias.grad is None


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_an_optimizer_goes_on_from_its_tensors(optimizer: str, channels_last: bool) -> None:
    chosen = config(optimizer=optimizer, learning_rate=0.01, layer_decay=0.9)
    nets, optimizers = [], []
    for _ in range(2):
        net = make_net()
        if channels_last:
            net = net.to(memory_format=torch.channels_last)
        nets.append(net)
        optimizers.append(build_optimizer(chosen, net))
    steps(nets[0], optimizers[0], 3)
    kept = {name: tensor.contiguous() for name, tensor in optimizer_tensors(optimizers[0]).items()}
    before = {name: tensor.clone() for name, tensor in kept.items()}
    nets[1].load_state_dict(nets[0].state_dict())
    load_optimizer_tensors(optimizers[1], kept)
    for net, one in zip(nets, optimizers, strict=True):
        steps(net, one, 2, seed=1)
    for one, other in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        assert torch.equal(one, other)
    assert all(torch.equal(kept[name], before[name]) for name in before)  # what was loaded is not written to


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_step_does_not_depend_on_the_memory_layout_of_gradients_and_state(optimizer: str) -> None:
    """A fused optimizer reads the memory of weight, gradient and state in its order, and nothing checks the order."""

    def weights(layout: torch.memory_format, gradients: torch.memory_format) -> torch.Tensor:
        net = make_net().to(memory_format=layout)  # pyright: ignore[reportCallIssue]
        convolution = net.get_parameter("backbone.blocks.1.0.weight")
        chosen = build_optimizer(config(optimizer=optimizer, unfreeze="all"), net)
        for seed in range(3):
            drawn = torch.randn(convolution.shape, generator=torch.Generator().manual_seed(seed))
            convolution.grad = drawn.to(memory_format=gradients)
            take_step(chosen)
            stored = {name: value.contiguous() for name, value in optimizer_tensors(chosen).items()}
            load_optimizer_tensors(chosen, stored)  # a checkpoint has no layout
        return convolution.detach()

    plain, last = torch.contiguous_format, torch.channels_last
    expected = weights(plain, plain)
    for layout, gradients in ((last, last), (last, plain), (plain, last)):
        torch.testing.assert_close(weights(layout, gradients), expected, rtol=1e-5, atol=1e-6)
