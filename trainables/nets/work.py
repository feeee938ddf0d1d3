"""Count the operations of a backbone before and behind a cut, without weights or images."""

from dataclasses import dataclass
from functools import cache

import torch
from torch import nn

from trainables.errors import InputError
from trainables.nets.models import outline, trainable_names
from trainables.nets.prefixes import INPUT, Frozen


@dataclass(frozen=True)
class Work:
    """The work per image; multiply-adds are those of convolutions and linear layers."""

    frozen: float  # 1e9 multiply-adds before the cut
    trained: float  # 1e9 multiply-adds behind the cut
    values: int  # size of the activation at the cut


@cache
def work_of(backbone: str, depth: str, size: int) -> Work:
    """Return the work for an image of `size` px at an unfreeze depth.

    Raises:
        InputError: The backbone has fewer parts than `depth` asks for.
    """
    frozen = _outlined(backbone, size)
    cut = frozen.cut(depth)
    x = torch.empty(1, 3, size, size, device="meta")
    if cut == INPUT:
        return Work(0.0, _multiply_adds(frozen.body.module, x), x.numel())
    with torch.no_grad():
        activation = frozen.segment(INPUT, cut)(x)
    behind = _multiply_adds(frozen.rest(cut), activation)
    return Work(_multiply_adds(frozen.body.module, x) - behind, behind, activation.numel())


@cache
def parameters_of(backbone: str, depth: str, size: int, outputs: int) -> tuple[int, int]:
    """Return the number of all and of trainable parameters of a backbone with a head of `outputs` outputs."""
    frozen = _outlined(backbone, size)
    trainable = trainable_names(frozen.body, depth)
    counts = {name: parameter.numel() for name, parameter in frozen.body.module.named_parameters()}
    with torch.no_grad():
        features = frozen.body.module(torch.empty(1, 3, size, size, device="meta")).shape[1]
    head = (features + 1) * outputs
    return sum(counts.values()) + head, sum(counts[name] for name in trainable) + head


def check_runs(backbone: str, size: int) -> None:
    """Check that a backbone runs on images of `size` px, without weights.

    Raises:
        InputError: The backbone does not run.
    """
    try:
        _outlined(backbone, size)
    except Exception as problem:  # every net has its own errors for shapes that do not fit
        reason = " ".join(f"{type(problem).__name__}: {problem}".split())[:200]
        raise InputError(
            f"Backbone {backbone} does not run on images of {size} px ({reason}): use another size or backbone."
        ) from problem


@cache
def _outlined(backbone: str, size: int) -> Frozen:
    return Frozen(outline(backbone), size)


def _multiply_adds(module: nn.Module, x: torch.Tensor) -> float:
    total = 0

    def count(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal total
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        # Every output value is a sum over one filter, or over one row of the weights.
        total += output.numel() * layer.weight[0].numel()

    hooks = [
        layer.register_forward_hook(count) for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Linear)
    ]
    with torch.no_grad():
        module(x)
    for handle in hooks:
        handle.remove()
    return total / 1e9
