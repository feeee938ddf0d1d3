"""The precision of a backbone on a device: a fixed rule, so that the choice is made once and recorded in the config.

Throughput in images per second, float32 / bfloat16, both channels_last (96 px, batch 64, two cores with AVX-512 bf16):

                       training   evaluation
mobilenetv2_100        121 / 101  507 / 902
tf_efficientnet_lite0   88 / 55   396 / 732
resnet18                83 / 147  278 / 500
densenet121             32 / 65   124 / 228

So bfloat16 is always faster for a frozen backbone. In training, it is faster for dense convolutions and slower for
depthwise ones. channels_last is faster everywhere.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DEPTHWISE = ("mobilenet", "efficientnet", "mnasnet", "convnext", "lite", "small_cnn")


def choose_precision(device: str, has_bfloat16: bool, backbone: str, frozen: bool) -> str:
    """Return "float32" or "bfloat16" for the frozen or the trainable part of a backbone."""
    if not has_bfloat16:
        return "float32"
    depthwise = any(name in backbone for name in DEPTHWISE)
    return "bfloat16" if device == "cuda" or frozen or not depthwise else "float32"


def computes_bfloat16(device: str) -> bool:
    """Whether this machine's device has native bfloat16 arithmetic, instead of emulating it."""
    import torch

    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False
    return any(flag in flags for flag in ("avx512_bf16", "amx_bf16", "bf16"))


def is_cuda_usable() -> bool:
    """Whether torch can use a GPU of this machine."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about an old driver, in several lines
        return torch.cuda.is_available()


@contextmanager
def torch_threads(count: int | None = None) -> Iterator[None]:
    """Let torch compute with `count` threads within the block, which may change it; afterwards it is as before."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(before if count is None else count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
