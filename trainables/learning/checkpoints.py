"""Checkpoints: the state of a trial after an epoch, stored as tensors and numbers without pickle."""

import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from trainables.storage_errors import writing


@dataclass(frozen=True)
class State:
    """The state after an epoch, from which `run_trial` resumes bit for bit.

    `net`, `average` and `best` hold trained tensors only: the current weights, their moving average if there is one,
    and the evaluated weights of the best epoch. Everything else is rebuilt from the config.
    """

    epoch: int
    best_epoch: int
    best_score: float
    net: dict[str, torch.Tensor]
    optimizer: dict[str, torch.Tensor]
    best: dict[str, torch.Tensor]
    average: dict[str, torch.Tensor] = field(default_factory=dict)


NOTHING_TRAINED = State(epoch=0, best_epoch=0, best_score=-math.inf, net={}, optimizer={}, best={})

_PARTS = ("net", "optimizer", "best", "average")


def save(state: State, path: Path) -> None:
    """Write a state atomically: a reader finds either the old or the new state.

    Raises:
        OSError: Storage is full, lost or read-only.
    """
    tensors = {f"{part}/{name}": tensor for part in _PARTS for name, tensor in getattr(state, part).items()}
    numbers = {
        "epoch": state.epoch,
        "best_epoch": state.best_epoch,
        "best_score": state.best_score,
    }
    save_tensors(tensors, path, {"state": json.dumps(numbers, allow_nan=False)})


def load(path: Path) -> State:
    """Read a state that `save` wrote.

    Raises:
        OSError, SafetensorError: The file is missing or damaged.
    """
    parts: dict[str, dict[str, torch.Tensor]] = {part: {} for part in _PARTS}
    with safe_open(path, framework="pt", device="cpu") as file:
        numbers = json.loads(file.metadata()["state"])
        for key in file.keys():  # noqa: SIM118  (the handle is no dict)
            part, _, name = key.partition("/")
            parts[part][name] = file.get_tensor(key)
    return State(
        epoch=numbers["epoch"],
        best_epoch=numbers["best_epoch"],
        best_score=numbers["best_score"],
        net=parts["net"],
        optimizer=parts["optimizer"],
        best=parts["best"],
        average=parts["average"],
    )


def save_tensors(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write named tensors atomically.

    Raises:
        OSError: Storage is full, lost or read-only.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    # safetensors stores no channels_last layout (a net that loads the values keeps its layout) and no shared tensors
    # (every name gets a copy).
    taken: set[int] = set()
    plain = {}
    for name, tensor in tensors.items():
        values = tensor.detach().cpu().contiguous()
        plain[name] = values.clone() if values.untyped_storage().data_ptr() in taken else values
        taken.add(values.untyped_storage().data_ptr())
    try:
        with writing(path, sum(tensor.nbytes for tensor in plain.values())):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.touch()
            mode = (
                temporary.stat().st_mode
            )  # the mode of a new file here; safetensors would replace it with a private one
            save_file(plain, temporary, metadata=metadata or {})
            temporary.chmod(mode)
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def load_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read the named tensors that `save_tensors` wrote.

    Raises:
        OSError, SafetensorError: The file is missing or damaged.
    """
    return load_file(path)
