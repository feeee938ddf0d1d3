"""Write a trained net as model.safetensors and config.json, timm's local-dir format.

Equality of timm's net and ours is checked on inputs, not assumed: see `timm_state`.
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

# The order of float32 sums depends on memory layout, number of threads, device, runtime and folded norms. Logits may
# differ by this share of the largest logit, or of 1 if that is larger. docs/architectures.md has measured differences.
TOLERANCE = 2.0**-11
# The keys of timm's pretrained_cfg that change how a net is built. The others describe its weights.
_STRUCTURE = ("fixed_input_size", "pool_size", "global_pool", "first_conv", "classifier")


class NotTheSame(RuntimeError):
    """timm's net is not the trained net. The message says what differs."""


@dataclass(frozen=True)
class Difference:
    """The largest difference between logits that should be equal, and the tolerance."""

    worst: float
    allowed: float

    @property
    def agrees(self) -> bool:
        return self.worst <= self.allowed  # False for NaN


def difference(actual: torch.Tensor, expected: torch.Tensor) -> Difference:
    """Compare two tensors of logits (n, classes) in float32."""
    return Difference(
        worst=float((actual - expected).abs().max()), allowed=TOLERANCE * max(1.0, float(expected.abs().max()))
    )


def write_net(net: Net, backbone: str, names: list[str], size: int, folder: Path) -> None:
    """Write the files that timm reads, and the names of the classes.

    Raises:
        NotTheSame: no net that timm builds gives the same logits.
    """
    config = timm_config(net, backbone, names, size)
    save_tensors(timm_state(net, config), folder / MODEL_FILE, {"format": "pt"})
    write_json(config, folder / CONFIG_FILE)
    write_json(names, folder / LABELS_FILE)


def write_preprocessing(
    contract: InputContract, size: int, stored_side: int, region: str, gray_ranges: GrayRanges, folder: Path
) -> None:
    """Write the preprocessing of images twice: as numbers, and as a program that does not need this project."""
    numbers = {
        "size": size,
        "stored_side": stored_side,
        "crop_pct": contract.crop,
        "interpolation": contract.interpolation,
        "mean": contract.mean,
        "std": contract.std,
        **to_json(gray_ranges),
        "how": "take the first frame, rotate it as its EXIF orientation says, paste transparent parts on white, and "
        "convert it to 8-bit RGB; "
        + ("crop to the annotated box if the image has one; " if region == "box" else "")
        + "reduce the shorter side to stored_side (Lanczos) if it is longer; crop the center square of crop_pct of the "
        "shorter side and resize it to size (interpolation); divide by 255, subtract mean, divide by std; channels "
        f"first, in the order RGB. {PREPROCESS_FILE} does all of this. The logits are in the order of {LABELS_FILE}.",
    }
    write_json(numbers, folder / PREPROCESSING_FILE)
    write_text(Path(preprocess.__file__).read_text(encoding="utf-8"), folder / PREPROCESS_FILE)


def timm_config(net: Net, backbone: str, names: list[str], size: int) -> dict[str, Any]:
    """Return config.json, which `timm.create_model("local-dir:best", pretrained=True)` reads."""
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
        # The size again, because a net of fixed input size ignores input_size; its default is often 224.
        "model_args": {"img_size": size} if own.get("fixed_input_size") else {},
    }


def timm_state(net: Net, config: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Return the net's tensors under the names that timm's net of this architecture has.

    timm's net consists of the backbone, one or more classifiers, and sometimes norms before them, which are set to the
    identity. timm may average several classifiers, or add a part of an auxiliary one to the first. Therefore the head
    is copied into all of them, or into one with zeros in the others, whichever gives the logits of `net`.

    Raises:
        NotTheSame: no way of filling the classifiers gives the same logits.
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
    identities = {name: tensor for layer in norms for name, tensor in _identity(layer, whole.get_submodule(layer))}
    for filled in [heads, *([head] for head in heads if len(heads) > 1)]:
        state = own | identities
        for layer in heads:
            share = float(layer in filled)
            state[f"{layer}.weight"] = share * weight.reshape(wanted[f"{layer}.weight"])
            state[f"{layer}.bias"] = share * bias
        if len(heads) == 1 or _same_function(net, config, state):
            return state
    raise NotTheSame(
        f"timm's net has the classifiers {', '.join(heads)}, and no way to fill them gives the same logits"
    )


def rebuilt(config: dict[str, Any]) -> nn.Module:
    """Return timm's net for a config, in evaluation mode, with random weights."""
    return timm.create_model(
        config["architecture"],
        num_classes=config["num_classes"],
        pretrained_cfg=config["pretrained_cfg"],
        **config["model_args"],
    ).eval()


def as_classes(head: nn.Linear) -> tuple[torch.Tensor, torch.Tensor]:
    """Return weight (classes, features) and bias (classes,). A single logit z of two classes becomes (0, z)."""
    weight, bias = head.weight.detach(), head.bias.detach()
    if head.out_features > 1:
        return weight, bias
    return torch.cat([torch.zeros_like(weight), weight]), torch.cat([torch.zeros_like(bias), bias])


def noise(size: int, count: int = 2) -> torch.Tensor:
    """Return fixed random inputs (count, 3, size, size) to compare two nets on."""
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def _identity(layer: str, norm: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the state of a batch norm that is the identity: its variance plus `eps` is 1."""
    assert isinstance(norm, _BatchNorm)
    zeros = torch.zeros(norm.num_features)
    values = {"weight": zeros + 1, "bias": zeros, "running_mean": zeros, "running_var": zeros + (1 - norm.eps)}
    values["num_batches_tracked"] = torch.tensor(0)
    yield from ((f"{layer}.{name}", values[name]) for name in norm.state_dict())


def _check_gives_classes(layer: str, wanted: dict[str, torch.Size], weight: torch.Tensor) -> None:
    """Refuse a classifier that is not a single linear layer or 1x1 convolution on the head's features."""
    has = {name.rpartition(".")[2]: shape for name, shape in wanted.items() if name.rpartition(".")[0] == layer}
    shape = has.get("weight", torch.Size())
    if set(has) == {"weight", "bias"} and len(shape) >= 2 and shape[0] == len(weight):
        if shape[1] != weight.shape[1]:
            raise NotTheSame(
                f"its classifier {layer} has {shape[1]} input features, but the head has {weight.shape[1]}"
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
