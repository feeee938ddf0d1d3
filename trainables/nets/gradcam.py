"""Grad-CAM: heat maps of the image regions that raise the logit of a class, from a net's last feature map.

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

Box = tuple[float, float, float, float]  # left, top, right, bottom, in cells of a map


def heat_maps(net: nn.Module, inputs: torch.Tensor, classes: Sequence[int]) -> NDArray[np.float32]:
    """Return a heat map (n, h, w) for the class of every input (n, 3, h, w).

    The target is the class logit minus the mean logit, because the softmax ignores a shift of all logits. (The logits
    of all classes may be negative.) Every map is scaled from 0 to 1; it is 0 everywhere if nothing supports the class.

    Raises:
        InputError: The net has no layer with a feature map.
    """
    # Imports OpenCV and matplotlib, which takes seconds.
    from pytorch_grad_cam import GradCAM

    layer = net.get_submodule(target_layer(net, inputs[:1]))
    cam = GradCAM(net, [layer], reshape_transform=partial(_as_map, net))
    targets = [partial(_margin, label=label) for label in classes]  # any callable works, although the stubs disagree
    try:
        # The gradient of the inputs is not needed, but without it a frozen net has no gradients at all.
        return cam(inputs.detach().requires_grad_(), targets)  # pyright: ignore[reportArgumentType]
    finally:
        cam.activations_and_grads.release()


def _margin(logits: torch.Tensor, label: int) -> torch.Tensor:
    return logits[label] - logits.mean()


def target_layer(net: nn.Module, x: torch.Tensor) -> str:
    """Return the name of the last child before pooling with a feature map that the net's output depends on.

    A feature map has more than one cell. If a transformer reads only its class token, its last block is skipped,
    because the output no longer depends on the other tokens there.

    Raises:
        InputError: The net has no layer with a feature map.
    """
    maps = _maps(net, x.detach().requires_grad_())
    if not maps:
        raise InputError(
            "No layer of this net has a feature map, so Grad-CAM has nothing to show: use another backbone."
        )
    return next((name for name in reversed(maps) if maps[name]), list(maps)[-1])


def _maps(net: nn.Module, x: torch.Tensor) -> dict[str, bool]:
    """Return the children with a feature map, in execution order, and whether the output depends on the map."""
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
    # A weighted sum with random weights: the plain sum of a norm's outputs may be constant.
    weights = torch.randn(logits.shape, generator=torch.Generator().manual_seed(0)).to(logits.device)
    gradients = torch.autograd.grad((logits * weights).sum(), list(outputs.values()), allow_unused=True)
    as_maps = [None if gradient is None else _as_map(net, gradient) for gradient in gradients]
    return {name: bool(heat is not None and heat.any()) for name, heat in zip(outputs, as_maps, strict=True)}


def _as_map(net: nn.Module, output: Any) -> torch.Tensor | None:
    """Return a layer's output as (n, c, h, w); None if it is not a feature map of more than one cell.

    Image tokens form a square, row by row, behind the prefix tokens.
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
    """Return the share of the sum of a map (h, w) that is inside `box`; nan if the map is 0 everywhere.

    Cells on the edge of the box count in part. Wang et al. (2020), Score-CAM, call this the energy-based pointing game.
    """
    left, top, right, bottom = box
    total = float(heat.sum(dtype=np.float64))
    if total <= 0:
        return math.nan
    inside = _covered(heat.shape[0], top, bottom) @ heat.astype(np.float64) @ _covered(heat.shape[1], left, right)
    return float(inside) / total


def box_share(shape: tuple[int, int], box: Box) -> float:
    """Return the share of the area inside `box`: the value of `energy_in_box` for a uniform map."""
    return energy_in_box(np.ones(shape), box)


def _covered(cells: int, low: float, high: float) -> NDArray[np.float64]:
    """Return the share of every cell [i, i + 1] that lies between `low` and `high`, shape (cells,)."""
    i = np.arange(cells)
    return np.clip(np.minimum(i + 1, high) - np.maximum(i, low), 0.0, 1.0)
