"""An exponential moving average (EMA) of the weights, which is evaluated and kept instead of the weights."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from trainables.nets.models import Net, load_trained, trained_state, trained_tensors


class Average:
    """The moving average of the trained parameters and their buffers.

    The decay warms up: it is at most (1 + t) / (10 + t) after t steps, as in TensorFlow's ExponentialMovingAverage.
    """

    # torch's AveragedModel and timm's ModelEmaV3 lack this warm-up, and both also copy and average the frozen part.

    def __init__(self, net: Net, decay: float, known: dict[str, torch.Tensor], steps: int) -> None:
        self.net, self.decay, self.steps = net, decay, steps
        self.state = {name: tensor.to(net.head.weight.device).clone() for name, tensor in known.items()}
        self.state = self.state or trained_state(net)

    def update(self) -> None:
        """Average in the net's current weights, after an optimizer step."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, tensor in trained_tensors(self.net).items():
            if tensor.is_floating_point():
                self.state[name].lerp_(tensor, 1 - decay)
            else:
                self.state[name].copy_(tensor)

    def copy(self) -> dict[str, torch.Tensor]:
        """Return a copy of the average, for a checkpoint."""
        return {name: tensor.clone() for name, tensor in self.state.items()}

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Load the averaged weights into the net, within the block."""
        own = trained_state(self.net)
        load_trained(self.net, self.state)
        try:
            yield
        finally:
            load_trained(self.net, own)
