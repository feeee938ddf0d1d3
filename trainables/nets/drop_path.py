"""Stochastic depth (Huang et al. 2016) with keyed masks: only the key of an image decides which branches it skips."""

import torch
from timm.layers.drop import DropPath
from torch import nn

# Backbones are built with this rate, so that they have DropPath layers; every trial then sets its own rate.
PLACEHOLDER = 0.5


class KeyedDropPath(nn.Module):
    """Scale the branch of each image by `scale` (n,), where 0 skips it; None is the identity."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.scale: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if self.scale is None else x * self.scale.to(x.dtype).view(-1, *[1] * (x.ndim - 1))


def key_drop_paths(module: nn.Module, rate: float) -> list[KeyedDropPath]:
    """Replace timm's DropPath layers with keyed layers, and return these in execution order.

    `rate` is the rate of the last layer. Earlier layers have smaller rates, by timm's linear rule.
    """
    keyed = []
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, DropPath):
                keyed.append(KeyedDropPath(child.drop_prob * rate / PLACEHOLDER))
                setattr(parent, name, keyed[-1])
    return keyed
