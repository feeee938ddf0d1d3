"""Grad-CAM: which part of an image speaks for a class, as far as a net's last map can tell.

Selvaraju et al. (2017), Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from trainables.errors import InputError
from trainables.nets.prefixes import children_as_they_run

Box = tuple[float, float, float, float]  # left, top, right, bottom


def heat_maps(net: nn.Module, inputs: torch.Tensor, classes: Sequence[int]) -> NDArray[np.float32]:
    """For each input of (n, 3, h, w) how much its parts speak for its class, shape (n, h, w).

    Asked is what lifts the class's logit above the mean of all, which is what the softmax sees: a logit alone may be
    below 0 for every class, and then nothing would speak for any. The smallest value of a map is taken to 0 and the
    largest to 1; where nothing speaks for the class all is 0.

    Raises:
        InputError: the net has no layer that keeps a map.
    """
    # It brings OpenCV and matplotlib: seconds that only explanations need.
    from pytorch_grad_cam import GradCAM

    layer = net.get_submodule(target_layer(net, inputs[:1]))
    cam = GradCAM(net, [layer], reshape_transform=partial(_as_map, net))
    targets = [partial(_margin, label=label) for label in classes]  # any callable will do, whatever the stubs say
    try:
        # The inputs' gradient is not needed, but without it a net that is frozen has none anywhere.
        return cam(inputs.detach().requires_grad_(), targets)  # pyright: ignore[reportArgumentType]
    finally:
        cam.activations_and_grads.release()


def _margin(logits: torch.Tensor, label: int) -> torch.Tensor:
    return logits[label] - logits.mean()


def target_layer(net: nn.Module, x: torch.Tensor) -> str:
    """The name of the last child before the pooling whose output is a map that the net's output depends on.

    A map has more than one cell. The last block of a transformer that reads its class token only is passed over:
    nothing depends on the other tokens any more.
    """
    maps = _maps(net, x.detach().requires_grad_())
    if not maps:
        raise InputError("No layer of this net keeps a map of the image, so Grad-CAM has nothing to show.")
    return next((name for name in reversed(maps) if maps[name]), list(maps)[-1])


def _maps(net: nn.Module, x: torch.Tensor) -> dict[str, bool]:
    """The children with a map, in running order, and whether the output depends on it."""
    outputs: dict[str, torch.Tensor] = {}

    def keep(module: nn.Module, inputs: tuple, output: Any, name: str) -> None:
        if _as_map(net, output) is not None:
            outputs[name] = output

    names = [name for name in children_as_they_run(net, x) if "global_pool" not in name.split(".")]
    hooks = [net.get_submodule(name).register_forward_hook(partial(keep, name=name)) for name in names]
    try:
        logits = net(x)
    finally:
        for hook in hooks:
            hook.remove()
    if not outputs:
        return {}
    # Of random weights: a norm's outputs add up to a constant, whatever they are.
    weights = torch.randn(logits.shape, generator=torch.Generator().manual_seed(0)).to(logits.device)
    gradients = torch.autograd.grad((logits * weights).sum(), list(outputs.values()), allow_unused=True)
    as_maps = [None if gradient is None else _as_map(net, gradient) for gradient in gradients]
    return {name: bool(each is not None and each.any()) for name, each in zip(outputs, as_maps, strict=True)}


def _as_map(net: nn.Module, output: Any) -> torch.Tensor | None:
    """A layer's output as (n, c, h, w); None where it is no map of more than one cell.

    Tokens are a square, row by row, behind those that are not of the image.
    """
    if not isinstance(output, torch.Tensor):
        return None
    if output.ndim == 3:
        output = output[:, getattr(net, "num_prefix_tokens", 0) :].transpose(1, 2)
        side = math.isqrt(output.shape[2])
        if side * side != output.shape[2]:
            return None
        output = output.unflatten(2, (side, side))
    elif output.ndim == 4 and getattr(net, "output_fmt", "NCHW") == "NHWC":
        output = output.permute(0, 3, 1, 2)
    return output if output.ndim == 4 and min(output.shape[2:]) > 1 else None


def energy_in_box(heat: NDArray[np.floating], box: Box) -> float:
    """The share of a map's sum (h, w) that lies in `box`, given in the map's cells; nan where the map is all 0.

    A cell that the box cuts counts in part. Wang et al. (2020), Score-CAM, call it the energy-based pointing game.
    """
    left, top, right, bottom = box
    total = float(heat.sum(dtype=np.float64))
    if total <= 0:
        return math.nan
    inside = _covered(heat.shape[0], top, bottom) @ heat.astype(np.float64) @ _covered(heat.shape[1], left, right)
    return float(inside) / total


def box_share(shape: tuple[int, int], box: Box) -> float:
    """The control: the share that `box` has of the area, so of a map that knows nothing of the image."""
    return energy_in_box(np.ones(shape), box)


def _covered(cells: int, low: float, high: float) -> NDArray[np.float64]:
    """The share of each cell [i, i + 1] that lies between `low` and `high`."""
    i = np.arange(cells)
    return np.clip(np.minimum(i + 1, high) - np.maximum(i, low), 0.0, 1.0)
