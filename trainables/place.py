"""The paths of a node. Nothing here changes a result, so none of it is part of a trial's config."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Place:
    """Paths as this node sees them."""

    manifest: Path
    data: Path
    cache: Path
    cache_gib: float | None = None  # limit of the cache; None: a share of the free disk
    weights: Path | None = None  # a folder of weight files; None: timm's own places
    # Activations worth storing, as (backbone, unfreeze depth): what is frozen at that depth, or for "all" the views.
    stored: frozenset[tuple[str, str]] = frozenset()
