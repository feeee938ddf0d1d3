"""What a model costs to keep and to use: its parameters, the bytes of its file, the time for one picture.

Seconds hang on the machine, so they stand in study.json beside the study's other times, not in the trials' rows.
"""

import statistics
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import timm
import torch
from torch import nn

from trainables import scratch_nets  # noqa: F401  (timm learns their names)
from trainables.weights import architecture

# Single pictures that are timed, after those that fill caches.
_TIMED, _WARMING = 20, 3


def footprint(configs: Iterable[Mapping[str, Any]], classes: int) -> list[dict[str, Any]]:
    """One row for each net at each picture size: `parameters` with the head, `file_bytes` of its tensors (float32),
    and `latency_ms`, the median of single pictures on one CPU thread of this machine."""
    nets = dict.fromkeys((config["backbone"], config["size"]) for config in configs)
    return [{"backbone": backbone, "size": size} | _measured(backbone, size, classes) for backbone, size in nets]


def _measured(backbone: str, size: int, classes: int) -> dict[str, Any]:
    net = timm.create_model(architecture(backbone), num_classes=classes).eval()  # its weights' values change nothing
    return {
        "parameters": sum(each.numel() for each in net.parameters()),
        "file_bytes": sum(each.numel() * each.element_size() for each in net.state_dict().values()),
        "latency_ms": 1e3 * _seconds(net, size),
    }


def _seconds(net: nn.Module, size: int) -> float:
    picture = torch.zeros(1, 3, size, size)
    times = []
    with torch.inference_mode(), _one_thread():
        for _ in range(_WARMING + _TIMED):
            began = time.perf_counter()
            net(picture)
            times.append(time.perf_counter() - began)
    return statistics.median(times[_WARMING:])


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
