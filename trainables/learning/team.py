"""Data-parallel training of one trial: each process computes its share of every batch; all have the same weights.

The processes exchange gradients, the moments of trainable batch norms, and the logits of evaluations through
torch.distributed. The caller initializes the process group.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import distributed, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.modules.batchnorm import _BatchNorm

Items = NDArray[np.int64]


@dataclass(frozen=True)
class Team:
    """One of `size` processes; ranks count from 0."""

    rank: int = 0
    size: int = 1

    def share(self, draws: int, batch_size: int) -> Items:
        """Return the positions (draws / size,) of this process's share of every batch, among the draws of an epoch."""
        return np.arange(draws).reshape(-1, self.size, batch_size // self.size)[:, self.rank].ravel()

    def average_gradients(self, weights: Iterable[nn.Parameter]) -> None:
        """Average the gradients over the processes; shares are equal, so this is the gradient of the whole batch."""
        if self.size == 1:
            return
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        distributed.all_reduce(flat)
        flat /= self.size
        for gradient, mean in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def gathered(self, compute: Callable[[Items], torch.Tensor], items: Items) -> torch.Tensor:
        """Return `compute(items)`, shape (n, ...), where every process computes its part of the rows."""
        if self.size == 1:
            return compute(items)
        parts = np.array_split(items, self.size)
        own, longest = compute(parts[self.rank]), len(parts[0])
        padded = torch.cat([own, own.new_zeros(longest - len(own), *own.shape[1:])])
        gathered = [torch.empty_like(padded) for _ in parts]
        distributed.all_gather(gathered, padded)
        return torch.cat([rows[: len(part)] for rows, part in zip(gathered, parts, strict=True)])

    def wait(self) -> None:
        """Wait until all processes have reached this barrier."""
        if self.size > 1:
            distributed.barrier()

    def synchronize_norms(self, net: nn.Module) -> None:
        """Synchronize batch norms in training mode over the team; torch's SyncBatchNorm needs a GPU."""
        if self.size == 1:
            return
        for module in net.modules():
            if isinstance(module, _BatchNorm):
                forward = partial(_batch_norm, module, module.forward, self.size)
                module.forward = forward  # pyright: ignore[reportAttributeAccessIssue]


def _batch_norm(module: Any, alone: Callable[[torch.Tensor], torch.Tensor], size: int, x: torch.Tensor) -> torch.Tensor:
    if not module.training:
        return alone(x)
    # Under autocast the input may be in bfloat16. Its moments are taken in float32, as torch's own batch norm does.
    precision, x = x.dtype, x.float()
    over, shape = [0, *range(2, x.dim())], [1, -1, *[1] * (x.dim() - 2)]
    mean = all_reduce(x.mean(over)) / size
    variance = all_reduce((x - mean.view(shape)).square().mean(over)) / size
    with torch.no_grad():
        count = x.numel() // x.shape[1] * size
        module.num_batches_tracked += 1
        module.running_mean.lerp_(mean, module.momentum)
        module.running_var.lerp_(variance * count / (count - 1), module.momentum)
    x = (x - mean.view(shape)) * (variance + module.eps).rsqrt().view(shape)
    x = (x * module.weight.view(shape) + module.bias.view(shape)).to(precision)
    # timm's batch norms include an activation.
    return module.act(module.drop(x)) if hasattr(module, "act") else x


ALONE = Team()
