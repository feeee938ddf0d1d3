"""One epoch of training: batches, loss, regularizers and optimizer."""

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from trainables.augmentation.mixing import mixture
from trainables.config import TrialConfig
from trainables.keyed import key
from trainables.learning.inputs import Inputs
from trainables.learning.losses import batch_loss
from trainables.learning.masks import kept
from trainables.learning.optimizers import penalty, schedule, set_rate, take_step
from trainables.learning.sampling import class_balanced_draws, uniform_draws
from trainables.nets.averaging import Average
from trainables.nets.models import train_mode

Items = NDArray[np.int64]


@dataclass(frozen=True)
class Training:
    """The net that trains, and the state of its training; `first` is the number of epochs before this phase."""

    inputs: Inputs
    optimizer: torch.optim.Optimizer
    first: int = 0
    average: Average | None = None
    start: dict[str, torch.Tensor] = field(default_factory=dict)  # the weights that L2-SP pulls toward

    def penalty(self) -> torch.Tensor:
        """Return the penalty of the current weights, a scalar."""
        return penalty(self.inputs.config, self.inputs.net, self.start)

    def factor(self, epoch: int, step: int = 0) -> float:
        """Return the schedule's factor at a step (from 0) of an epoch (from 1, over the whole trial)."""
        config = self.inputs.config
        return schedule(config, (epoch - self.first - 1) * config.steps_per_epoch + step)


def train_epoch(training: Training, epoch: int) -> None:
    """Take `steps_per_epoch` optimizer steps over keyed draws from the training fold."""
    inputs = training.inputs
    config, net, data = inputs.config, inputs.net, inputs.data
    train_mode(net)
    items, occurrence = _draws(inputs, epoch)
    mixed = mixture(config, items, occurrence, epoch, data.train)
    share = inputs.team.share(len(items), config.batch_size)
    items, occurrence, mixed = items[share], occurrence[share], None if mixed is None else mixed[share]
    labels = torch.from_numpy(data.labels[items]).to(config.device)
    others = labels if mixed is None else torch.from_numpy(data.labels[mixed.partners]).to(config.device)
    for number, features in enumerate(inputs.training_features(items, occurrence, epoch, mixed)):
        step, part = divmod(number, inputs.passes)
        batch = slice(number * inputs.pass_size, (number + 1) * inputs.pass_size)
        if config.dropout:
            features = drop(config, features, items[batch], occurrence[batch], epoch)
        logits = net.logits(features, kept_connections(config, net.head.weight, epoch, step))
        loss = batch_loss(config, logits, labels[batch], others[batch], None if mixed is None else mixed[batch])
        loss = loss / inputs.passes
        if part < inputs.passes - 1:
            loss.backward()
        else:
            (loss + training.penalty()).backward()
            _update(training, training.factor(epoch, step))


def _update(training: Training, factor: float) -> None:
    """Take a step with the gradients of a whole batch."""
    inputs, optimizer = training.inputs, training.optimizer
    weights = [parameter for parameter in inputs.net.parameters() if parameter.requires_grad]
    set_rate(optimizer, factor)
    inputs.team.average_gradients(weights)
    if inputs.config.clip_norm is not None:
        torch.nn.utils.clip_grad_norm_(weights, inputs.config.clip_norm)
    take_step(optimizer)
    optimizer.zero_grad(set_to_none=True)
    if training.average is not None:
        training.average.update()


def _draws(inputs: Inputs, epoch: int) -> tuple[Items, Items]:
    config, data = inputs.config, inputs.data
    stream, count = key("order", config.study_seed, config.seed, epoch), config.steps_per_epoch * config.batch_size
    if config.sampling == "class_balanced":
        return class_balanced_draws(stream, data.train, data.labels[data.train], count)
    return uniform_draws(stream, data.train, count)


def drop(config: TrialConfig, features: torch.Tensor, items: Items, occurrence: Items, epoch: int) -> torch.Tensor:
    """Apply dropout to features (b, f) with a mask that is keyed by image and unit, whatever the batch order."""
    assert config.dropout is not None
    stream = key("dropout", config.study_seed, config.seed, epoch)
    units = np.arange(features.shape[1])[None, :]
    mask = kept(config.dropout, config.device, stream, items[:, None], occurrence[:, None], units)
    return features * mask / (1 - config.dropout)


def kept_connections(config: TrialConfig, weight: torch.Tensor, epoch: int, step: int) -> torch.Tensor | None:
    """Return the DropConnect mask (Wan et al. 2013) of the head's weights, with expectation 1; None if it is off."""
    if not config.drop_connect:
        return None
    stream = key("drop connect", config.study_seed, config.seed, epoch, step)
    mask = kept(config.drop_connect, config.device, stream, np.arange(weight.numel()))
    return mask.view(weight.shape) / (1 - config.drop_connect)
