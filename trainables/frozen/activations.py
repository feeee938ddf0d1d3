"""Activations of images at a cut: loaded if they are stored, else computed.

Both ways compute the same blocks of `block_size` images, and the last block is padded with repeats. With a fixed shape,
the same kernels run, so the bits of an activation do not depend on the other images of its block. Results are therefore
bit-identical with or without storing.
"""

import hashlib
import platform
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import PIL
import timm
import torch
from numpy.typing import NDArray

from trainables.augmentation.policies import POLICIES
from trainables.augmentation.views import VERSION, InputContract, ViewKey, evaluation_views, training_views
from trainables.config import TrialConfig
from trainables.data.trial_data import TrialData
from trainables.frozen.store import UNIT, Store
from trainables.nets.models import input_contract
from trainables.nets.prefixes import INPUT, Frozen

Items = NDArray[np.int64]
# Maps a slice of the draws to their activations.
Source = Callable[[slice], torch.Tensor]
_SECONDS_BETWEEN_LOOKS = 0.005


@dataclass(frozen=True)
class Draws:
    """Items and their views, in order, each of shape (n,); epoch 0 is the evaluation view."""

    items: Items
    epoch: Items
    occurrence: Items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, rows: slice) -> "Draws":
        return Draws(self.items[rows], self.epoch[rows], self.occurrence[rows])


def evaluation_draws(items: Items) -> Draws:
    """Return the evaluation views of `items`."""
    return Draws(items, np.zeros_like(items), np.zeros_like(items))


