"""Build nets from a timm backbone and a new head, and choose the parameters that train."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import timm
import torch
from timm.data.config import resolve_model_data_config
from timm.layers.drop import DropPath
from timm.models import get_pretrained_cfg, group_parameters
from torch import nn
from torch.nn import functional as F

from trainables import unfreeze_depth
from trainables.augmentation.views import InputContract
from trainables.errors import InputError
from trainables.nets.drop_path import PLACEHOLDER
from trainables.nets.weights import read

Groups = list[list[str]]

_PASSIVE = (nn.Identity, nn.Dropout, nn.Flatten, nn.ModuleList, nn.Sequential)


@dataclass(frozen=True)
class Body:
    """A backbone without its classifier: it ends after pooling.

    `stages` and `blocks` are the names of its parameters in timm's coarse and fine groups, ordered from the stem.
    """

    module: nn.Module
    stages: Groups
    blocks: Groups
    features: int


class Net(nn.Module):
    """A backbone, or its trainable part, with a linear head."""

    def __init__(self, body: Body, outputs: int) -> None:
        super().__init__()
        self.backbone = body.module
        self.blocks = body.blocks
        self.head = nn.Linear(body.features, outputs)
        # With zeros, the first predictions are uniform, so the first loss is exactly ln K.
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.logits(self.backbone(x))

    def logits(self, features: torch.Tensor, kept: torch.Tensor | None = None) -> torch.Tensor:
        """Return the logits (n, classes) of features (n, f); a single output z gives the logits (0, z).

        `kept` scales the head's weights, and has their shape.
        """
        weight = self.head.weight if kept is None else self.head.weight * kept
        outputs = F.linear(features, weight, self.head.bias)
        return outputs if outputs.shape[1] > 1 else F.pad(outputs, (1, 0))


def build(backbone: str, weights: Path | None, seed: int, drop_paths: bool = False) -> Body:
    """Build a backbone on the CPU in evaluation mode.

    Args:
        backbone: A name that timm knows.
        weights: The file of pretrained weights; None leaves all weights random.
        seed: Seed of the weights that are not in the file.
        drop_paths: Whether to build DropPath layers, see drop_path.py.

    Raises:
        InputError: The file does not fit the backbone, or the backbone has no feature vector per image.
    """
    options: dict[str, Any] = {"drop_path_rate": PLACEHOLDER} if drop_paths else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed & (2**63 - 1))
        module = timm.create_model(backbone, **options) if weights is None else original(backbone, weights, options)
        stages, blocks = _without_classifier(module)
        return Body(module.eval(), stages, blocks, _pooled_features(backbone, module))


def original(backbone: str, path: Path, options: Mapping[str, Any] = MappingProxyType({})) -> nn.Module:
    """Return the net as it was pretrained, with its original classifier.

    Raises:
        InputError: The file does not fit the net.
    """
    state = read(path, list(timm.create_model(backbone).state_dict()))
    try:
        body = timm.create_model(backbone, pretrained=True, pretrained_cfg_overlay={"state_dict": state}, **options)
    except (RuntimeError, KeyError) as error:
        raise InputError(
            f"The weights of {backbone} must fit timm's net with its classifier, but {path} does not: "
            f"{' '.join(str(error).split())[:200]}"
        ) from error
    weights_config(body).pop("state_dict")  # timm would keep this second copy for the lifetime of the net
    return body


def weights_config(module: nn.Module) -> dict[str, Any]:
    """Return timm's configuration of the weights: `mean`, `std`, `input_size`, `num_classes` and others."""
    return cast(dict[str, Any], module.pretrained_cfg)


def input_contract(backbone: nn.Module) -> InputContract:
    """Return the input contract from the configuration of a backbone's weights."""
    config = resolve_model_data_config(backbone)
    return InputContract(
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        interpolation=config["interpolation"],
        crop=config["crop_pct"],
    )


def crop_share(backbone: str) -> float:
    """Return the side of the evaluation's center crop, as a share of the shorter side, from the weights' config."""
    config = get_pretrained_cfg(backbone, allow_unregistered=True)
    return config.crop_pct if config is not None else 1.0


def outline(backbone: str) -> Body:
    """Return a backbone on the device "meta", where tensors have shapes but no values."""
    with torch.device("meta"):
        module = timm.create_model(backbone)
        stages, blocks = _without_classifier(module)
        return Body(module.eval(), stages, blocks, features=0)


def check_depth(backbone: str, depth: str) -> None:
    """Check an unfreeze depth against a backbone, without weights.

    Raises:
        InputError: The backbone has fewer parts than `depth` asks for.
    """
    if depth not in ("head", "all"):
        trainable_names(outline(backbone), depth)


def check_drop_path(backbone: str) -> None:
    """Check that a backbone supports stochastic depth.

    Raises:
        InputError: The backbone has no residual branches that can be dropped.
    """
    try:
        with torch.device("meta"):
            module = timm.create_model(backbone, drop_path_rate=PLACEHOLDER)
        has_branches = any(isinstance(layer, DropPath) for layer in module.modules())
    except TypeError:
        has_branches = False
    if not has_branches:
        raise InputError(f"{backbone} has no residual branches to drop: leave out drop_path, or use another backbone.")


def check_size(backbone: str, size: int) -> None:
    """Check that a backbone accepts an image size.

    Raises:
        InputError: The backbone accepts images of one other size only.
    """
    config = get_pretrained_cfg(backbone, allow_unregistered=True)
    if config is not None and config.fixed_input_size and size != config.input_size[-1]:
        raise InputError(
            f"{backbone} accepts only images of {config.input_size[-1]} px, but `size` is {size}: change one of them."
        )


