"""Which pictures are the same picture: byte for byte, or re-encoded, resized, lightly retouched.

Perceptual hashes propose pairs, thumbnails decide. The hash alone will not do: on drawings and tiny pictures
it calls hundreds of different pictures equal, and groups are transitive, so one wrong link joins two crowds.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

# pHash reads 32 x 32 pixels; thumbnails of that size serve the hash and the comparison that follows it.
THUMBNAIL_SIDE = 32

# Chosen on 1,239 clip-art pictures of at most 160 pixels: saved again as JPEG of quality 90, 50 and 30, or at
# half size, 100, 99, 97 and 96 % are found again. Of all pairs of scikit-learn's 8 x 8 digits, 462 pass the
# hash and none the thumbnails (the closest differs by 6.9 on average and 30 in its worst block).
MAX_HAMMING = 6  # of 64 bits
MAX_MEAN_DIFFERENCE = 6.0  # of 255, over the thumbnail; re-encoding stays below
MAX_BLOCK_DIFFERENCE = 16.0  # of 255, in the worst of 8 x 8 blocks; a changed detail shows here

_ROWS = 512  # hashes compared at once with all others: 512 x 20,000 distances of 8 bytes are 80 MB
_PAIRS = 4096  # thumbnails compared at once: 4,096 differences of 32 x 32 x 3 floats, 50 MB


def thumbnail(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A (32, 32, 3) picture; proportions are lost, as in pHash."""
    size = (THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    return np.array(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))


def perceptual_hash(thumb: NDArray[np.uint8]) -> int:
    """64-bit pHash of a thumbnail."""
    import imagehash  # imports scipy

    return int(str(imagehash.phash(Image.fromarray(thumb))), 16)


def find_groups(sha256: Sequence[str], hashes: NDArray[np.uint64], thumbnails: NDArray[np.uint8]) -> NDArray[np.int64]:
    """For each picture the position of the first picture of its group; all inputs run over the pictures."""
    count = len(sha256)
    _, first, inverse = np.unique(np.asarray(sha256, dtype=str), return_index=True, return_inverse=True)
    pairs = [first[block] for block in _near_pairs(hashes[first], thumbnails[first])]
    links = np.concatenate([np.stack([np.arange(count), first[inverse]], axis=1), *pairs])
    return _components(links, count)


def unite(groups: NDArray[np.int64], names: Sequence[str | None]) -> NDArray[np.int64]:
    """The groups of `find_groups`, joined wherever two pictures carry the same name; None is no name."""
    first: dict[str, int] = {}
    named = [(position, first.setdefault(name, position)) for position, name in enumerate(names) if name is not None]
    own = np.array(named, dtype=np.int64).reshape(-1, 2)
    return _components(np.concatenate([np.stack([np.arange(len(groups)), groups], axis=1), own]), len(groups))


def copies(manifest: pd.DataFrame) -> pd.Series:
    """For each row the first item with the same picture; `group` also holds what the user groups."""
    return manifest["duplicate_of" if "duplicate_of" in manifest else "group"]


def conflicting_groups(manifest: pd.DataFrame) -> list[list[int]]:
    """Items of every group of duplicates that carries more than one label."""
    kept = manifest[manifest["keep"]].sort_values("item")
    groups = kept.groupby(copies(kept))
    return [list(members["item"]) for _, members in groups if members["label"].nunique() > 1]


def _components(links: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """For each of `count` pictures the first that a chain of links (pairs of positions) leads to."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(links), dtype=bool), (links[:, 0], links[:, 1])), shape=(count, count))
    _, component = connected_components(graph, directed=False)
    _, start = np.unique(component, return_index=True)
    return start[component].astype(np.int64)


def _near_pairs(hashes: NDArray[np.uint64], thumbnails: NDArray[np.uint8]) -> Iterator[NDArray[np.int64]]:
    """Arrays (pairs, 2) of positions; comparing all hashes by popcount takes 7 s for 50,000 pictures."""
    blocks = thumbnails.reshape(-1, 8, 4, 8, 4, 3).mean(axis=(2, 4), dtype=np.float32).reshape(-1, 8 * 8 * 3)
    for start in range(0, len(hashes), _ROWS):
        rows = hashes[start : start + _ROWS, None]
        near = np.argwhere(np.bitwise_count(rows ^ hashes[None, start:]) <= MAX_HAMMING) + start
        near = near[near[:, 0] < near[:, 1]]
        for block in range(0, len(near), _PAIRS):
            pairs = near[block : block + _PAIRS]
            # The cheap test first: thousands of drawings may share one hash, and all their pairs come here.
            pairs = pairs[_differences(blocks, pairs).max(axis=1) <= MAX_BLOCK_DIFFERENCE]
            whole = _differences(thumbnails.reshape(len(thumbnails), -1), pairs)
            yield pairs[whole.mean(axis=1) <= MAX_MEAN_DIFFERENCE]


def _differences(values: NDArray, pairs: NDArray[np.int64]) -> NDArray[np.float32]:
    return np.abs(values[pairs[:, 0]].astype(np.float32) - values[pairs[:, 1]])
