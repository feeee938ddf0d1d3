"""Counter-based randomness: every random number is a pure function of its key.

A key names the purpose of a number (study seed, repeat, operation, epoch), and counters name the image. Numbers do not
depend on batch position, worker or call order. So equal keys give equal numbers everywhere, and policies that share an
operation share its numbers.
"""

import hashlib

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Constants of splitmix64 (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators").
GAMMA = np.uint64(0x9E3779B97F4A7C15)
MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
MIX_2 = np.uint64(0x94D049BB133111EB)


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * MIX_1
    z = (z ^ (z >> np.uint64(27))) * MIX_2
    return z ^ (z >> np.uint64(31))


def key(*parts: int | str) -> int:
    """Hash the parts into a 64-bit key; `key("a", 1) != key("a1")`."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def bits(stream: int, *counters: ArrayLike) -> NDArray[np.uint64]:
    """Return 64 random bits for every combination of counters, in the shape to which they broadcast."""
    with np.errstate(over="ignore"):
        state = np.asarray(stream, dtype=np.uint64)
        for counter in counters:
            state = _mix((state ^ np.asarray(counter).astype(np.uint64)) + GAMMA)
        return state


def uniform(stream: int, *counters: ArrayLike) -> NDArray[np.float64]:
    """Return uniform numbers in [0, 1) with 53 bits for every combination of counters, in their broadcast shape."""
    return (bits(stream, *counters) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def order(stream: int, items: ArrayLike) -> NDArray[np.int64]:
    """Return the items (n,) in a keyed random order, which does not depend on their order in the argument."""
    items = np.asarray(items, dtype=np.int64)
    return items[np.lexsort((items, bits(stream, items)))]
