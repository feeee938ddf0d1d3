import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trainables.keyed import bits, key, order, uniform

COUNTERS = st.integers(0, 2**63 - 1)
STREAMS = st.integers(0, 2**64 - 1)


def test_the_first_numbers_are_splitmix64s() -> None:
    # Seed 0 of the published generator gives these, for states that are multiples of its constant.
    assert int(bits(0, 0)) == 0xE220A8397B1DCDAF
    assert int(bits(0x9E3779B97F4A7C15, 0)) == 0x6E789E6AA1B965F4


def test_a_key_never_changes() -> None:
    assert key("order", 1, 2) == 17702102872987396547  # else every stored study would mean another one


def test_parts_do_not_run_into_each_other() -> None:
    keys = [key("a", 1), key("a1"), key("a", "1"), key("a", 1, 0), key("a", 10), key(1, "a"), key("a"), key("a", "")]
    assert len(set(keys)) == len(keys)


@given(STREAMS, st.lists(COUNTERS, min_size=1, max_size=20), st.data())
def test_a_number_depends_on_its_counter_alone(stream: int, counters: list[int], data: st.DataObject) -> None:
    whole = uniform(stream, counters)
    shuffled = data.draw(st.permutations(range(len(counters))))
    np.testing.assert_array_equal(uniform(stream, [counters[i] for i in shuffled]), whole[shuffled])
    assert [float(uniform(stream, counter)) for counter in counters] == whole.tolist()
    assert whole.min() >= 0
    assert whole.max() < 1


@given(STREAMS, st.lists(COUNTERS, min_size=1, max_size=5), st.lists(COUNTERS, min_size=1, max_size=5))
def test_counters_broadcast(stream: int, rows: list[int], columns: list[int]) -> None:
    grid = bits(stream, np.array(rows)[:, None], np.array(columns))
    assert grid.shape == (len(rows), len(columns))
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            assert grid[i, j] == bits(stream, row, column)


def test_counters_are_no_set() -> None:
    assert bits(1, 2, 3) != bits(1, 3, 2)
    assert bits(1, 2) != bits(1, 2, 0)


def test_numbers_are_uniform() -> None:
    u = uniform(key("test"), np.arange(300)[:, None], np.arange(300))
    counts, _ = np.histogram(u, bins=100, range=(0, 1))
    # Chi-squared with 99 degrees of freedom: above 164 once in 25 000 streams.
    assert ((counts - 900) ** 2 / 900).sum() < 164
    for neighbour in (u[1:] - u[:-1], u[:, 1:] - u[:, :-1]):  # of independent numbers these have variance 1/6
        assert abs(neighbour.var() - 1 / 6) < 0.003


def test_streams_are_unrelated() -> None:
    a, b = (uniform(key("view", 0, 0, name, 1), np.arange(20_000)) for name in ("left", "top"))
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.03


@given(STREAMS, st.lists(COUNTERS, unique=True, max_size=30), st.data())
def test_an_order_does_not_depend_on_the_order_given(stream: int, items: list[int], data: st.DataObject) -> None:
    ordered = order(stream, items)
    assert sorted(ordered.tolist()) == sorted(items)
    np.testing.assert_array_equal(order(stream, data.draw(st.permutations(items))), ordered)


@given(STREAMS, st.lists(COUNTERS, unique=True, min_size=1, max_size=30), st.data())
def test_leaving_items_out_keeps_the_order_of_the_rest(stream: int, items: list[int], data: st.DataObject) -> None:
    kept = data.draw(st.sets(st.sampled_from(items)))
    assert [item for item in order(stream, items).tolist() if item in kept] == order(stream, sorted(kept)).tolist()


def test_every_item_comes_first_equally_often() -> None:
    first = [int(order(key("order", seed), np.arange(10))[0]) for seed in range(2000)]
    counts = np.bincount(first, minlength=10)
    assert ((counts - 200) ** 2 / 200).sum() < 30  # 9 degrees of freedom: once in 2 300
