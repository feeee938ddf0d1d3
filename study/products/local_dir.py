"""A trained net as model.safetensors and config.json, from which timm rebuilds it by itself (its local-dir convention).

That timm's net is the same function is seen, not assumed: see `timm_state`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from timm.data.config import resolve_model_data_config
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from study.products.best import CONFIG_FILE, LABELS_FILE, MODEL_FILE, PREPROCESS_FILE, PREPROCESSING_FILE
from study.writing import write_json, write_text
from trainables import preprocess
from trainables.augmentation.views import InputContract
from trainables.data.grayscale import GrayRanges, to_json
from trainables.learning.checkpoints import save_tensors
from trainables.nets.models import Net
from trainables.nets.weights import architecture

# float32 sums are taken in another order by another memory layout, number of threads, device or runtime, and by folded
# norms. Logits may differ by this share of the largest, at least of 1; what was seen is in docs/architectures.md.
TOLERANCE = 2.0**-11
# What of the backbone's own description says how timm builds it; the rest says where its weights came from.
_STRUCTURE = ("fixed_input_size", "pool_size", "global_pool", "first_conv", "classifier")


class NotTheSame(RuntimeError):
    """timm's own net cannot be the net that trained; the text says what differs."""


@dataclass(frozen=True)
class Difference:
    """Of logits that should be equal: the largest difference, and what may be."""

    worst: float
    allowed: float

    @property
    def agrees(self) -> bool:
        return self.worst <= self.allowed  # and not where it is NaN


def difference(found: torch.Tensor, expected: torch.Tensor) -> Difference:
    """Of two (n, classes) in float32."""
    return Difference(
        worst=float((found - expected).abs().max()), allowed=TOLERANCE * max(1.0, float(expected.abs().max()))
    )


def write_net(net: Net, backbone: str, names: list[str], size: int, folder: Path) -> None:
    """Write the files that timm reads, and the names of the classes.

    Raises:
        NotTheSame: timm has no net of this kind that gives the same logits.
    """
    config = timm_config(net, backbone, names, size)
    save_tensors(timm_state(net, config), folder / MODEL_FILE, {"format": "pt"})
    write_json(config, folder / CONFIG_FILE)
    write_json(names, folder / LABELS_FILE)


def write_preprocessing(
    contract: InputContract, size: int, stored_side: int, region: str, gray_ranges: GrayRanges, folder: Path
) -> None:
    """How images go in: as numbers and words, and as a program that needs nothing of this project."""
    numbers = {
        "size": size,
        "stored_side": stored_side,
        "crop_pct": contract.crop,
        "interpolation": contract.interpolation,
        "mean": contract.mean,
        "std": contract.std,
        **to_json(gray_ranges),
        "how": "the first frame, turned upright as its EXIF data says, transparent parts on white, 8-bit RGB; "
        + ("cut to the annotated box where the image has one; " if region == "box" else "")
        + "shorter side reduced to stored_side (Lanczos) where it is longer; center square of crop_pct of the shorter "
        "side, resized to size (interpolation); divided by 255, minus mean, divided by std; RGB channels first. "
        f"{PREPROCESS_FILE} does it; the logits are in the order of {LABELS_FILE}",
    }
    write_json(numbers, folder / PREPROCESSING_FILE)
    write_text(Path(preprocess.__file__).read_text(encoding="utf-8"), folder / PREPROCESS_FILE)


def timm_config(net: Net, backbone: str, names: list[str], size: int) -> dict[str, Any]:
    """What `timm.create_model("local-dir:best", pretrained=True)` reads."""
    data = resolve_model_data_config(net.backbone)
    own = getattr(net.backbone, "pretrained_cfg", {})
    return {
        "architecture": architecture(backbone),
        "num_classes": len(names),
        "num_features": net.head.in_features,
        "label_names": names,
        "pretrained_cfg": {name: own[name] for name in _STRUCTURE if own.get(name) is not None}
        | {
            "num_classes": len(names),
            "input_size": [3, size, size],
            "interpolation": data["interpolation"],
            "crop_pct": data["crop_pct"],
            "mean": list(data["mean"]),
            "std": list(data["std"]),
        },
        # Said twice, because a net of fixed size has no other way to know it: the code's default is often 224.
        "model_args": {"img_size": size} if own.get("fixed_input_size") else {},
    }


