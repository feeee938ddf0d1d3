import math
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import timm
import torch
from torch import nn
from torch.nn import functional as F

from tests.images import config
from trainables.data.pixels import Pixels
from trainables.data.trial_data import TrialData
from trainables.errors import InputError
from trainables.frozen.activations import Activations
from trainables.learning.inputs import Inputs
from trainables.learning.optimizers import build_optimizer
from trainables.learning.training import Training, train_epoch
from trainables.nets.models import (
    Body,
    Net,
    build,
    check_depth,
    check_size,
    crop_share,
    depth_from_head,
    input_contract,
    load_trained,
    train_mode,
    trained_state,
    unfreeze,
    weights_config,
)
from trainables.nets.prefixes import Frozen

pytestmark = pytest.mark.usefixtures("one_thread")

# Stages and blocks by hand: stem first, then what timm's own definition of the net lists.
NETS = {
    "mobilenetv3_small_050": (7, 13),  # stem, 6 stages; stem, 1 + 2 + 3 + 2 + 3 + 1 blocks
    "resnet18": (5, 9),
    "densenet121": (5, 59),  # 6 + 12 + 24 + 16 dense layers
    "vit_tiny_patch16_224": (13, 13),
    "convnext_atto": (5, 13),  # 2 + 2 + 6 + 2
    "tf_efficientnet_lite0": (8, 17),  # 1 + 2 + 2 + 3 + 3 + 4 + 1
    "small_cnn": (3, 3),
}
# Two classifiers, attention that keeps its biases in evaluation mode, a tag, no groups.
ODD = ["levit_128s", "deit_tiny_distilled_patch16_224", "test_resnet.r160_in1k", "pit_ti_224"]


def side(net: Net) -> int:
    return weights_config(net.backbone)["input_size"][1]


@pytest.fixture(scope="module")
def bodies() -> dict[str, Body]:
    return {}


def body_of(bodies: dict[str, Body], name: str) -> Body:
    if name not in bodies:
        bodies[name] = build(name, None, 1)
    return bodies[name]


