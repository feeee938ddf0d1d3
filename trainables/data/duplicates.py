"""Find exact and near duplicates: images that are equal byte for byte, or re-encoded, resized or slightly retouched.

Perceptual hashes propose pairs, and thumbnails decide. The hash alone is not enough, because it gives hundreds of
different drawings or tiny images the same value. Groups are transitive, so one wrong link would join two groups.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, combinations, pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:  # the import takes half a second, which a helper process does not need
    import pandas as pd

# pHash reads 32 x 32 pixels; thumbnails of that size serve both the hash and the comparison.
THUMBNAIL_SIDE = 32

# Tuned on 1,239 clip-art images of at most 160 pixels. After saving as JPEG of quality 90, 50 or 30, or at half size,
# 100%, 99%, 97% and 96% of them were found. Of all pairs of scikit-learn's 8 x 8 digits, 462 pass the hash and none
# passes the thumbnails (the closest pair differs by 6.9 on average, and by 30 in its worst block).
MAX_HAMMING = 6  # of 64 bits
MAX_MEAN_DIFFERENCE = 6.0  # of 255, over the thumbnail; re-encoding stays below
MAX_BLOCK_DIFFERENCE = 16.0  # of 255, in the worst of 8 x 8 blocks, where a changed detail shows

# Two 64-bit hashes that differ in at most 6 bits have at least 2 of their 8 bytes in common. So only hashes that agree
# in one of the 28 pairs of bytes are compared.
_BYTES = list(combinations(range(8), 8 - MAX_HAMMING))
_PAIRS = 1024  # pairs of thumbnails compared at once: 1,024 differences of 32 x 32 x 3 floats, 13 MB
_AT_ONCE = 2**18  # pairs of hashes compared at once
_LOADED = 2**14  # thumbnails in memory at once: 50 MB, and 13 MB for their blocks

Thumbnails = Callable[[NDArray[np.int64]], NDArray[np.uint8]]  # positions (n,) to (n, 32, 32, 3)


def thumbnail(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the thumbnail (32, 32, 3) of an image (height, width, 3), with its aspect ratio lost, as in pHash."""
    size = (THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    return np.array(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))


def perceptual_hash(thumb: NDArray[np.uint8]) -> int:
    """Return the 64-bit pHash of a thumbnail (32, 32, 3)."""
    import imagehash  # imports scipy

    return int(str(imagehash.phash(Image.fromarray(thumb))), 16)


def find_groups(
    sha256: Sequence[str], hashes: NDArray[np.uint64], thumbnails: NDArray[np.uint8] | Thumbnails
) -> NDArray[np.int64]:
    """Return, for every image, the position of the first image of its group, shape (n,).

    All inputs have n entries. If `thumbnails` is a function, it is called only for images with similar hashes.
    """
    import pandas as pd

    count = len(sha256)
    codes, _ = pd.factorize(np.asarray(sha256, dtype=object))
    first = np.unique(codes, return_index=True)[1]
    load = thumbnails if callable(thumbnails) else thumbnails.__getitem__
    loaded = _Loaded(lambda positions: load(first[positions]), len(first))
    links = np.concatenate([np.stack([np.arange(count), first[codes]], axis=1), *_equal(hashes[first], loaded, first)])
    return _components(links, count)


def unite(groups: NDArray[np.int64], names: Sequence[str | None]) -> NDArray[np.int64]:
    """Join the groups of `find_groups` wherever two images have the same name, shape (n,); None is no name."""
    first: dict[str, int] = {}
    named = [(position, first.setdefault(name, position)) for position, name in enumerate(names) if name is not None]
    own = np.array(named, dtype=np.int64).reshape(-1, 2)
    return _components(np.concatenate([np.stack([np.arange(len(groups)), groups], axis=1), own]), len(groups))


def copies(manifest: "pd.DataFrame") -> "pd.Series":
    """Return, for every row, the first item with the same image.

    It is not the column `group`, because that also joins the user's own groups.
    """
    return manifest["duplicate_of" if "duplicate_of" in manifest else "group"]


def conflicting_groups(manifest: "pd.DataFrame") -> list[list[int]]:
    """Return the items of every duplicate group with more than one label."""
    kept = manifest[manifest["keep"]].sort_values("item")
    conflicting = kept[kept.groupby(copies(kept))["label"].transform("nunique") > 1]
    return [list(members["item"]) for _, members in conflicting.groupby(copies(conflicting))]


