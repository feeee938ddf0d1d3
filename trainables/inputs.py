"""What a trial's net takes in, epoch by epoch and fold by fold."""

from collections.abc import Iterator

import numpy as np
import torch

from trainables.activations import Activations, Draws, Items, autocast, evaluation_draws
from trainables.config import TrialConfig
from trainables.keyed import key, order
from trainables.models import Net
from trainables.place import Pictures
from trainables.policies import POLICIES
from trainables.prefetch import ahead
from trainables.prefixes import POOLED

# Batches that are made while a GPU is at work: one to hide the making, one more for when it varies.
_AHEAD = 2


def draws(stream: int, items: Items, count: int) -> tuple[Items, Items]:
    """`count` items in keyed passes over all of them, and which pass (occurrence in the epoch) each belongs to."""
    passes = -(-count // len(items))
    drawn = np.concatenate([order(key("pass", stream, i), items) for i in range(passes)])
    return drawn[:count], np.repeat(np.arange(passes), len(items))[:count]


def seen(config: TrialConfig, items: Items, occurrence: Items, epoch: int) -> Draws:
    """The view that an epoch sees of each picture."""
    if POLICIES[config.augmentation] is None:
        return evaluation_draws(items)
    if config.views is None:
        return Draws(items, np.full_like(items, epoch), occurrence)
    # Every time a picture is seen, the next of its views.
    return Draws(items, (epoch - 1 + occurrence) % config.views + 1, np.zeros_like(occurrence))


class Inputs:
    """Features for the head: activations at the cut, through what of the backbone trains."""

    def __init__(self, config: TrialConfig, net: Net, activations: Activations, pictures: Pictures) -> None:
        self.config, self.net, self.activations, self.pictures = config, net, activations, pictures
        self._kept: dict[bytes, torch.Tensor] = {}

    def training_features(self, items: Items, occurrence: Items, epoch: int) -> Iterator[torch.Tensor]:
        """The features of each batch of an epoch's draws, ready for the gradient where the backbone trains."""
        views = seen(self.config, items, occurrence, epoch)
        batches = self.activations.batches(views, self.config.batch_size, self.pictures.pool)
        if self.config.device == "cuda":
            batches = ahead(map(_pinned, batches), _AHEAD)
        yield from map(self._features, batches)

    def evaluation_logits(self, items: Items) -> torch.Tensor:
        """The logits (n, classes) of `items` in evaluation mode and evaluation views, on the CPU."""
        self.net.eval()
        with torch.no_grad():
            return self.net.head(self._evaluation_features(items)).cpu()

    def _evaluation_features(self, items: Items) -> torch.Tensor:
        name = items.tobytes()
        if name in self._kept:
            return self._kept[name]
        # Where training sees the same views, its units hold these pictures too.
        plain = POLICIES[self.config.augmentation] is None and np.isin(items, self.pictures.pool).all()
        universe = self.pictures.pool if plain else np.unique(items)
        size = self.config.block_size
        features = []
        for rows in self.activations.batches(evaluation_draws(items), size, universe):
            block = rows[torch.arange(size) % len(rows)]
            features.append(self._features(block)[: len(rows)])
        if self.activations.cut == POOLED:  # what training does not change is kept
            self._kept[name] = torch.cat(features)
        return torch.cat(features)

    def _features(self, rows: torch.Tensor) -> torch.Tensor:
        with autocast(self.config.device, self.config.precision):
            return self.net.backbone(self.activations.to_device(rows)).float()


def _pinned(rows: torch.Tensor) -> torch.Tensor:
    """From where a GPU fetches them while it computes."""
    return rows if rows.is_cuda else rows.pin_memory()
