"""What this machine is, and how fast data reaches its GPU."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import timm
import torch

from tests.gpu.nets import Scale, rate
from trainables.frozen.activations import processor
from trainables.nets.arithmetic import computes_bfloat16


def rows(scale: Scale, folder: Path) -> Iterator[dict[str, Any]]:
    yield {"fact": "device", "is": processor(scale.device)}
    yield {"fact": "torch, timm", "is": f"{torch.__version__}, {timm.__version__}"}
    yield {"fact": "CPU cores", "is": len(os.sched_getaffinity(0))}
    yield {"fact": "native bfloat16", "is": computes_bfloat16(scale.device)}
    if scale.device == "cuda":
        yield {"fact": "GPU memory, GiB", "is": round(torch.cuda.get_device_properties().total_memory / 2**30, 1)}
    for pinned in (False, True) if scale.device == "cuda" else (False,):
        here = torch.empty(2**28, dtype=torch.uint8, pin_memory=pinned)
        there = torch.empty_like(here, device=scale.device)
        speed = rate(lambda here=here, there=there: there.copy_(here, non_blocking=True), here.nbytes, scale)
        yield {"fact": f"copies to the device, {'pinned' if pinned else 'pageable'}, GB/s", "is": round(speed / 1e9, 1)}
