"""The paths of a node. They change no result, so they are not part of a trial's config."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Place:
    """Paths as this node sees them."""

    manifest: Path
    data: Path
    cache: Path
    cache_gib: float | None = None  # limit of the cache in GiB; None: a share of the free disk
    weights: Path | None = None  # a folder of weights files; None: packages, timm's caches and its hub
    # Activations to store, as (backbone, unfreeze depth): the output of the part that is frozen at that depth, or the
    # views for "all".
    stored: frozenset[tuple[str, str]] = frozenset()
