"""Masks that a GPU draws have the bits of those that a CPU draws."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainables.keyed import key, uniform
from trainables.learning.masks import kept, uniform_on

COUNTERS = st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=8)


@given(st.integers(0, 2**64 - 1), COUNTERS, COUNTERS)
def test_torch_draws_the_numbers_of_numpy(stream: int, rows: list[int], columns: list[int]) -> None:
    counters = np.array(rows)[:, None], np.array(columns)[None, :]
    np.testing.assert_array_equal(uniform_on("cpu", stream, *counters).numpy(), uniform(stream, *counters))


@pytest.mark.parametrize("rate", [0.0, 0.25, 0.9])
def test_a_mask_drops_at_its_rate(rate: float) -> None:
    items, units = np.arange(300)[:, None], np.arange(200)[None, :]
    mask = kept(rate, "cpu", key("mask"), items, units)
    assert mask.dtype == torch.float32
    assert set(mask.unique().tolist()) == ({1.0} if rate == 0 else {0.0, 1.0})
    # Four standard errors of a share of 60,000.
    assert abs(float(mask.mean()) - (1 - rate)) <= 4 * (rate * (1 - rate) / 60_000) ** 0.5
