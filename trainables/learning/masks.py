"""Keyed masks of dropout, DropConnect and drop path, drawn on the device that uses them."""

import numpy as np
import torch
from numpy.typing import NDArray

from trainables.keyed import GAMMA, MIX_1, MIX_2, uniform


def kept(rate: float, device: str, stream: int, *counters: NDArray[np.int64]) -> torch.Tensor:
    """Return a float32 mask on `device` that is 0 with probability `rate`, else 1, in the counters' broadcast shape."""
    if device == "cpu":  # NumPy is faster there
        return torch.from_numpy((uniform(stream, *counters) >= rate).astype(np.float32))
    return (uniform_on(device, stream, *counters) >= rate).float()


def uniform_on(device: str, stream: int, *counters: NDArray[np.int64]) -> torch.Tensor:
    """Return the numbers of `uniform`, float64, computed on a device; torch has no shift of unsigned integers there."""
    state = torch.tensor(_signed(stream), device=device)
    for counter in counters:
        state = _mix_signed((state ^ torch.from_numpy(counter).to(device)) + _signed(GAMMA))
    return _shifted(state, 11).double() * 2.0**-53


def _signed(number: int | np.uint64) -> int:
    """Return the 64-bit integer with the same bits; signed sums and products wrap around in the same way."""
    return int(np.uint64(number).astype(np.int64))


def _shifted(z: torch.Tensor, by: int) -> torch.Tensor:
    return (z >> by) & ((1 << (64 - by)) - 1)  # a signed shift fills with the sign


def _mix_signed(z: torch.Tensor) -> torch.Tensor:
    z = (z ^ _shifted(z, 30)) * _signed(MIX_1)
    z = (z ^ _shifted(z, 27)) * _signed(MIX_2)
    return z ^ _shifted(z, 31)
