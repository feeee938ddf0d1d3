"""What must be equal bit for bit: blocks of frozen layers in any order, on a full card, and training twice."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from tests.gpu.nets import BATCH, Scale, behind_the_cut, clear, inputs_of, photographs, resident, trial
from trainables.determinism import nondeterministic_operations
from trainables.learning.inputs import Inputs
from trainables.learning.optimizers import build_optimizer
from trainables.learning.training import Training, train_epoch
from trainables.place import Place

_FREE = 3 * 2**29  # bytes that a full card leaves free


def rows(scale: Scale, folder: Path) -> Iterator[dict[str, Any]]:
    place = photographs(scale, folder)
    for backbone in scale.backbones:
        for depth in ("head", "last stage"):
            inputs = inputs_of(trial(scale, backbone, depth), place)
            for block in (BATCH, 2 * BATCH):
                yield {"net": backbone, "frozen up to": inputs.activations.cut, "block": block} | _blocks(inputs, block)
            if scale.device == "cuda":
                yield {"net": backbone, "frozen up to": inputs.activations.cut} | _on_a_full_card(inputs)
            del inputs
            clear(scale)
        for depth in ("last stage", "all"):
            with nondeterministic_operations() as found:
                first, second = (_trained(scale, backbone, depth, place) for _ in range(2))
            yield {
                "net": backbone,
                "trained": depth,
                "training repeats": all(torch.equal(first[name], second[name]) for name in first),
                "nondeterministic operations": ", ".join(sorted(found)) or "none",
            }
            clear(scale)


def _views(inputs: Inputs, count: int) -> torch.Tensor:
    side, random = inputs.config.size, torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, side, side, 3), dtype=torch.uint8, generator=random)


def _blocks(inputs: Inputs, block: int) -> dict[str, bool]:
    views = _views(inputs, 2 * block)

    def through(images: torch.Tensor) -> torch.Tensor:
        return torch.cat([behind_the_cut(inputs, part) for part in images.split(block)]).cpu()

    whole, order = through(views), torch.randperm(len(views), generator=torch.Generator().manual_seed(0))
    return {
        "repeats": torch.equal(whole, through(views)),
        "the place in a block does not matter": torch.equal(whole[order], through(views[order])),
    }


def _on_a_full_card(inputs: Inputs) -> dict[str, bool | str]:
    views = _views(inputs, BATCH)
    expected = behind_the_cut(inputs, views)
    free, _ = torch.cuda.mem_get_info()
    taken = torch.empty(max(0, free - _FREE), dtype=torch.uint8, device="cuda")
    try:
        return {"the same on a full card": torch.equal(expected, behind_the_cut(inputs, views))}
    except torch.OutOfMemoryError:
        return {"the same on a full card": "out of memory"}
    finally:
        del taken


def _trained(scale: Scale, backbone: str, depth: str, place: Place) -> dict[str, torch.Tensor]:
    chosen = trial(scale, backbone, depth, regularizer="dropout", dropout=0.3)
    inputs = resident(inputs_of(chosen, place))
    train_epoch(Training(inputs, build_optimizer(chosen, inputs.net)), 1)
    return {name: tensor.cpu() for name, tensor in inputs.net.state_dict().items()}
