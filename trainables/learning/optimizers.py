"""Optimizers, learning-rate schedules and penalties."""

import math
from collections.abc import Mapping

import torch
from torch import nn

from trainables.config import TrialConfig
from trainables.fields import PENALTIES
from trainables.nets.models import Net, depth_from_head


def build_optimizer(config: TrialConfig, net: Net) -> torch.optim.Optimizer:
    """Return the optimizer of the trainable parameters; a group's `base` is its learning rate before the schedule.

    With `layer_decay` below 1, a block's learning rate shrinks with its distance from the head.
    """
    depths = depth_from_head(net)
    by_depth: dict[int, list[nn.Parameter]] = {}
    for name, parameter in net.named_parameters():
        if parameter.requires_grad:
            by_depth.setdefault(depths[name], []).append(parameter)
    groups = [
        {"params": parameters, "base": config.learning_rate * config.layer_decay**depth}
        for depth, parameters in sorted(by_depth.items())
    ]
    rate, decay, momentum = config.learning_rate, config.weight_decay, config.momentum
    match config.optimizer:
        case "adam":
            return torch.optim.Adam(groups, lr=rate, weight_decay=decay, fused=True)
        case "adamw":
            return torch.optim.AdamW(groups, lr=rate, weight_decay=decay, fused=True)
        case "sgd":
            return torch.optim.SGD(groups, lr=rate, momentum=momentum, weight_decay=decay, fused=True)
        case "rmsprop":
            # torch has no fused one
            return torch.optim.RMSprop(groups, lr=rate, momentum=momentum, weight_decay=decay)
    raise AssertionError(config.optimizer)


def schedule(config: TrialConfig, step: int) -> float:
    """Return the schedule's factor on every learning rate; `step` counts from 0 over the whole phase."""
    warmup = config.warmup_epochs * config.steps_per_epoch
    if step < warmup:
        return (step + 1) / warmup
    step -= warmup
    match config.schedule:
        case "cosine":
            return 0.5 * (1 + math.cos(math.pi * step / (config.epochs * config.steps_per_epoch - warmup)))
        case "step":
            return config.step_factor ** (step // (config.step_every * config.steps_per_epoch))
    return 1.0


def set_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set the learning rate of every parameter group to its base times `factor`."""
    for group in optimizer.param_groups:
        group["lr"] = group["base"] * factor


def penalty(config: TrialConfig, net: Net, start: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Return the penalty, a scalar: lambda * sum(w^2) or lambda * sum(|w|) over trainable weights, not biases or norms.

    As in Keras, there is no factor 1/2, so a lambda published for Keras means the same here. `l2_sp` penalizes the
    distance from the weights `start` (Li et al. 2018); the head starts at zero.
    """
    total = torch.zeros((), device=net.head.weight.device)
    if all(getattr(config, name) is None for name in PENALTIES):
        return total
    for name, parameter in net.named_parameters():
        if parameter.requires_grad and parameter.ndim > 1:
            if config.l2 is not None:
                total = total + config.l2 * parameter.square().sum()
            if config.l2_sp is not None:
                total = total + config.l2_sp * (parameter - start[name]).square().sum()
            if config.l1 is not None:
                total = total + config.l1 * parameter.abs().sum()
    return total


def take_step(optimizer: torch.optim.Optimizer) -> None:
    """Take a step. The gradients are first put into the memory layout of their weights.

    A fused optimizer goes through the memory of weight, gradient and state at once, and torch does not check on a CPU
    that their layouts agree. Autograd usually, but not always, gives a gradient the layout of its weight.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None and parameter.grad.stride() != parameter.stride():
                parameter.grad = _in_layout_of(parameter, parameter.grad)
    optimizer.step()


def _in_layout_of(parameter: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(parameter, requires_grad=False).copy_(values)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Return a copy of the optimizer's state as named tensors, for checkpoints without pickle."""
    return {
        f"{index}.{name}": value.clone()
        for index, memory in optimizer.state_dict()["state"].items()
        for name, value in memory.items()
        if isinstance(value, torch.Tensor)
    }


def load_optimizer_tensors(optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    """Restore a state from `optimizer_tensors`, in the memory layout of the weights.

    The parameter groups are not changed.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    memory: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        index, _, name = key.partition(".")
        parameter = parameters[int(index)]
        # a copy, because optimizer steps change it in place
        copied = _in_layout_of(parameter, value) if value.shape == parameter.shape else value.clone()
        memory.setdefault(int(index), {})[name] = copied
    optimizer.load_state_dict({"state": memory, "param_groups": optimizer.state_dict()["param_groups"]})
