"""Where a backbone's frozen part ends, and that it gives what the whole gives."""

import pytest
import torch
from torch import nn

from trainables.nets.folding import fold_norms
from trainables.nets.models import Body, build
from trainables.nets.prefixes import INPUT, POOLED, Frozen, cast_weights

pytestmark = pytest.mark.usefixtures("one_thread")


def lively(name: str) -> Body:
    """A backbone whose norms do something: new ones leave their input as it is."""
    body = build(name, None, 1)
    generator = torch.Generator().manual_seed(2)
    for norm in body.module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            assert norm.running_mean is not None
            assert norm.running_var is not None
            norm.running_mean.normal_(0, 0.1, generator=generator)
            norm.running_var.uniform_(0.5, 2.0, generator=generator)
            nn.init.uniform_(norm.weight, 0.5, 1.5, generator=generator)
            nn.init.normal_(norm.bias, 0, 0.1, generator=generator)
    return body


@pytest.mark.parametrize(
    ("name", "size", "cuts"),
    [
        ("tf_efficientnet_lite0", 64, ["pooled", "blocks.5.3", "blocks.5.3", "blocks.5.1", "input"]),
        ("mobilenetv2_100", 64, ["pooled", "blocks.5.2", "blocks.5.2", "blocks.5.0", "input"]),
        ("resnet18", 64, ["pooled", "layer4.0", "layer3.1", "layer3.0", "input"]),
        ("densenet121", 64, ["pooled", *["features.transition3"] * 3, "input"]),
        ("convnext_atto", 64, ["pooled", "stages.2", "stages.2", "stages.1", "input"]),
        # A position embedding is added outside of the children: no division is exact.
        ("test_vit", 160, ["pooled", "input", "input", "input", "input"]),
    ],
)
def test_where_a_backbone_is_divided(name: str, size: int, cuts: list[str]) -> None:
    body = lively(name)
    frozen = Frozen(body, size)
    depths = ("head", "last block", "last stage", "last 20 layers", "all")
    assert [frozen.cut(depth) for depth in depths] == cuts
    x = torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        whole, pooled = body.module(x), frozen.segment(INPUT, POOLED)(x)
        for cut in sorted({*cuts} - {INPUT, POOLED}, key=frozen.position):
            activation = frozen.segment(INPUT, cut)(x)
            torch.testing.assert_close(frozen.rest(cut)(activation), whole, rtol=1e-3, atol=1e-4)
            assert torch.equal(frozen.segment(cut, POOLED)(activation), pooled), cut  # whichever way it came
    assert torch.equal(frozen.rest(INPUT)(x), whole)


@pytest.mark.parametrize(
    ("name", "norms", "left"),
    [("tf_efficientnet_lite0", 49, 2), ("resnet18", 20, 1), ("densenet121", 121, 63), ("convnext_atto", 0, 0)],
)
def test_norms_are_folded_within_a_child(name: str, norms: int, left: int) -> None:
    body = lively(name)
    frozen = Frozen(body, 64)
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    folded = fold_norms(body.module, frozen.children, x)

    def count(module: nn.Module) -> int:
        return sum(isinstance(child, nn.BatchNorm2d) for child in module.modules())

    assert (count(body.module), count(folded)) == (norms, left)
    with torch.no_grad():
        torch.testing.assert_close(folded(x), body.module(x), rtol=1e-3, atol=1e-4)
    assert not any(parameter.requires_grad for parameter in folded.parameters())


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "resnet18", "densenet121", "convnext_atto", "test_vit"])
def test_weights_are_cast_once_without_changing_a_bit(name: str) -> None:
    frozen = Frozen(lively(name), 160)
    x = torch.randn(3, 3, 160, 160, generator=torch.Generator().manual_seed(1))
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        segments = (frozen.segment(INPUT, POOLED, precision) for precision in ("float32", "bfloat16"))
        of_float, of_cast = (segment(x) for segment in segments)
    assert torch.equal(of_float, of_cast)
    cast = cast_weights(frozen.body.module, x)
    assert cast is not frozen.body.module
    assert {weight.dtype for weight in frozen.body.module.parameters()} == {torch.float32}, "the original is kept"


def test_a_layer_that_computes_its_weights_keeps_them() -> None:
    class Standardized(nn.Conv2d):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return nn.functional.conv2d(input, self.weight - self.weight.mean())

    x, net = torch.randn(2, 3, 8, 8), nn.Sequential(Standardized(3, 4, 3), nn.Conv2d(4, 4, 3))
    cast = cast_weights(net, x)
    assert [next(layer.parameters()).dtype for layer in cast.children()] == [torch.float32, torch.bfloat16]

    class Norm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.linear.weight.norm()  # rounded to bfloat16 it would be another

    other = Norm()
    assert cast_weights(other, torch.randn(2, 3, 8, 8)) is other


class Twice(nn.Module):
    """Its convolution's output is used with and without the norm, so folding would be wrong."""

    def __init__(self) -> None:
        super().__init__()
        norm = nn.BatchNorm2d(4)
        self.block = nn.ModuleDict({"conv": nn.Conv2d(3, 4, 1), "norm": norm})
        nn.init.constant_(norm.weight, 3.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.block["conv"](x)
        return (x + self.block["norm"](x)).mean((2, 3))


def test_where_folding_would_change_the_net_it_is_left_out() -> None:
    net = Twice().eval()
    assert fold_norms(net, ["block"], torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))) is net


def test_memory_that_runs_out_while_a_cut_is_tried_is_not_taken_for_an_inexact_division() -> None:
    frozen = Frozen(lively("resnet18"), 32)

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    hook = frozen.body.module.register_forward_pre_hook(full)
    with pytest.raises(torch.OutOfMemoryError):
        frozen.cut("last stage")
    hook.remove()
    assert frozen.cut("last stage") == "layer3.1", "nothing was remembered"
