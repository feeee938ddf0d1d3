"""Nets to train from scratch, registered in timm as backbones: baselines for transfer learning."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import nn


@dataclass(frozen=True, kw_only=True)
class Description:
    """Blocks of convolution, activation and 2x pooling, then average pooling to a grid, then dense layers.

    The grid lets a net take images of any size and keeps spatial information.
    """

    widths: tuple[int, ...]
    size: int  # side of the original input, in pixels
    grid: int
    hidden: tuple[int, ...] = ()  # dense layers before the classifier
    kernel: int = 3
    padding: int = 1
    norm: bool = False  # batch norm after each convolution
    activation: type[nn.Module] = nn.ReLU
    pooling: type[nn.Module] = nn.MaxPool2d
    he: bool = False  # initialization of He et al. 2015 instead of PyTorch's default


DESCRIPTIONS = {
    "small_cnn": Description(widths=(16, 32, 64), size=64, grid=3, norm=True),
    # LeCun et al. 1998, with three channels; at 32 px its last maps have 5 x 5 cells, as in the paper.
    "lenet5": Description(
        widths=(6, 16), size=32, grid=5, hidden=(120, 84), kernel=5, padding=0, activation=nn.Tanh, pooling=nn.AvgPool2d
    ),
    # The baseline of a cats-and-dogs project: three convolutions with pooling, and dense layers with dropout.
    "three_block_cnn": Description(widths=(32, 64, 128), size=224, grid=7, hidden=(128,)),
    # Two nets of a cars project: three blocks without norms, and four with norms. The widths and dense layers are ours.
    "plain_cnn": Description(widths=(32, 64, 128), size=224, grid=7, hidden=(256,), he=True),
    "norm_cnn": Description(widths=(64, 128, 256, 512), size=224, grid=4, hidden=(512,), norm=True, he=True),
}

default_cfgs = generate_default_cfgs(
    {
        name: {
            "input_size": (3, description.size, description.size),
            "mean": (0.5, 0.5, 0.5),
            "std": (0.5, 0.5, 0.5),
            "interpolation": "bicubic",
            "crop_pct": 1.0,
            "classifier": "classifier",
        }
        for name, description in DESCRIPTIONS.items()
    }
)


class ScratchNet(nn.Module):
    """A net built from its description, with the parts of timm's interface that studies use."""

    def __init__(self, description: Description, num_classes: int = 1000, in_chans: int = 3) -> None:
        super().__init__()
        widths, grid = description.widths, description.grid
        self.num_classes = num_classes
        self.num_features = (widths[-1] * grid**2, *description.hidden)[-1]
        channels = (in_chans, *widths)
        self.blocks = nn.Sequential(*[_block(description, a, b) for a, b in zip(channels, widths, strict=False)])
        self.global_pool = nn.Sequential(nn.AdaptiveAvgPool2d(grid), nn.Flatten())
        dense = (widths[-1] * grid**2, *description.hidden)
        layers = [(nn.Linear(a, b), description.activation()) for a, b in pairwise(dense)]
        self.hidden = nn.Sequential(*[layer for pair in layers for layer in pair])
        self.classifier: nn.Module = nn.Linear(self.num_features, num_classes)
        if description.he:
            self.apply(_he)

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        return {"stem": r"^$", "blocks": r"^blocks\.(\d+)"}

    def get_classifier(self) -> nn.Module:
        return self.classifier

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        self.num_classes = num_classes
        self.classifier = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        return self.blocks(x)

    def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        x = self.hidden(self.global_pool(x))
        return x if pre_logits else self.classifier(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_head(self.forward_features(x))


def _block(description: Description, inputs: int, outputs: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, description.kernel, padding=description.padding, bias=not description.norm)
    norm = [nn.BatchNorm2d(outputs)] if description.norm else []
    inplace = {"inplace": True} if description.activation is nn.ReLU else {}
    return nn.Sequential(convolution, *norm, description.activation(**inplace), description.pooling(2))


def _he(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _entrypoint(name: str) -> Callable[..., ScratchNet]:
    """Return the function that builds the net; timm registers it by its name and module."""

    def make(pretrained: bool = False, **kwargs: Any) -> ScratchNet:
        return build_model_with_cfg(partial(ScratchNet, DESCRIPTIONS[name]), name, pretrained, **kwargs)

    make.__name__ = make.__qualname__ = name
    return make


for _name in DESCRIPTIONS:
    register_model(_entrypoint(_name))
