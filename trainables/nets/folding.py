"""Fold frozen batch norms into the preceding convolutions, so that they cost nothing."""

import copy
from collections.abc import Iterable

import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

# Folding changes rounding: in float32 by about 1e-6 of the largest output.
_TOLERANCE = 1e-3


def fold_norms(module: nn.Module, children: Iterable[str], x: torch.Tensor) -> nn.Module:
    """Return a copy for evaluation in which every batch norm behind a convolution of the same child is folded.

    Norms are folded within a child only, so that a net that is cut between two children folds like the whole net. The
    order of convolutions and norms is traced on `x` (n, 3, h, w). If the copy's output on `x` differs, the module
    itself is returned.
    """
    if x.is_meta:
        return module
    folded = copy.deepcopy(module)
    for conv, norm in _pairs(module, tuple(f"{child}." for child in children), x):
        conv_layer, norm_layer = folded.get_submodule(conv), folded.get_submodule(norm)
        assert isinstance(conv_layer, nn.Conv2d)
        assert isinstance(norm_layer, nn.BatchNorm2d)
        folded.set_submodule(conv, fuse_conv_bn_eval(conv_layer, norm_layer))
        activation: nn.Module = nn.Identity()
        if isinstance(norm_layer, BatchNormAct2d):
            drop, act = norm_layer.drop, norm_layer.act
            assert isinstance(drop, nn.Module)
            assert isinstance(act, nn.Module)
            activation = nn.Sequential(drop, act)
        folded.set_submodule(norm, activation)
    with torch.no_grad():
        expected, got = module(x), folded(x)
    same = (got - expected).abs().max() <= _TOLERANCE * expected.abs().max()
    return folded.requires_grad_(False) if same else module


def _pairs(module: nn.Module, children: tuple[str, ...], x: torch.Tensor) -> list[tuple[str, str]]:
    """Return the names (convolution, norm) of every convolution whose output is the input of a batch norm."""
    producer: dict[int, str] = {}  # convolution by the id of its output
    outputs = []  # kept alive, so that no other tensor gets the same id
    pairs: list[tuple[str, str]] = []

    def hook(child: nn.Module, inputs: tuple, output: torch.Tensor, name: str) -> None:
        if isinstance(child, nn.Conv2d):
            outputs.append(output)
            producer[id(output)] = name
        elif id(inputs[0]) in producer:
            pairs.append((producer[id(inputs[0])], name))

    hooks = [
        child.register_forward_hook(lambda *call, name=name: hook(*call, name=name))
        for name, child in module.named_modules()
        if isinstance(child, nn.Conv2d | nn.BatchNorm2d)
    ]
    with torch.no_grad():
        module(x)
    for handle in hooks:
        handle.remove()
    child_of = {name: next(filter(name.startswith, children), None) for pair in pairs for name in pair}
    return [(conv, norm) for conv, norm in pairs if child_of[conv] is not None and child_of[conv] == child_of[norm]]
