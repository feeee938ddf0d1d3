"""The inputs of a trial's head: features for every epoch and fold."""

from collections.abc import Iterator, Sequence
from itertools import repeat

import numpy as np
import torch

from trainables.augmentation.mixing import Mixture, blend
from trainables.augmentation.policies import POLICIES
from trainables.config import TrialConfig
from trainables.data.trial_data import TrialData
from trainables.frozen.activations import Activations, Draws, Items, autocast, evaluation_draws
from trainables.keyed import key
from trainables.learning.masks import kept
from trainables.learning.prefetch import ahead
from trainables.learning.team import ALONE, Team
from trainables.nets.drop_path import KeyedDropPath
from trainables.nets.models import Net
from trainables.nets.prefixes import POOLED

# Batches prepared while a GPU computes: one to hide the preparation, and one more for jitter.
_AHEAD = 2


def views_of_epoch(config: TrialConfig, items: Items, occurrence: Items, epoch: int) -> Draws:
    """Return the views that an epoch uses, for `items` (n,) and their `occurrence` (n,) in the epoch."""
    if POLICIES[config.augmentation] is None:
        return evaluation_draws(items)
    if config.views is None:
        return Draws(items, np.full_like(items, epoch), occurrence)
    # Every draw of an image uses the next of its views.
    return Draws(items, (epoch - 1 + occurrence) % config.views + 1, np.zeros_like(occurrence))


class Inputs:
    """The features of a trial: activations at the cut, passed through the trainable part of the backbone."""

    def __init__(
        self,
        config: TrialConfig,
        net: Net,
        activations: Activations,
        data: TrialData,
        drop_paths: Sequence[KeyedDropPath] = (),
        team: Team = ALONE,
    ) -> None:
        self.team = team
        share = config.batch_size // team.size
        self.pass_size = config.micro_batch or share  # images of this process in a forward pass
        self.passes = share // self.pass_size  # of a step
        self.config, self.net, self.activations, self.data = config, net, activations, data
        self._drop_paths = drop_paths
        self._kept: dict[bytes, torch.Tensor] = {}

    def training_features(
        self, items: Items, occurrence: Items, epoch: int, mixed: Mixture | None = None
    ) -> Iterator[torch.Tensor]:
        """Yield the features (pass_size, f) of every forward pass, with gradients if the backbone trains."""
        size = self.pass_size
        batches = self._rows(items, occurrence, epoch)
        others = repeat(None) if mixed is None else self._rows(mixed.partners, np.zeros_like(items), epoch)
        try:
            for number, (rows, partners) in enumerate(zip(batches, others, strict=False)):
                batch = slice(number * size, (number + 1) * size)
                x = self.activations.to_device(rows)
                if mixed is not None and partners is not None:
                    x = blend(x, self.activations.to_device(partners), mixed[batch])
                self._skip_branches(items[batch], occurrence[batch], epoch)
                yield self._features(x, self.config.precision)
        finally:
            for drop_path in self._drop_paths:
                drop_path.scale = None

    def _rows(self, items: Items, occurrence: Items, epoch: int) -> Iterator[torch.Tensor]:
        views = views_of_epoch(self.config, items, occurrence, epoch)
        rows = self.activations.batches(views, self.pass_size, self.data.pool)
        if self.config.device != "cuda":
            return rows
        return ahead(on_gpu(torch.cuda.current_device(), rows), _AHEAD)

    def _skip_branches(self, items: Items, occurrence: Items, epoch: int) -> None:
        for number, drop_path in enumerate(self._drop_paths):
            stream = key("drop path", self.config.study_seed, self.config.seed, epoch, number)
            mask = kept(drop_path.rate, self.config.device, stream, items, occurrence)
            drop_path.scale = mask / (1 - drop_path.rate)

    def evaluation_features(self, items: Items) -> torch.Tensor:
        """Return the input of the head (n, f) on the CPU, in evaluation mode and on evaluation views."""
        self.net.eval()
        with torch.no_grad():
            return self._evaluation_features(items).cpu()

    def evaluation_logits(self, items: Items) -> torch.Tensor:
        """Return the logits (n, classes) of `items` on the CPU, in evaluation mode and on evaluation views."""
        self.net.eval()
        with torch.no_grad():
            return self.team.gathered(lambda part: self.net.logits(self._evaluation_features(part)), items).cpu()

    def _evaluation_features(self, items: Items) -> torch.Tensor:
        name = items.tobytes()
        if name in self._kept:
            return self._kept[name]
        # Training without augmentation uses the same views, so its stored units hold these images too.
        plain = POLICIES[self.config.augmentation] is None and np.isin(items, self.data.pool).all()
        universe = self.data.pool if plain else np.unique(items)
        size = self.config.block_size
        features = []
        for rows in self.activations.batches(evaluation_draws(items), size, universe):
            block = rows[torch.arange(size) % len(rows)]
            # In float32, because users of the shipped model compute in float32.
            features.append(self._features(self.activations.to_device(block), "float32")[: len(rows)])
        if self.activations.cut == POOLED:  # training does not change these features
            self._kept[name] = torch.cat(features)
        return torch.cat(features)

    def _features(self, x: torch.Tensor, precision: str) -> torch.Tensor:
        with autocast(self.config.device, precision):
            return self.net.backbone(x).float()


def on_gpu(device: int, rows: Iterator[torch.Tensor]) -> Iterator[torch.Tensor]:
    """Yield pinned rows that are computed on this GPU: the current device of a new thread is always the first one."""
    with torch.cuda.device(device):
        yield from map(_pinned, rows)


def _pinned(rows: torch.Tensor) -> torch.Tensor:
    """Pin memory, so that copies to the GPU are asynchronous."""
    return rows if rows.is_cuda else rows.pin_memory()
