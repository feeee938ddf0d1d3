"""The throughput of this machine, from a table, or measured once and cached."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from trainables.augmentation.views import ViewKey, training_views
from trainables.cache_layout import RATES
from trainables.config import TrialConfig
from trainables.frozen.activations import autocast, processor, versions
from trainables.nets.arithmetic import DEPTHWISE, is_cuda_usable
from trainables.nets.models import Body, Net, build, input_contract, train_mode
from trainables.nets.prefixes import INPUT, POOLED, Frozen
from trainables.nets.work import work_of

# Images per measurement, frozen and trained, and repetitions: the fastest counts, and the first is a warm-up.
_FROZEN, _TRAINED, _TIMES = 32, 8, 3


@dataclass(frozen=True)
class Rates:
    """Throughput of one backbone on one worker."""

    frozen: float  # 1e9 multiply-adds per second of a frozen forward pass
    trained: float  # 1e9 multiply-adds of the forward pass per second of forward and backward pass
    view: float  # seconds to crop a view from a decoded image
    measured: bool
    evaluated: float | None = None  # like `frozen`, but in float32; None: equal to `frozen`

    @property
    def forward(self) -> float:
        """1e9 multiply-adds per second of an evaluation, which runs in float32."""
        return self.evaluated or self.frozen


def table(backbone: str, device: str) -> Rates:
    """Return estimates for a machine that has not been measured.

    The CPU is one core with AVX-512 bfloat16 (half of the throughput in arithmetic.py). The GPU is similar to an A100:
    ResNet-50 and EfficientNet-B0 train 2,500 images per second (NVIDIA's DeepLearningExamples), and run about twice as
    many when frozen. EfficientNet is memory-bound, with a tenth of the arithmetic. Float32 without TF32 is a guess.
    """
    depthwise = any(name in backbone for name in DEPTHWISE)
    if device == "cuda":
        share = 0.1 if depthwise else 1.0
        rates = Rates(frozen=20_000 * share, trained=10_000 * share, view=4e-4, measured=False)
        return replace(rates, evaluated=0.2 * rates.frozen)
    rates = Rates(frozen=30.0 if depthwise else 90.0, trained=3.0 if depthwise else 24.0, view=5e-4, measured=False)
    return replace(rates, evaluated=0.55 * rates.frozen)


def stored(cache_folder: Path, config: TrialConfig) -> Rates | None:
    """Return an earlier measurement of this backbone on this machine; None if there is none, or no such device."""
    if config.device == "cuda" and not is_cuda_usable():  # of a cluster, the driver's machine may have no GPU
        return None
    known = _read(cache_folder).get(_key(config))
    return Rates(**known, measured=True) if known else None


def keep(cache_folder: Path, config: TrialConfig, rates: Rates) -> None:
    """Cache a measurement for the next study on this machine."""
    values = {"frozen": rates.frozen, "evaluated": rates.evaluated, "trained": rates.trained, "view": rates.view}
    _write(cache_folder, _read(cache_folder) | {_key(config): values})


def measure(config: TrialConfig) -> Rates:
    """Time a few passes of the backbone, with random weights, on noise."""
    torch.set_num_threads(config.threads)
    layout = torch.channels_last if config.channels_last else torch.contiguous_format
    body = build(config.backbone, None, 0)
    # torch's stubs have no overload of `to` with both a device and a memory format.
    module = body.module.requires_grad_(False).to(device=config.device, memory_format=layout)  # pyright: ignore[reportCallIssue]
    frozen = Frozen(Body(module, body.stages, body.blocks, body.features), config.size)
    work = work_of(config.backbone, "all", config.size).trained
    noise = torch.randn(_FROZEN, 3, config.size, config.size, generator=torch.Generator().manual_seed(0))
    x = noise.to(device=config.device, memory_format=layout)

    def pass_frozen(precision: str) -> None:
        with torch.no_grad(), autocast(config.device, precision):
            frozen.segment(INPUT, POOLED, precision)(x)

    def forward_rate(precision: str) -> float:
        return work * _FROZEN / _fastest(partial(pass_frozen, precision), config.device)

    net = Net(Body(frozen.rest(INPUT), body.stages, body.blocks, body.features), 10).to(config.device)
    net.requires_grad_(True)
    train_mode(net)
    labels = torch.zeros(_TRAINED, dtype=torch.int64, device=config.device)

    def step() -> None:
        with autocast(config.device, config.precision):
            features = net.backbone(x[:_TRAINED]).float()
        F.cross_entropy(net.logits(features), labels).backward()

    image = np.random.default_rng(0).integers(0, 256, (config.stored_side, config.stored_side, 3), np.uint8)
    items = np.arange(_FROZEN)
    contract = input_contract(body.module)

    def views() -> None:
        training_views([image] * _FROZEN, items, items, ViewKey(0, 0, 1), "light", config.size, contract)

    evaluated = forward_rate("float32")
    return Rates(
        frozen=evaluated if config.frozen_precision == "float32" else forward_rate(config.frozen_precision),
        evaluated=evaluated,
        trained=work * _TRAINED / _fastest(step, config.device),
        view=_fastest(views, "cpu") / _FROZEN,
        measured=True,
    )


def _fastest(action: Callable[[], None], device: str) -> float:
    times = []
    for _ in range(_TIMES):
        began = time.perf_counter()
        action()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return min(times)


def _key(config: TrialConfig) -> str:
    arithmetic = f"{config.precision} {config.frozen_precision} float32 {config.threads} threads"
    return f"{config.backbone} {config.size} px, {arithmetic}, {processor(config.device)}, {' '.join(versions())}"


def _read(cache_folder: Path) -> dict[str, dict[str, float]]:
    try:
        return json.loads((cache_folder / RATES).read_text())
    except (OSError, ValueError):
        return {}


def _write(cache_folder: Path, rates: dict[str, dict[str, float]]) -> None:
    cache_folder.mkdir(parents=True, exist_ok=True)
    part = cache_folder / f"{RATES}.part"
    part.write_text(json.dumps(rates, indent=1, allow_nan=False))
    part.replace(cache_folder / RATES)
