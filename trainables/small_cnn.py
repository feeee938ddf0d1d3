"""A three-block CNN to train from scratch: the baseline that transfer has to beat."""

from typing import Any

import torch
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import nn

WIDTHS = (16, 32, 64)
# The mean is taken over each cell of a grid, so that where a stroke lies is not lost.
GRID = 3

default_cfgs = generate_default_cfgs(
    {
        "small_cnn": {
            "input_size": (3, 64, 64),
            "mean": (0.5, 0.5, 0.5),
            "std": (0.5, 0.5, 0.5),
            "interpolation": "bicubic",
            "crop_pct": 1.0,
            "classifier": "classifier",
        }
    }
)


class SmallCNN(nn.Module):
    """Three times convolution, batch norm, ReLU and pooling; then the mean over each cell of a grid.

    It answers to the parts of timm's interface that a study uses, so it is a backbone like any other.
    """

    def __init__(self, num_classes: int = 1000, in_chans: int = 3) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.num_features = WIDTHS[-1] * GRID**2
        channels = (in_chans, *WIDTHS)
        self.blocks = nn.Sequential(*[_block(a, b) for a, b in zip(channels, WIDTHS, strict=False)])
        self.global_pool = nn.Sequential(nn.AdaptiveAvgPool2d(GRID), nn.Flatten())
        self.classifier: nn.Module = nn.Linear(self.num_features, num_classes)

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
        x = self.global_pool(x)
        return x if pre_logits else self.classifier(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_head(self.forward_features(x))


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
    )


@register_model
def small_cnn(pretrained: bool = False, **kwargs: Any) -> SmallCNN:
    return build_model_with_cfg(SmallCNN, "small_cnn", pretrained, **kwargs)
