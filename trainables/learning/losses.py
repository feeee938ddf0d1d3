"""Losses and scores. Binary cross-entropy with one output z is the cross-entropy of the logits (0, z), see `Net`."""

import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from trainables.augmentation.mixing import Mixture
from trainables.config import TrialConfig


def batch_loss(
    config: TrialConfig, logits: torch.Tensor, labels: torch.Tensor, others: torch.Tensor, mixed: Mixture | None
) -> torch.Tensor:
    """Return the mean cross-entropy of logits (b, classes) in nats; in a mixed batch, both labels are weighted.

    `labels` (b,) belong to the images, and `others` (b,) to their partners.
    """
    smoothing = config.label_smoothing
    if mixed is None:
        return F.cross_entropy(logits, labels, label_smoothing=smoothing)
    own = torch.from_numpy(mixed.own).to(logits.device)
    of_own = F.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="none")
    of_others = F.cross_entropy(logits, others, label_smoothing=smoothing, reduction="none")
    return (own * of_own + (1 - own) * of_others).mean()


def score(logits: torch.Tensor, labels: NDArray) -> tuple[float, float]:
    """Return the accuracy and the mean cross-entropy in nats of logits (n, classes), without label smoothing."""
    target = torch.from_numpy(labels)
    correct = int((logits.argmax(dim=1) == target).sum())
    return correct / len(labels), float(F.cross_entropy(logits.double(), target))
