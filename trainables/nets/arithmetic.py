"""Precision per device and net: a table, so that the choice is made once and recorded.

Measured in images per second (96 px, batch 64, two cores with AVX-512 bf16), float32 channels_last against
bfloat16 channels_last: training mobilenetv2_100 121 : 101, tf_efficientnet_lite0 88 : 55, resnet18 83 : 147,
densenet121 32 : 65; evaluation 507 : 902, 396 : 732, 278 : 500, 124 : 228. A frozen backbone always gains from
bfloat16, training gains for dense convolutions and loses for depthwise ones. channels_last gains everywhere.
"""

from pathlib import Path

DEPTHWISE = ("mobilenet", "efficientnet", "mnasnet", "convnext", "lite", "small_cnn")


def choose_precision(device: str, has_bfloat16: bool, backbone: str, frozen: bool) -> str:
    """Return the precision for the frozen or the trainable part of a backbone."""
    if not has_bfloat16:
        return "float32"
    depthwise = any(name in backbone for name in DEPTHWISE)
    return "bfloat16" if device == "cuda" or frozen or not depthwise else "float32"


def computes_bfloat16(device: str) -> bool:
    """Whether this machine's device has bfloat16 arithmetic of its own, rather than emulating it."""
    import torch

    if device == "cuda":
        return torch.cuda.is_bf16_supported()
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False
    return any(flag in flags for flag in ("avx512_bf16", "amx_bf16", "bf16"))
