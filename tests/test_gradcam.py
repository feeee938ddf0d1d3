"""Heat maps: that the right layer is looked at, and that they say what a net is known to look at."""

import math
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
import timm
import torch
from torch import nn

from trainables.errors import InputError
from trainables.nets import scratch_nets  # noqa: F401  (timm learns their names)
from trainables.nets.gradcam import box_share, energy_in_box, heat_maps, target_layer
from trainables.nets.scratch_nets import ScratchNet

pytestmark = pytest.mark.usefixtures("one_thread")

Make = Callable[[], nn.Module]
SWIN: dict[str, Any] = {
    "embed_dim": 16,
    "depths": (1, 1, 1, 1),
    "num_heads": (1, 2, 2, 4),
    "img_size": 64,
    "window_size": 2,
}
VIT: dict[str, Any] = {"embed_dim": 32, "depth": 3, "num_heads": 2, "img_size": 64}
# What makes the net, the side of its images, and the last child with a map by hand.
NETS: dict[str, tuple[Make, int, str]] = {
    "small_cnn": (lambda: timm.create_model("small_cnn", num_classes=12), 32, "blocks.2.3"),
    "mobilenetv2": (lambda: timm.create_model("mobilenetv2_035", num_classes=12), 64, "bn2"),
    "efficientnet": (lambda: timm.create_model("test_efficientnet", num_classes=12), 64, "bn2"),
    "resnet18": (lambda: timm.create_model("resnet18", num_classes=12), 64, "layer4.1"),
    "densenet": (
        lambda: timm.create_model("densenet121", num_classes=12, growth_rate=8, block_config=(2, 2, 2, 2)),
        64,
        "features.norm5",
    ),
    "convnext": (lambda: timm.create_model("test_convnext", num_classes=12), 64, "norm_pre"),
    # The class token reads the other tokens in the last block only, so what counts is what comes into it.
    "vit": (lambda: timm.create_model("vit_tiny_patch16_224", num_classes=12, **VIT), 64, "blocks.1"),
    "vit without a class token": (
        lambda: timm.create_model(
            "vit_tiny_patch16_224", num_classes=12, class_token=False, global_pool="avg", fc_norm=False, **VIT
        ),
        64,
        "norm",
    ),
    "swin": (lambda: timm.create_model("swin_tiny_patch4_window7_224", num_classes=12, **SWIN), 64, "norm"),
}


def made(make: Make, seed: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make().eval().requires_grad_(False)


def noise(side: int) -> torch.Tensor:
    return torch.randn(4, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", NETS)
def test_every_kind_of_net_has_a_map_of_the_images_size_that_its_weights_decide(name: str) -> None:
    make, side, layer = NETS[name]
    net, x = made(make, 0), noise(side)
    assert target_layer(net, x[:1]) == layer
    classes = net(x).argmax(dim=1).tolist()  # what speaks for these outweighs what speaks against
    maps = heat_maps(net, x, classes)
    assert maps.shape == (4, side, side)
    assert maps.min() >= 0
    assert 0.99 < maps.max() <= 1
    assert not net.get_submodule(layer)._forward_hooks
    # The control of Adebayo et al. (2018): a map that other weights would give too explains nothing.
    assert np.abs(maps - heat_maps(made(make, 1), x, classes)).max() > 0.2


class Colours(nn.Module):
    """Its classes are how much red and how much blue there is."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 2, kernel_size=1, bias=False)
        self.features.weight.data = torch.tensor([[1.0, 0, 0], [0, 0, 1.0]])[..., None, None]
        self.global_pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(2, 2, bias=False)
        self.classifier.weight.data = torch.eye(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.global_pool(self.features(x)))


def test_the_heat_is_where_the_evidence_is() -> None:
    picture = torch.zeros(1, 3, 20, 30)
    picture[0, 0, 2:8, 3:12] = 1  # red
    picture[0, 2, 10:16, 20:25] = 1  # blue
    red, blue = heat_maps(Colours(), picture.repeat(2, 1, 1, 1), [0, 1])
    assert red.shape == (20, 30)
    assert energy_in_box(red, (3, 2, 12, 8)) == pytest.approx(1)
    assert energy_in_box(blue, (20, 10, 25, 16)) == pytest.approx(1)
    assert energy_in_box(blue, (3, 2, 12, 8)) == 0


def test_where_nothing_speaks_for_the_class_the_map_is_zero() -> None:
    net = Colours()
    net.classifier.weight.data.zero_()
    heat = heat_maps(net, torch.rand(1, 3, 8, 8), [1])[0]
    assert not heat.any()
    assert math.isnan(energy_in_box(heat, (0, 0, 4, 4)))


def test_a_net_without_a_map_is_refused() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 2))
    with pytest.raises(InputError, match="No layer"):
        heat_maps(net, torch.rand(1, 3, 8, 8), [0])


def test_energy_in_a_box_by_hand() -> None:
    heat = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert energy_in_box(heat, (0, 0, 2, 2)) == 1
    assert energy_in_box(heat, (1, 0, 2, 1)) == pytest.approx(2 / 10)
    assert energy_in_box(heat, (0.5, 0, 2, 1)) == pytest.approx((0.5 + 2) / 10)
    assert energy_in_box(heat, (-5, 0.5, 1, 9)) == pytest.approx((0.5 + 3) / 10)
    assert energy_in_box(heat, (5, 5, 9, 9)) == 0
    assert box_share((2, 2), (0.5, 0, 2, 1)) == pytest.approx(1.5 / 4)


def test_what_all_classes_share_speaks_for_none() -> None:
    net, x = made(NETS["small_cnn"][0], 3), noise(32)
    before = heat_maps(net, x, [1, 2, 3, 4])
    with torch.no_grad():  # the same number more in every logit of an image: the softmax sees no difference
        classifier = cast(ScratchNet, net).get_classifier()
        assert isinstance(classifier, nn.Linear)
        classifier.weight -= torch.linspace(0, 5, classifier.in_features)
    np.testing.assert_allclose(heat_maps(net, x, [1, 2, 3, 4]), before, atol=1e-3)