@pytest.mark.parametrize("name", [*NETS, *ODD])
def test_the_first_loss_is_the_logarithm_of_the_classes(bodies: dict[str, Body], name: str) -> None:
    body = body_of(bodies, name)
    net = Net(body, 5)
    x = torch.rand(2, 3, side(net), side(net), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        logits = net(x)
    assert logits.shape == (2, 5)
    assert (logits == 0).all()
    loss = F.cross_entropy(logits.double(), torch.tensor([0, 4]))
    assert loss.item() == math.log(5)
    assert not any(module.training for module in net.modules())


@pytest.mark.parametrize(("name", "counts"), NETS.items())
def test_groups_hold_every_parameter_once(bodies: dict[str, Body], name: str, counts: tuple[int, int]) -> None:
    body = body_of(bodies, name)
    net = Net(body, 5)
    assert (len(body.stages), len(body.blocks)) == counts
    every = sorted(name for name, _ in net.backbone.named_parameters())
    for groups in (body.stages, body.blocks):
        assert sorted(name for group in groups for name in group) == every


@pytest.mark.parametrize("name", NETS)
def test_depths_nest_and_end_with_all(bodies: dict[str, Body], name: str) -> None:
    body = body_of(bodies, name)
    net = Net(body, 5)
    total = len(list(net.backbone.parameters()))
    counts = {}
    for depth in ("head", "last layer", "last block", "last 2 blocks", "last stage", "all"):
        unfreeze(net, body, depth)
        assert all(parameter.requires_grad for parameter in net.head.parameters())
        counts[depth] = sum(parameter.requires_grad for parameter in net.backbone.parameters())
    assert counts["head"] == 0
    assert counts["last block"] == len(body.blocks[-1])
    assert counts["last 2 blocks"] == len(body.blocks[-1]) + len(body.blocks[-2])
    assert counts["last stage"] == len(body.stages[-1])
    assert counts["all"] == total
    assert 0 < counts["last block"] <= counts["last stage"] < total


@pytest.mark.parametrize(
    ("name", "depth", "first"),
    [
        ("resnet18", "last stage", "layer4.0.conv1.weight"),
        ("resnet18", "last block", "layer4.1.conv1.weight"),
        ("resnet18", "last 3 layers", "layer4.1.conv2.weight"),  # convolution, norm, ReLU
        ("resnet18", "last 9 stages", ""),
        ("densenet121", "last stage", "features.denseblock4.denselayer1.norm1.weight"),
        ("tf_efficientnet_lite0", "last stage", "blocks.6.0.conv_pw.weight"),  # with the convolution before pooling
        ("tf_efficientnet_lite0", "last 3 layers", "conv_head.weight"),
        ("vit_tiny_patch16_224", "last 2 blocks", "blocks.10.norm1.weight"),
        ("small_cnn", "last 4 layers", "blocks.2.0.weight"),  # convolution, norm, ReLU, pooling
        ("small_cnn", "last 2 layers", None),  # ReLU and pooling have no parameters
    ],
)
def test_where_training_begins(bodies: dict[str, Body], name: str, depth: str, first: str | None) -> None:
    body = body_of(bodies, name)
    net = Net(body, 5)
    if first == "":
        with pytest.raises(InputError, match="asks for more than the backbone's 5 stages: use fewer, or 'all'"):
            unfreeze(net, body, depth)
        return
    unfreeze(net, body, depth)
    trained = [name for name, parameter in net.backbone.named_parameters() if parameter.requires_grad]
    assert (trained[0] if trained else None) == first


def test_the_last_twenty_layers_of_a_mobilenet() -> None:
    # Backwards: ReLU, norm and convolution before pooling; 8 layers of the last block (3 convolutions, 3 norms,
    # 2 ReLUs); 8 of the one before; then one ReLU6-less projection norm of the block before that.
    body = build("mobilenetv2_100", None, 1)
    net = Net(body, 5)
    unfreeze(net, body, "last 20 layers")
    trained = {name for name, parameter in net.backbone.named_parameters() if parameter.requires_grad}
    blocks = {f"blocks.{stage}.{block}." for stage, block in ((6, 0), (5, 2))}
    whole = {name for name, _ in net.backbone.named_parameters() if name.startswith((*blocks, "conv_head", "bn2"))}
    assert trained == whole | {"blocks.5.1.bn3.weight", "blocks.5.1.bn3.bias"}


@pytest.mark.parametrize("name", ["resnet18", "rexnet_100", "levit_128s", "tf_efficientnet_lite0"])
def test_too_deep_is_refused_without_weights(name: str) -> None:
    for part in ("stages", "blocks", "layers"):
        with pytest.raises(InputError, match=rf"'last 999 {part}' asks for more than the backbone's \d+"):
            check_depth(name, f"last 999 {part}")
    for depth in ("head", "last block", "last 20 layers", "all"):
        check_depth(name, depth)


def pictures(size: int, classes: int, count: int = 8) -> TrialData:
    random = np.random.default_rng(1)
    flat = random.integers(0, 256, count * size * size * 3, dtype=np.uint8)
    pixels = Pixels("", flat, {i: (i * size * size * 3, size, size) for i in range(count)})
    items = np.arange(count)
    return TrialData(pixels, items % classes, classes, items, items, items[:0], items[:0], items[:0])


@pytest.mark.parametrize(
    ("name", "depth"),
    [
        ("test_resnet", "head"),
        ("test_resnet", "last stage"),
        ("test_resnet", "last 20 layers"),
        ("test_resnet", "all"),
        ("mobilenetv3_small_050", "last stage"),
        ("test_efficientnet", "last 2 stages"),
        ("levit_128s", "all"),
        ("small_cnn", "last 5 layers"),
        ("small_cnn", "all"),
    ],
)
def test_what_is_frozen_stays_and_what_trains_moves(name: str, depth: str) -> None:
    body = build(name, None, 1)
    size = 224 if name == "levit_128s" else 64  # it takes no other
    # Four steps: a head at zero passes no gradient on in the first, nor does a norm at the end of a residual
    # branch, which starts at zero, in the second.
    chosen = config(unfreeze=depth, size=size, steps_per_epoch=4, batch_size=4, learning_rate=0.01, optimizer="adam")
    data = pictures(size, 5)
    frozen = Frozen(body, size)
    activations = Activations(chosen, frozen, frozen.cut(depth), data, None, frozenset())
    net = Net(replace(body, module=activations.frozen.rest(activations.cut)), 5)
    unfreeze(net, body, depth)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    whole = {name: tensor.clone() for name, tensor in body.module.state_dict().items()}
    train_epoch(Training(Inputs(chosen, net, activations, data), build_optimizer(chosen, net)), 1)
    assert all(torch.equal(tensor, whole[name]) for name, tensor in body.module.state_dict().items())
    moved = {name for name, tensor in net.state_dict().items() if not torch.equal(before[name], tensor)}
    trains = {name for name, parameter in net.named_parameters() if parameter.requires_grad}
    statistics = {name for name in before if name.endswith(("running_mean", "running_var", "num_batches_tracked"))}
    assert moved - statistics == trains
    assert moved & statistics == {name for name in statistics if f"{name.rpartition('.')[0]}.weight" in trains}


def test_a_frozen_batch_norm_does_not_see_the_batch() -> None:
    body = build("resnet18", None, 1)
    net = Net(body, 5)
    unfreeze(net, body, "last stage")
    train_mode(net)
    training = {name for name, module in net.named_modules() if module.training and isinstance(module, nn.BatchNorm2d)}
    assert training
    assert all(name.startswith("backbone.layer4") for name in training)


def test_dropout_inside_a_backbone_is_off() -> None:
    module = timm.create_model("mobilenetv3_small_050", drop_rate=0.5, drop_path_rate=0.5)
    cast(Any, module).reset_classifier(0)
    body = Body(module, [], [], features=1024)
    net = Net(body, 5)
    unfreeze(net, body, "all")
    train_mode(net)
    drawn = [m for m in net.modules() if "drop" in type(m).__name__.lower() and m.training]
    assert not drawn
    assert net.backbone.get_submodule("conv_stem").training


@pytest.mark.parametrize("name", ["test_resnet", "levit_128s", "test_vit"])
def test_what_was_trained_comes_back(name: str) -> None:
    body = build(name, None, 1)
    net = Net(body, 5)
    unfreeze(net, body, "last stage")
    x = torch.rand(2, 3, side(net), side(net))
    for module in net.modules():
        for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
            if tensor.is_floating_point() and any(p.requires_grad for p in module.parameters(recurse=False)):
                tensor.data.add_(0.01 * torch.rand_like(tensor))
    train_mode(net)  # as training does; the other net has only ever been evaluated
    state = trained_state(net)
    kept = {name: tensor.clone() for name, tensor in state.items()}
    assert "head.weight" in state
    assert not {f"backbone.{name}" for name in body.stages[0]} & set(state)
    other = Net(build(name, None, 1), 5)
    unfreeze(other, body, "last stage")
    load_trained(other, state)
    with torch.no_grad():
        assert torch.equal(net.eval()(x), other.eval()(x))
        assert (net(x) != 0).any()
    net.head.weight.data.zero_()
    assert all(torch.equal(state[name], kept[name]) for name in kept)  # the state is no window on the net


def test_a_state_of_another_net_is_refused() -> None:
    with pytest.raises(AssertionError, match="elsewhere"):
        load_trained(Net(build("small_cnn", None, 1), 5), {"elsewhere": torch.zeros(1)})


def test_depth_counts_from_the_head() -> None:
    body = build("resnet18", None, 1)
    net = Net(body, 5)
    depth = depth_from_head(net)
    assert depth["head.weight"] == 0
    assert depth["backbone.layer4.1.conv1.weight"] == 1
    assert depth["backbone.layer4.0.conv1.weight"] == 2
    assert depth["backbone.layer1.0.conv1.weight"] == 8
    assert depth["backbone.conv1.weight"] == 9


def test_random_weights_are_the_seeds_and_leave_the_global_generator() -> None:
    before = torch.random.get_rng_state()
    one, same, other = (build("small_cnn", None, seed).module.state_dict() for seed in (2**64 - 1, 2**64 - 1, 3))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["blocks.0.0.weight"], other["blocks.0.0.weight"])


@pytest.mark.parametrize(
    ("name", "interpolation", "crop", "mean"),
    [
        ("resnet18.tv_in1k", "bilinear", 0.875, 0.485),
        ("resnet18.a1_in1k", "bicubic", 0.95, 0.485),
        ("tf_efficientnet_lite0", "bicubic", 0.875, 0.5),
        ("vit_tiny_patch16_224", "bicubic", 0.9, 0.5),
        ("small_cnn", "bicubic", 1.0, 0.5),
    ],
)
def test_the_contract_is_the_weights_own(
    bodies: dict[str, Body], name: str, interpolation: str, crop: float, mean: float
) -> None:
    contract = input_contract(body_of(bodies, name).module)
    assert (contract.interpolation, contract.crop, contract.mean[0]) == (interpolation, crop, mean)
    assert crop_share(name) == crop


def test_a_net_of_one_size_refuses_another() -> None:
    check_size("vit_tiny_patch16_224", 224)
    check_size("resnet18", 96)
    with pytest.raises(InputError, match="only images of 224 px, but `size` is 96"):
        check_size("vit_tiny_patch16_224", 96)