def unfreeze(net: Net, body: Body, depth: str) -> None:
    """Make the head and the last parts of `body` trainable, as `depth` says, and freeze the rest of the net.

    Raises:
        InputError: The backbone has fewer parts than `depth` asks for.
    """
    trainable = trainable_names(body, depth)
    for name, parameter in net.named_parameters():
        parameter.requires_grad = name.removeprefix("backbone.") in trainable or name.startswith("head.")


def train_mode(net: Net) -> None:
    """Put trainable layers into training mode; a frozen BatchNorm always stays in evaluation mode.

    Layers without own parameters also stay in evaluation mode, because dropout inside a backbone would not be keyed.
    Attention that caches its biases in evaluation mode (levit) recomputes them in training mode.
    """
    for module in net.modules():  # a parent comes before its children, which train() sets too
        module.train(any(parameter.requires_grad for parameter in module.parameters(recurse=False)))


def trained_tensors(net: Net) -> dict[str, torch.Tensor]:
    """Return everything that training can change: trainable parameters, and buffers of the same modules."""
    training = {
        prefix
        for prefix, module in net.named_modules()
        if any(parameter.requires_grad for parameter in module.parameters(recurse=False))
    }
    state = net.state_dict().items()
    return {name: tensor for name, tensor in state if name.rpartition(".")[0] in training}


def trained_state(net: Net) -> dict[str, torch.Tensor]:
    """Return a copy of `trained_tensors`."""
    return {name: tensor.clone() for name, tensor in trained_tensors(net).items()}


def load_trained(net: Net, state: dict[str, torch.Tensor]) -> None:
    """Restore a state from `trained_state`."""
    result = net.load_state_dict(state, strict=False)
    assert not result.unexpected_keys, result.unexpected_keys


def depth_from_head(net: Net) -> dict[str, int]:
    """Return the distance of every parameter from the head, in blocks; the head itself has 0."""
    depths = {f"backbone.{name}": len(net.blocks) - i for i, names in enumerate(net.blocks) for name in names}
    return {name: depths.get(name, 0) for name, _ in net.named_parameters()}


def trainable_names(body: Body, depth: str) -> set[str]:
    """Return the names of the backbone's parameters that train at an unfreeze depth.

    Raises:
        InputError: `depth` is unknown, or the backbone has fewer parts than it asks for.
    """
    parsed = unfreeze_depth.parse(depth)
    if parsed == "head":
        return set()
    if parsed == "all":
        return {name for name, _ in body.module.named_parameters()}
    parts = {"stage": body.stages, "block": body.blocks, "layer": _layers(body.module)}[parsed.part]
    if not parts:
        raise InputError(
            f"`unfreeze` {depth!r} needs a backbone for which timm names {parsed.part}s, but this one has none: "
            "use 'head', 'last N layers' or 'all'."
        )
    if parsed.count > len(parts):
        raise InputError(
            f"`unfreeze` {depth!r} asks for more than the backbone's {len(parts)} {parsed.part}s: use fewer, or 'all'."
        )
    return {name for names in parts[-parsed.count :] for name in names}


def _without_classifier(module: nn.Module) -> tuple[Groups, Groups]:
    """Remove the classifier of a net; return the remaining parameters in timm's coarse and fine groups.

    Parameters in the same group as the classifier (a norm, a projection) join the last block. Some nets have no groups,
    and some have only fine groups.
    """
    coarse, fine = _groups(module, coarse=True), _groups(module, coarse=False)
    cast(Any, module).reset_classifier(0)
    left = {name for name, _ in module.named_parameters()}
    return _of_body(coarse, left), _of_body(fine, left)


def _groups(module: nn.Module, coarse: bool) -> Groups:
    try:
        by_depth = group_parameters(module, cast(Any, module).group_matcher(coarse=coarse))
    except Exception:  # some nets have no matcher, and some assert that `coarse` is false
        return []
    return [by_depth[depth] for depth in sorted(by_depth)]


def _of_body(groups: Groups, left: set[str]) -> Groups:
    kept = [[name for name in group if name in left] for group in groups]
    *before, last = kept or [[]]
    if not before:
        return []  # a single group divides nothing
    return [*before[:-1], before[-1] + last]


def _layers(backbone: nn.Module) -> list[list[str]]:
    """Return the parameter names of every layer, in order of definition; layers count as in Keras.

    Convolutions, norms, activations and pooling layers count. Global pooling does not: Keras base models lack it.
    """
    layers = []
    for prefix, module in backbone.named_modules():
        own = [f"{prefix}.{name}" for name, _ in module.named_parameters(recurse=False)]
        is_global_pool = "global_pool" in prefix.split(".")
        if own or not (is_global_pool or list(module.children()) or isinstance(module, _PASSIVE)):
            layers.append(own)
    return layers


def _pooled_features(backbone: str, module: nn.Module) -> int:
    """Return the number of pooled features, from a forward pass of one small image."""
    side = math.ceil(max(64, *resolve_model_data_config(module)["input_size"][1:]))
    with torch.no_grad():
        features = module.eval()(torch.zeros(1, 3, side, side))
    if not isinstance(features, torch.Tensor) or features.ndim != 2:
        raise InputError(f"{backbone} has no feature vector per image: use another backbone.")
    return features.shape[1]
