"""What a net costs to keep and to use: the bytes of its file, the time for one image.

Milliseconds hang on the machine: like `seconds` they stand in trials.parquet and are no part of what must be equal.
"""

import statistics
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pandas as pd
import timm
import torch
from torch import nn

from trainables.nets import scratch_nets  # noqa: F401  (timm learns their names)

NET = ["backbone", "size"]  # fields of a trial's config that a row hangs on
# Single images that are timed, after those that fill caches.
_TIMED, _WARMING = 20, 3


def footprint(configs: Iterable[Mapping[str, Any]], classes: int) -> pd.DataFrame:
    """One row for each net at each image size: columns backbone, size, `file_bytes` of its tensors in float32, and
    `latency_ms`, the median of single images on one CPU thread of this machine."""
    nets = dict.fromkeys(tuple(config[name] for name in NET) for config in configs)
    rows = [(backbone, size, *_measured(backbone, size, classes)) for backbone, size in nets]
    return pd.DataFrame(rows, columns=[*NET, "file_bytes", "latency_ms"])


def _measured(backbone: str, size: int, classes: int) -> tuple[int, float]:
    net = timm.create_model(backbone, num_classes=classes).eval()  # its weights' values change nothing
    return sum(each.numel() * each.element_size() for each in net.state_dict().values()), 1e3 * _seconds(net, size)


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
