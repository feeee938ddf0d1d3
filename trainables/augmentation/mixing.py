"""Mixup and CutMix with keyed partners and mixing ratios.

Mixup (Zhang et al. 2018) takes a weighted mean of two views. CutMix (Yun et al. 2019) pastes a rectangle of one view
into the other. The partner is any image of the training fold, and the ratio is drawn for each image.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from trainables.config import TrialConfig
from trainables.keyed import key, uniform

Items = NDArray[np.int64]


@dataclass(frozen=True)
class Mixture:
    """The mixing of every draw of an epoch: its partner, its own weight in [0, 1], and the rectangle of CutMix."""

    kind: str
    partners: Items  # (n,)
    own: NDArray[np.float32]  # (n,)
    boxes: NDArray[np.int64]  # (n, 4): left, top, right, bottom in pixels of the view

    def __getitem__(self, rows: slice | Items) -> "Mixture":
        return Mixture(self.kind, self.partners[rows], self.own[rows], self.boxes[rows])


def mixture(config: TrialConfig, items: Items, occurrence: Items, epoch: int, pool: Items) -> Mixture | None:
    """Return the mixture of an epoch's draws, or None without mixing; partners are drawn from `pool`."""
    if config.mixing == "none":
        return None
    from scipy.special import betaincinv  # takes half a second to import, and few trials need it

    def draw(name: str) -> NDArray[np.float64]:
        return uniform(key("mixing", config.study_seed, config.seed, name, epoch), items, occurrence)

    partners = pool[(draw("partner") * len(pool)).astype(np.int64)]
    own = betaincinv(config.mixing_alpha, config.mixing_alpha, draw("share"))
    boxes = _rectangles(1 - own, draw("x"), draw("y"), config.size)
    if config.mixing == "cutmix":  # the rectangle is clipped at the border, so its true area counts
        own = 1 - (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) / config.size**2
    return Mixture(config.mixing, partners, own.astype(np.float32), boxes)


def blend(views: torch.Tensor, others: torch.Tensor, mixed: Mixture) -> torch.Tensor:
    """Blend two batches (n, c, h, w) into one, shape (n, c, h, w)."""
    if mixed.kind == "mixup":
        share = torch.from_numpy(mixed.own).to(views.device).view(-1, 1, 1, 1)
        return views * share + others * (1 - share)
    left, top, right, bottom = torch.from_numpy(mixed.boxes).to(views.device).view(-1, 4, 1, 1, 1).unbind(1)
    rows, columns = (torch.arange(side, device=views.device) for side in views.shape[-2:])
    rows = rows.view(-1, 1)
    inside = (top <= rows) & (rows < bottom) & (left <= columns) & (columns < right)  # (n, 1, h, w)
    return torch.where(inside, others, views)


def _rectangles(area: NDArray, x: NDArray, y: NDArray, size: int) -> NDArray[np.int64]:
    """Return squares (n, 4) in pixels, clipped to the image.

    `area` is the share of the image's area; the centers `x` and `y` are in [0, 1].
    """
    half = np.sqrt(area) / 2
    corners = np.stack([x - half, y - half, x + half, y + half], axis=1)
    return np.rint(np.clip(corners, 0, 1) * size).astype(np.int64)