def _components(links: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return, for each of `count` images, the first image that a chain of links (pairs of positions) leads to."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(links), dtype=bool), (links[:, 0], links[:, 1])), shape=(count, count))
    _, component = connected_components(graph, directed=False)
    _, start = np.unique(component, return_index=True)
    return start[component].astype(np.int64)


def _equal(hashes: NDArray[np.uint64], loaded: "_Loaded", names: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yield arrays (pairs, 2) of the names of images with similar hashes and similar thumbnails."""
    for near in _near_pairs(hashes):
        for block in range(0, len(near), _PAIRS):
            yield names[loaded.alike(near[block : block + _PAIRS])]


def _near_pairs(hashes: NDArray[np.uint64]) -> Iterator[NDArray[np.int64]]:
    """Yield arrays (pairs, 2) of positions whose hashes differ in at most MAX_HAMMING bits, each pair once."""
    order = np.argsort(hashes, kind="stable")
    distinct, starts, counts = np.unique(hashes[order], return_index=True, return_counts=True)
    shared = np.flatnonzero(counts > 1)  # hashes of several images
    for pairs in chain([np.stack([shared, shared], axis=1)], _near_distinct(distinct)):
        left, row = _runs(starts[pairs[:, 0]], counts[pairs[:, 0]])
        right = pairs[row, 1]
        for chunk in _slices(counts[right]):  # each image with the left hash meets all images with the right hash
            second, of = _runs(starts[right[chunk]], counts[right[chunk]])
            first = left[chunk][of]
            yield order[np.stack([first, second], axis=1)[first < second]]


def _near_distinct(hashes: NDArray[np.uint64]) -> Iterator[NDArray[np.int64]]:
    """Yield arrays (pairs, 2) of the positions of similar hashes, the smaller first; no two hashes are equal."""
    digits = hashes.astype(">u8").view(np.uint8).reshape(-1, 8)
    for shared in _BYTES:
        keys = np.ascontiguousarray(digits[:, shared]).view(f">u{len(shared)}").ravel()
        order = np.argsort(keys, kind="stable")
        ends = np.searchsorted(keys[order], keys[order], side="right")
        ranks = np.arange(len(order))
        for chunk in _slices(ends - ranks - 1):  # each hash meets those that follow it under the same key
            second, of = _runs(ranks[chunk] + 1, (ends - ranks - 1)[chunk])
            pairs = order[np.stack([ranks[chunk][of], second], axis=1)]
            differ = hashes[pairs[:, 0]] ^ hashes[pairs[:, 1]]
            near = np.bitwise_count(differ) <= MAX_HAMMING
            near[near] = _first_shared(differ[near], shared)
            yield np.sort(pairs[near], axis=1)


def _first_shared(differ: NDArray[np.uint64], shared: tuple[int, ...]) -> NDArray[np.bool_]:
    """Whether the shared bytes are the first that agree: a pair that agrees in more bytes is found several times."""
    agree = differ.astype(">u8").view(np.uint8).reshape(-1, 8) == 0
    before = agree[:, : shared[-1] + 1].sum(axis=1)
    return before == len(shared)


def _runs(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the concatenated ranges start ... start + length - 1, and the index of the start of every number."""
    of = np.repeat(np.arange(len(starts)), lengths)
    return starts[of] + np.arange(len(of)) - (np.cumsum(lengths) - lengths)[of], of


def _slices(lengths: NDArray[np.int64]) -> Iterator[slice]:
    """Return consecutive slices whose lengths sum to about _AT_ONCE."""
    totals = np.cumsum(lengths)
    cuts = np.searchsorted(totals, np.arange(_AT_ONCE, totals[-1] if len(totals) else 0, _AT_ONCE), side="right")
    return (slice(begin, end) for begin, end in pairwise(np.unique([0, *cuts, len(lengths)]).tolist()))


class _Loaded:
    """A cache of thumbnails by position; when it is full, all of them are dropped."""

    def __init__(self, load: Thumbnails, count: int) -> None:
        self._load = load
        self._slots = np.full(count, -1, dtype=np.int32)
        self._room = max(min(count, _LOADED), 2 * _PAIRS)
        self._held = 0
        self._pixels = np.empty((0, THUMBNAIL_SIDE**2 * 3), dtype=np.uint8)
        self._blocks = np.empty((0, 8 * 8 * 3), dtype=np.float32)

    def alike(self, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the pairs that show the same image, from an array of at most _PAIRS pairs."""
        self._need(np.unique(pairs))
        # The cheap test comes first: thousands of drawings may share one hash, and all their pairs arrive here.
        pairs = pairs[_differences(self._blocks, self._slots[pairs]).max(axis=1) <= MAX_BLOCK_DIFFERENCE]
        return pairs[_differences(self._pixels, self._slots[pairs]).mean(axis=1) <= MAX_MEAN_DIFFERENCE]

    def _need(self, positions: NDArray[np.int64]) -> None:
        missing = positions[self._slots[positions] < 0]
        if self._held + len(missing) > self._room:
            self._slots[:] = -1
            self._held, missing = 0, positions
        if len(self._pixels) == 0 and len(missing):
            self._pixels = np.empty((self._room, self._pixels.shape[1]), dtype=np.uint8)
            self._blocks = np.empty((self._room, self._blocks.shape[1]), dtype=np.float32)
        new = slice(self._held, self._held + len(missing))
        if len(missing):
            thumbnails = self._load(missing)
            self._pixels[new] = thumbnails.reshape(len(missing), -1)
            blocks = thumbnails.reshape(-1, 8, 4, 8, 4, 3).mean(axis=(2, 4), dtype=np.float32)
            self._blocks[new] = blocks.reshape(len(missing), -1)
            self._slots[missing] = np.arange(new.start, new.stop)
            self._held = new.stop


def _differences(values: NDArray, pairs: NDArray[np.int32]) -> NDArray[np.float32]:
    return np.abs(values[pairs[:, 0]].astype(np.float32) - values[pairs[:, 1]])
