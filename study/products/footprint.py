"""The size of a net's file and its latency for one image.

Latency depends on the machine. Like `seconds` it is a column of trials.parquet that two runs need not agree on.
"""

import statistics
import time
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
import timm
import torch
from torch import nn

from trainables.nets import scratch_nets  # noqa: F401  (registers them with timm)
from trainables.nets.arithmetic import torch_threads

NET_FIELDS = ["backbone", "size"]  # fields of a trial's config that determine its row
# Number of timed images, and of images before them that fill caches.
_TIMED, _WARM_UP = 20, 3


def footprint(configs: Iterable[Mapping[str, Any]], classes: int) -> pd.DataFrame:
    """Measure every net at every image size of these configs.

    Returns:
        One row per net and size, with the columns backbone, size, `file_bytes` (the tensors in float32) and
        `latency_ms` (the median over single images on one CPU thread of this machine).
    """
    nets = dict.fromkeys(tuple(config[name] for name in NET_FIELDS) for config in configs)
    rows = [(backbone, size, *_measured(backbone, size, classes)) for backbone, size in nets]
    return pd.DataFrame(rows, columns=[*NET_FIELDS, "file_bytes", "latency_ms"])


def _measured(backbone: str, size: int, classes: int) -> tuple[int, float]:
    net = timm.create_model(backbone, num_classes=classes).eval()  # random weights: their values do not matter
    file_bytes = sum(tensor.numel() * tensor.element_size() for tensor in net.state_dict().values())
    return file_bytes, 1e3 * _seconds(net, size)


def _seconds(net: nn.Module, size: int) -> float:
    picture = torch.zeros(1, 3, size, size)
    times = []
    with torch.inference_mode(), torch_threads(1):
        for _ in range(_WARM_UP + _TIMED):
            began = time.perf_counter()
            net(picture)
            times.append(time.perf_counter() - began)
    return statistics.median(times[_WARM_UP:])
