"""The net of a trial in two parts: a frozen prefix that trials share, and the trainable rest."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch

from trainables.config import TrialConfig
from trainables.keyed import key
from trainables.nets.drop_path import KeyedDropPath, key_drop_paths
from trainables.nets.models import Net, build, unfreeze
from trainables.nets.prefixes import INPUT, Frozen
from trainables.nets.weights import file_hash, find
from trainables.place import Place


@dataclass(frozen=True)
class DividedNet:
    """`net` maps the activations of `frozen` at `cut` to logits, through a new head."""

    frozen: Frozen
    cut: str
    net: Net
    drop_paths: Sequence[KeyedDropPath] = ()  # of `net`, in execution order


def build_divided(config: TrialConfig, place: Place, classes: int) -> DividedNet:
    """Build a trial's net: the frozen part ends where `config.unfreeze` begins.

    Raises:
        InputError: The backbone is unknown, has no weights here, or has fewer parts than `unfreeze` asks for.
        RuntimeError: The weights file on this node is not the one of the study.
    """
    frozen = _frozen(config, place)
    # Mixing blends the views of two images, so no activations behind the input can be shared.
    cut = frozen.cut(config.unfreeze) if config.mixing == "none" else INPUT
    net = _net(config, frozen, cut, classes)
    unfreeze(net, frozen.body, config.unfreeze)
    drop_paths = [] if config.drop_path is None else key_drop_paths(net.backbone, config.drop_path)
    return DividedNet(frozen, cut, net, drop_paths)


def whole_net(config: TrialConfig, place: Place, classes: int) -> Net:
    """Return the undivided net, from images (n, 3, h, w) to logits (n, classes), as it is before training.

    Raises:
        InputError: The backbone is unknown, or has no weights here.
        RuntimeError: The weights file on this node is not the one of the study.
    """
    return _net(config, _frozen(config, place), INPUT, classes)


def _net(config: TrialConfig, frozen: Frozen, cut: str, classes: int) -> Net:
    outputs = 1 if config.loss == "binary_cross_entropy" else classes
    return Net(replace(frozen.body, module=frozen.rest(cut)), outputs)


def _frozen(config: TrialConfig, place: Place) -> Frozen:
    """Return the backbone with its initial weights; a weights file must have the hash that the study recorded."""
    path, seed = None, key("initialisation", config.study_seed, config.seed)
    if config.weights == "pretrained":
        path, seed = find(config.backbone, place.weights), 0
        if (digest := file_hash(path)) != config.weights_hash:
            raise RuntimeError(
                f"The weights of {config.backbone} must have the SHA-256 of the study ({config.weights_hash[:12]}...), "
                f"but {path} has {digest[:12]}...: copy the study's file to this node."
            )
    drop_paths = config.drop_path is not None
    return _frozen_backbone(config.backbone, path, seed, config.size, config.device, config.channels_last, drop_paths)


# The backbones of the last trials stay on the device, because studies alternate between theirs.
@lru_cache(maxsize=4)
def _frozen_backbone(
    backbone: str, weights: Path | None, seed: int, size: int, device: str, channels_last: bool, drop_paths: bool
) -> Frozen:
    body = build(backbone, weights, seed, drop_paths)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    # torch's stubs have no overload of `to` with both a device and a memory format.
    module = body.module.to(device=device, memory_format=layout)  # pyright: ignore[reportCallIssue]
    return Frozen(replace(body, module=module.requires_grad_(False)), size)
