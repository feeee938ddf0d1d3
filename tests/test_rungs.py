"""Who goes on at a rung, by hand, and the promise to every level in whatever order trials arrive."""

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from study.plan import Planned
from study.rungs import KEPT_PER_LEVEL, judge, rung_epochs
from study.spec import Budget


def planned(name: str, audit: bool = False, **factors: str) -> Planned:
    return Planned(name, "search", factors, {}, audit)


def arrived(*values: float, audit: bool = False, **factors: str) -> list[tuple[Planned, float]]:
    return [(planned(f"t{i}", audit, **(factors or {"f": "a"})), value) for i, value in enumerate(values)]


def test_rungs_are_powers_of_the_reduction_below_the_last_epoch() -> None:
    assert rung_epochs(Budget(trials=1, epochs=30)) == [1, 3, 9, 27]
    assert rung_epochs(Budget(trials=1, epochs=27)) == [1, 3, 9]
    assert rung_epochs(Budget(trials=1, epochs=30, grace=2, reduction=4)) == [2, 8]
    assert rung_epochs(Budget(trials=1, epochs=1)) == []


def test_the_best_third_goes_on() -> None:
    # Five were there, the sixth makes six: two may go on. Nobody of level b has arrived, so none leads it.
    earlier = arrived(0.1, 0.2, 0.3, 0.4, 0.5)
    verdicts = {v: judge(planned("new", f="a"), 3, v, earlier, 3).go_on for v in (0.35, 0.45, 0.55)}
    assert verdicts == {0.35: False, 0.45: True, 0.55: True}


def test_too_few_to_cut_all_go_on() -> None:
    assert judge(planned("new", f="a"), 1, 0.0, arrived(0.8), 3).go_on
    assert judge(planned("new", f="a"), 1, 0.0, [], 3).go_on
    assert not judge(planned("new", f="a"), 1, 0.0, arrived(0.8, 0.9), 3).go_on  # the third makes one in three


def test_ties_with_the_cut_off_go_on() -> None:
    assert judge(planned("new", f="a"), 1, 0.5, arrived(0.5, 0.5, 0.5, 0.4, 0.4), 3).go_on


def test_the_first_two_of_a_level_go_on_whatever_the_others_have() -> None:
    others = arrived(0.9, 0.9, 0.9, 0.9, 0.9, f="a")
    assert judge(planned("new", f="b"), 1, 0.0, others, 3).go_on
    assert judge(planned("new", f="b"), 1, 0.0, others + arrived(0.1, f="b"), 3).go_on
    assert not judge(planned("new", f="b"), 1, 0.0, others + arrived(0.1, 0.1, f="b"), 3).go_on
    both = others + arrived(0.1, 0.1, f="b", g="x")
    assert judge(planned("new", f="b", g="y"), 1, 0.0, both, 3).go_on  # the first of another factor's level


def test_audited_trials_never_stop_and_set_no_cut_off() -> None:
    high = arrived(0.9, 0.9, 0.9, 0.9, 0.9, 0.9, audit=True)
    assert judge(planned("new", audit=True, f="a"), 1, 0.0, high, 3).go_on
    assert judge(planned("new", f="a"), 1, 0.1, high, 3).go_on  # the first that counts
    counted = high + arrived(0.1, 0.2, 0.3, 0.4, 0.5, f="a")
    assert judge(planned("new", f="a"), 1, 0.45, counted, 3).go_on  # second of six that count, eighth of twelve
    assert not judge(planned("new", f="a"), 1, 0.35, counted, 3).go_on


def test_the_verdict_records_the_value_it_was_taken_on() -> None:
    verdict = judge(planned("new", f="a"), 9, 0.25, [], 3)
    assert vars(verdict) == {"trial": "new", "epoch": 9, "value": 0.25, "go_on": True}


VALUES = st.integers(0, 8).map(lambda n: n / 8)


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), VALUES, st.booleans()), max_size=30),
    st.integers(2, 4),
)
def test_every_levels_best_two_survive_a_rung_in_any_order(
    trials: list[tuple[str, str, float, bool]], reduction: int
) -> None:
    earlier: list[tuple[Planned, float]] = []
    went_on: set[str] = set()
    for i, (f, g, value, audit) in enumerate(trials):
        each = planned(f"t{i}", audit, f=f, g=g)
        if judge(each, 1, value, earlier, reduction).go_on:
            went_on.add(each.trial)
        earlier.append((each, value))
    for factor, level in [*product("f", "ab"), *product("g", "xyz")]:
        reached = [(value, each.trial) for each, value in earlier if each.factors[factor] == level]
        least = sorted((value for value, _ in reached), reverse=True)[:KEPT_PER_LEVEL]
        above = [trial for value, trial in reached if sum(other > value for other, _ in reached) < KEPT_PER_LEVEL]
        assert went_on.issuperset(above)
        assert len(above) >= len(least)
    assert went_on.issuperset(each.trial for each, _ in earlier if each.audit)
