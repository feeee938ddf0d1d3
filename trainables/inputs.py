"""From item numbers to what the head sees: views, normalised, through the backbone."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from trainables.config import TrialConfig
from trainables.keyed import key, order
from trainables.models import Net, input_contract
from trainables.place import Pictures
from trainables.views import ViewKey, evaluation_views, training_views


def draws(stream: int, items: NDArray[np.int64], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """`count` items in keyed passes over all of them, and which pass (occurrence in the epoch) each belongs to."""
    passes = -(-count // len(items))
    drawn = np.concatenate([order(key("pass", stream, i), items) for i in range(passes)])
    return drawn[:count], np.repeat(np.arange(passes), len(items))[:count]


class Inputs:
    """The pictures of one trial on their way to its head.

    A wholly frozen backbone runs without gradients in blocks of `block_size` pictures, the last one padded: its
    features then do not depend on what else is in the batch, and those of an evaluation fold are computed once.
    """

    def __init__(self, config: TrialConfig, net: Net, pictures: Pictures) -> None:
        self.config, self.net, self.pictures = config, net, pictures
        self.contract = input_contract(net)
        self.frozen = not any(parameter.requires_grad for parameter in net.backbone.parameters())
        self._kept: dict[bytes, torch.Tensor] = {}
        shape, device = (1, 3, 1, 1), config.device
        self._mean = torch.tensor(self.contract.mean, device=device).view(shape) * 255
        self._scale = 1 / (torch.tensor(self.contract.std, device=device).view(shape) * 255)

    def training_features(
        self, items: NDArray[np.int64], occurrence: NDArray[np.int64], epoch: int
    ) -> Iterator[torch.Tensor]:
        """The backbone's output for each batch of an epoch's draws, ready for the gradient where it trains."""
        size = self.config.batch_size
        if self.frozen:
            features = self._in_blocks(
                lambda block: self._training_batch(items[block], occurrence[block], epoch), len(items)
            )
            yield from features.split(size)
        else:
            for first in range(0, len(items), size):
                batch = slice(first, first + size)
                yield self._backbone(self._training_batch(items[batch], occurrence[batch], epoch))

    def evaluation_logits(self, items: NDArray[np.int64]) -> torch.Tensor:
        """The logits (n, classes) of `items` in evaluation mode and evaluation views, on the CPU."""
        self.net.eval()
        name = items.tobytes()
        features = self._kept.get(name)
        if features is None:
            features = self._in_blocks(lambda block: self._evaluation_batch(items[block]), len(items))
            if self.frozen:
                self._kept[name] = features
        with torch.no_grad():
            return self.net.head(features).cpu()

    def _in_blocks(self, batch, count: int) -> torch.Tensor:
        features = []
        size = self.config.block_size
        with torch.no_grad():
            for first in range(0, count, size):
                rows = min(size, count - first)
                # Padding with repeats keeps the shape, hence the kernels, hence the bits.
                block = first + np.arange(size) % rows
                features.append(self._backbone(batch(block))[:rows])
        return torch.cat(features)

    def _backbone(self, views: torch.Tensor) -> torch.Tensor:
        enabled = self.config.precision == "bfloat16"
        with torch.autocast(self.config.device, dtype=torch.bfloat16, enabled=enabled):
            return self.net.backbone(views).float()

    def _training_batch(self, items: NDArray[np.int64], occurrence: NDArray[np.int64], epoch: int) -> torch.Tensor:
        config = self.config
        where = ViewKey(config.study_seed, config.seed, epoch)
        pixels = [self.pictures.pixels[int(item)] for item in items]
        views = training_views(pixels, items, occurrence, where, config.augmentation, config.size, self.contract)
        return self._normalised(views)

    def _evaluation_batch(self, items: NDArray[np.int64]) -> torch.Tensor:
        pixels = [self.pictures.pixels[int(item)] for item in items]
        return self._normalised(evaluation_views(pixels, self.config.size, self.contract))

    def _normalised(self, views: NDArray[np.uint8]) -> torch.Tensor:
        tensor = torch.from_numpy(views).to(self.config.device).permute(0, 3, 1, 2)
        tensor = (tensor.float() - self._mean) * self._scale
        layout = torch.channels_last if self.config.channels_last else torch.contiguous_format
        return tensor.contiguous(memory_format=layout)
