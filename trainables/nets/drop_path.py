"""Stochastic depth (Huang et al. 2016) with keyed masks: which branches an image skips depends on its key alone."""

import torch
from timm.layers.drop import DropPath
from torch import nn

# What a backbone is built with so that its branches can be skipped; each trial then sets its own rate.
PLACEHOLDER = 0.5


class KeyedDropPath(nn.Module):
    """Scales the branch of each image by `scale`, shape (n,): 0 where it is skipped; None passes all as they are."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.scale: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if self.scale is None else x * self.scale.to(x.dtype).view(-1, *[1] * (x.ndim - 1))


def key_drop_paths(module: nn.Module, rate: float) -> list[KeyedDropPath]:
    """Put keyed ones in the place of timm's, in running order; `rate` is the last one's, as timm's rule has it."""
    keyed = []
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, DropPath):
                keyed.append(KeyedDropPath(child.drop_prob * rate / PLACEHOLDER))
                setattr(parent, name, keyed[-1])
    return keyed
