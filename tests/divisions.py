"""Class tables and splits for the tests of how images are divided."""

import numpy as np
from hypothesis import strategies as st

from trainables.data.splits import Folds

LEVELS = ["80-10-10", "70-15-15", "60-30-10"]
classes = st.dictionaries(
    st.sampled_from("abc"), st.lists(st.integers(1, 4), min_size=3, max_size=15), min_size=1, max_size=3
)
seeds = st.integers(0, 2**32)


def same(a: Folds, b: Folds) -> bool:
    return (
        np.array_equal(a.test, b.test)
        and np.array_equal(a.val, b.val)
        and a.train.keys() == b.train.keys()
        and all(np.array_equal(a.train[level], b.train[level]) for level in a.train)
    )