class Activations:
    """The activations of a trial's frozen part at `cut`.

    `stored_depths` are the unfreeze depths whose cuts are stored for all trials of this backbone. A unit at one cut is
    computed from the stored cut before it, so that one pass through the backbone fills all cuts.
    """

    def __init__(
        self,
        config: TrialConfig,
        frozen: Frozen,
        cut: str,
        data: TrialData,
        store: Store | None,
        stored_depths: frozenset[str],
    ) -> None:
        self.config, self.frozen, self.cut, self.data = config, frozen, cut, data
        cuts = {frozen.cut(depth) for depth in stored_depths} if store is not None else set()
        self._stored = sorted(
            (cut for cut in cuts if frozen.position(cut) <= frozen.position(self.cut)), key=frozen.position
        )
        self._store = store
        self._contract = input_contract(frozen.body.module)
        self._scaling = scaling(self._contract, config.device)

    def batches(self, draws: Draws, size: int, universe: Items) -> Iterator[torch.Tensor]:
        """Yield the activations of `draws`, `size` at a time; without a frozen part, these are views (uint8, NHWC).

        `universe` lists all items that other trials may need in the same views; stored units cover all of them.
        """
        source = self._looked_up(draws, universe) if self._stored else lambda rows: self._views(draws[rows])
        start = self._stored[-1] if self._stored else INPUT
        if start == self.cut:
            yield from (source(slice(first, first + size)) for first in range(0, len(draws), size))
        else:
            advanced = self._advanced(source, len(draws), start, self.cut, self._precision(bool(draws.epoch.any())))
            yield from _regrouped(advanced, size)

    def to_device(self, rows: torch.Tensor) -> torch.Tensor:
        """Move a batch to the device as input of the trainable part: normalized views, or activations in float32."""
        rows = rows.to(self.config.device, non_blocking=True)
        if self.cut != INPUT:
            return _channels_first(rows, self.config.channels_last).float()
        return self._normalized(rows)

    def _looked_up(self, draws: Draws, universe: Items) -> Source:
        """Return a source of activations at the last stored cut; its units are loaded or computed now."""
        unit_of, row_of = np.empty(len(draws), np.int64), np.empty(len(draws), np.int64)
        units: list[torch.Tensor] = []
        for epoch, occurrence in sorted(set(zip(draws.epoch.tolist(), draws.occurrence.tolist(), strict=True))):
            same_view = np.flatnonzero((draws.epoch == epoch) & (draws.occurrence == occurrence))
            # A second pass through the fold needs only a few images, so only these are computed.
            items = universe if occurrence == 0 else np.unique(draws.items[same_view])
            number, row_of[same_view] = np.divmod(np.searchsorted(items, draws.items[same_view]), UNIT)
            by_number = self._units(_Stream(items, epoch, occurrence), np.unique(number).tolist())
            unit_of[same_view] = len(units) + np.searchsorted(list(by_number), number)
            units.extend(by_number.values())

        def gather(rows: slice) -> torch.Tensor:
            return torch.stack([units[u][r] for u, r in zip(unit_of[rows], row_of[rows], strict=True)])

        return gather

    def _units(self, stream: "_Stream", numbers: list[int]) -> dict[int, torch.Tensor]:
        """Load or compute units. The first process that claims a missing unit computes it; others try the next one."""
        assert self._store is not None
        units: dict[int, torch.Tensor] = {}
        waiting = deque(numbers)
        postponed = 0  # units in a row that other processes are computing
        while waiting:
            number = waiting.popleft()
            rows = self._load(stream, self._stored[-1], number)
            if rows is None:
                # One claim covers all cuts of a backbone, because they are computed from each other.
                with self._store.claim(f"{self._name(stream, INPUT)} {self.config.backbone}", number) as mine:
                    if mine:
                        rows = self._computed(stream, len(self._stored) - 1, number)
            if rows is not None:
                units[number], postponed = rows, 0
                continue
            waiting.append(number)
            postponed += 1
            if postponed >= len(waiting):  # other processes compute all remaining units
                time.sleep(_SECONDS_BETWEEN_LOOKS)
        return dict(sorted(units.items()))

    def _computed(self, stream: "_Stream", index: int, number: int) -> torch.Tensor:
        """Compute a unit at the stored cut `index` from the stored cut before it, recursively back to the images."""
        assert self._store is not None
        cut = self._stored[index]
        rows = self._load(stream, cut, number)
        if rows is not None:
            return rows
        draws = stream.draws(number)
        if index > 0:
            start, source = self._stored[index - 1], self._computed(stream, index - 1, number).__getitem__
        else:
            start, source = INPUT, lambda rows: self._views(draws[rows])
        began = time.perf_counter()
        if start == cut:  # the views themselves are stored
            rows = source(slice(None))
        else:
            rows = torch.cat(list(self._advanced(source, len(draws), start, cut, self._precision(stream.epoch)))).cpu()
        self._store.save(self._name(stream, cut), number, rows, time.perf_counter() - began)
        return rows

    def _load(self, stream: "_Stream", cut: str, number: int) -> torch.Tensor | None:
        assert self._store is not None
        return self._store.load(self._name(stream, cut), number)

    def _precision(self, training_view: bool | int) -> str:
        """Return the precision; evaluation is float32, because users of the shipped model compute in float32."""
        return self.config.frozen_precision if training_view else "float32"

    def _advanced(self, source: Source, count: int, start: str, end: str, precision: str) -> Iterator[torch.Tensor]:
        """Yield activations at `end`, on the device and in blocks, computed from activations at `start`."""
        config, size = self.config, self.config.block_size
        segment = self.frozen.segment(start, end, precision)
        for first in range(0, count, size):
            rows = source(slice(first, min(first + size, count)))
            block = rows[torch.arange(size) % len(rows)].to(config.device, non_blocking=True)
            x = self._normalized(block) if start == INPUT else _channels_first(block, config.channels_last)
            with torch.no_grad(), autocast(config.device, precision):
                activation = segment(x)[: len(rows)]
            yield _channels_last(activation, config.channels_last)

    def _views(self, draws: Draws) -> torch.Tensor:
        config = self.config
        pixels = [self.data.pixels[int(item)] for item in draws.items]
        if not draws.epoch.any():
            return torch.from_numpy(evaluation_views(pixels, config.size, self._contract, config.threads))
        views = np.empty((len(draws), config.size, config.size, 3), dtype=np.uint8)
        for epoch in np.unique(draws.epoch):
            in_epoch = np.flatnonzero(draws.epoch == epoch)
            views[in_epoch] = training_views(
                [pixels[i] for i in in_epoch],
                draws.items[in_epoch],
                draws.occurrence[in_epoch],
                ViewKey(config.study_seed, config.seed, int(epoch)),
                config.augmentation,
                config.size,
                self._contract,
                config.threads,
            )
        return torch.from_numpy(views)

    def _normalized(self, views: torch.Tensor) -> torch.Tensor:
        x = normalized(views, *self._scaling)
        return x.contiguous(memory_format=torch.channels_last if self.config.channels_last else torch.contiguous_format)

    def _name(self, stream: "_Stream", cut: str) -> str:
        """Return the name of a stream at a cut, a hash of everything that its bits depend on."""
        config = self.config
        key = [VERSION, self.data.pixels.key, stream.digest, self._contract, config.size]
        key += [versions(), UNIT]
        if stream.epoch:
            key += [POLICIES[config.augmentation], config.study_seed, config.seed, stream.epoch, stream.occurrence]
        if cut != INPUT:
            key += [config.backbone, config.weights_hash or ("random", config.study_seed, config.seed), cut]
            key += [self._precision(stream.epoch), config.channels_last, config.block_size, config.threads]
            key += [processor(config.device)]
        return hashlib.sha256(repr(key).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class _Stream:
    """One view of every item; `items` are sorted."""

    items: Items
    epoch: int
    occurrence: int

    @cached_property
    def digest(self) -> str:
        return hashlib.sha256(self.items.tobytes()).hexdigest()

    def draws(self, number: int) -> Draws:
        items = self.items[number * UNIT : (number + 1) * UNIT]
        return Draws(items, np.full_like(items, self.epoch), np.full_like(items, self.occurrence))


def scaling(contract: InputContract, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and 1 / std, each (1, 3, 1, 1), for views of 0 to 255; the bits are the same on every device."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) * 255 for values in (contract.mean, contract.std))
    return mean.to(device), (1 / std).to(device)


def normalized(views: torch.Tensor, mean: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Normalize views (n, size, size, 3) to inputs (n, 3, size, size)."""
    return (views.permute(0, 3, 1, 2).float() - mean) * scale


def _regrouped(groups: Iterator[torch.Tensor], size: int) -> Iterator[torch.Tensor]:
    """Regroup rows into groups of `size`."""
    rows = next(groups)
    for group in groups:
        while len(rows) >= size:
            yield rows[:size]
            rows = rows[size:]
        rows = torch.cat([rows, group])
    yield from rows.split(size)


def _channels_last(x: torch.Tensor, wanted: bool) -> torch.Tensor:
    """Return activations in the store's layout: (n, h, w, c) if the net works channels last, which needs no copy."""
    return (x.permute(0, 2, 3, 1) if wanted and x.ndim == 4 else x).contiguous()


def _channels_first(x: torch.Tensor, channels_last: bool) -> torch.Tensor:
    return x.permute(0, 3, 1, 2) if channels_last and x.ndim == 4 else x


def autocast(device: str, precision: str) -> torch.autocast:
    """Return the autocast context of a config's precision."""
    return torch.autocast(device, dtype=torch.bfloat16, enabled=precision == "bfloat16")


def versions() -> tuple[str, ...]:
    """Return the versions of the libraries that activations depend on."""
    return (torch.__version__, timm.__version__, np.__version__, PIL.__version__)


@cache
def processor(device: str) -> str:
    """Return the model and capabilities of the processor, which decide what kernels run."""
    if device == "cuda":
        return f"{torch.cuda.get_device_name()} {torch.version.cuda} {torch.backends.cudnn.version()}"
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    model = next((line for line in lines if line.startswith(("model name", "CPU part"))), platform.processor())
    return f"{platform.machine()} {model} {torch.backends.cpu.get_cpu_capability()}"