def timm_state(net: Net, config: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The net's tensors under the names that timm's own net of this kind has.

    timm's net has what the backbone has, one or more layers that give classes, and perhaps norms before them, which
    are to pass on what they get. Where there are several it may take
    their mean or add a part of the others to the first (an auxiliary head): the head is put into all of them, else
    into one and zeros into the others, whichever gives the logits of `net`.

    Raises:
        NotTheSame: nothing does.
    """
    with torch.device("meta"):
        whole = rebuilt(config)
    wanted = {name: tensor.shape for name, tensor in whole.state_dict().items()}
    own = net.backbone.state_dict()
    weight, bias = as_classes(net.head)
    added = sorted({name.rpartition(".")[0] for name in wanted if name not in own})
    norms = [layer for layer in added if isinstance(whole.get_submodule(layer), _BatchNorm)]
    heads = [layer for layer in added if layer not in norms]
    for layer in heads:
        _check_gives_classes(layer, wanted, weight)
    passed_on = {name: tensor for layer in norms for name, tensor in _identity(layer, whole.get_submodule(layer))}
    for chosen in [heads, *([each] for each in heads if len(heads) > 1)]:
        state = own | passed_on
        for layer in heads:
            share = float(layer in chosen)
            state[f"{layer}.weight"] = share * weight.reshape(wanted[f"{layer}.weight"])
            state[f"{layer}.bias"] = share * bias
        if len(heads) == 1 or _same_function(net, config, state):
            return state
    raise NotTheSame(f"timm's own has the classifiers {', '.join(heads)}, and no way to fill them is the same function")


def rebuilt(config: dict[str, Any]) -> nn.Module:
    """timm's own net as a config describes it, in evaluation mode, with random weights."""
    return timm.create_model(
        config["architecture"],
        num_classes=config["num_classes"],
        pretrained_cfg=config["pretrained_cfg"],
        **config["model_args"],
    ).eval()


def as_classes(head: nn.Linear) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight and bias with a row a class: one output z, the log odds of the second of two classes, is (0, z)."""
    weight, bias = head.weight.detach(), head.bias.detach()
    if head.out_features > 1:
        return weight, bias
    return torch.cat([torch.zeros_like(weight), weight]), torch.cat([torch.zeros_like(bias), bias])


def noise(size: int, count: int = 2) -> torch.Tensor:
    """Inputs (count, 3, size, size) on which functions can be told apart."""
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def _identity(layer: str, norm: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """The state of a batch norm that passes its input on: its variance and `eps` together are 1."""
    assert isinstance(norm, _BatchNorm)
    zeros = torch.zeros(norm.num_features)
    values = {"weight": zeros + 1, "bias": zeros, "running_mean": zeros, "running_var": zeros + (1 - norm.eps)}
    values["num_batches_tracked"] = torch.tensor(0)
    yield from ((f"{layer}.{name}", values[name]) for name in norm.state_dict())


def _check_gives_classes(layer: str, wanted: dict[str, torch.Size], weight: torch.Tensor) -> None:
    """A linear layer or 1x1 convolution from the features that the head takes."""
    has = {name.rpartition(".")[2]: shape for name, shape in wanted.items() if name.rpartition(".")[0] == layer}
    shape = has.get("weight", torch.Size())
    if set(has) == {"weight", "bias"} and len(shape) >= 2 and shape[0] == len(weight):
        if shape[1] != weight.shape[1]:
            raise NotTheSame(
                f"its classifier {layer} takes {shape[1]} features of its own, where a head takes {weight.shape[1]}"
            )
        if shape.numel() == weight.numel():
            return
    raise NotTheSame(f"its classifier has more than one layer ({layer})")


def _same_function(net: Net, config: dict[str, Any], state: dict[str, torch.Tensor]) -> bool:
    whole = rebuilt(config)
    whole.load_state_dict(state)
    x = noise(config["pretrained_cfg"]["input_size"][-1])
    with torch.no_grad():
        return difference(whole(x), net(x)).agrees
