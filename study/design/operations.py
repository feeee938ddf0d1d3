"""The cost of training a setting, counted in operations, so that it is the same on every machine."""

from trainables.config import TrialConfig
from trainables.nets.work import work_of

# A training step computes the output, the gradient of the activations and that of the weights, each as expensive.
_PASSES = 3


def operations(config: TrialConfig) -> float:
    """Return 1e9 multiply-adds of a training step per image, if nothing is stored."""
    work = work_of(config.backbone, config.unfreeze, config.size)
    return work.frozen + _PASSES * work.trained
