"""Who goes on at a rung, by hand, and the promise to every level in whatever order trials arrive."""

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from study.design.plan import Planned
from study.schedule.rungs import Rung, kept_per_level, rung_epochs
from study.spec import Budget
from tests.courses import small_study


def planned(name: str, audit: bool = False, **factors: str) -> Planned:
    return Planned(name, "search", factors, {}, audit)


def arrived(*values: float, audit: bool = False, **factors: str) -> list[tuple[Planned, float]]:
    return [(planned(f"t{i}", audit, **(factors or {"f": "a"})), value) for i, value in enumerate(values)]


def goes_on(
    new: Planned, value: float, earlier: list[tuple[Planned, float]], reduction: int = 3, kept: int = 2
) -> bool:
    rung = Rung(reduction, kept)
    for each, theirs in earlier:
        rung.add(each, theirs)
    return rung.goes_on(new, value)


def test_rungs_are_powers_of_the_reduction_below_the_last_epoch() -> None:
    assert rung_epochs(Budget(trials=1, epochs=30)) == [1, 3, 9, 27]
    assert rung_epochs(Budget(trials=1, epochs=27)) == [1, 3, 9]
    assert rung_epochs(Budget(trials=1, epochs=30, grace=2, reduction=4)) == [2, 8]
    assert rung_epochs(Budget(trials=1, epochs=1)) == []


def test_the_best_third_goes_on() -> None:
    # Five were there, the sixth makes six: two may go on. Nobody of level b has arrived, so none leads it.
    earlier = arrived(0.1, 0.2, 0.3, 0.4, 0.5)
    verdicts = {v: goes_on(planned("new", f="a"), v, earlier) for v in (0.35, 0.45, 0.55)}
    assert verdicts == {0.35: False, 0.45: True, 0.55: True}


def test_too_few_to_cut_all_go_on() -> None:
    assert goes_on(planned("new", f="a"), 0.0, arrived(0.8))
    assert goes_on(planned("new", f="a"), 0.0, [])
    assert not goes_on(planned("new", f="a"), 0.0, arrived(0.8, 0.9))  # the third makes one in three


def test_ties_with_the_cut_off_go_on() -> None:
    assert goes_on(planned("new", f="a"), 0.5, arrived(0.5, 0.5, 0.5, 0.4, 0.4))


def test_the_first_two_of_a_level_go_on_whatever_the_others_have() -> None:
    others = arrived(0.9, 0.9, 0.9, 0.9, 0.9, f="a")
    assert goes_on(planned("new", f="b"), 0.0, others)
    assert goes_on(planned("new", f="b"), 0.0, others + arrived(0.1, f="b"))
    assert not goes_on(planned("new", f="b"), 0.0, others + arrived(0.1, 0.1, f="b"))
    both = others + arrived(0.1, 0.1, f="b", g="x")
    assert goes_on(planned("new", f="b", g="y"), 0.0, both)  # the first of another factor's level


def test_where_one_of_a_level_is_kept_the_second_is_stopped_unless_it_is_better() -> None:
    others = arrived(0.9, 0.9, 0.9, 0.9, 0.9, f="a") + arrived(0.1, f="b")
    assert not goes_on(planned("new", f="b"), 0.0, others, kept=1)
    assert goes_on(planned("new", f="b"), 0.1, others, kept=1)


def test_two_are_kept_where_twice_the_levels_are_at_most_a_third_of_the_trials() -> None:
    assert kept_per_level(small_study(budget={"trials": 23})) == 1  # two factors with two levels
    assert kept_per_level(small_study(budget={"trials": 24})) == 2


def test_audited_trials_never_stop_and_set_no_cut_off() -> None:
    high = arrived(0.9, 0.9, 0.9, 0.9, 0.9, 0.9, audit=True)
    assert goes_on(planned("new", audit=True, f="a"), 0.0, high)
    assert goes_on(planned("new", f="a"), 0.1, high)  # the first that counts
    counted = high + arrived(0.1, 0.2, 0.3, 0.4, 0.5, f="a")
    assert goes_on(planned("new", f="a"), 0.45, counted)  # second of six that count, eighth of twelve
    assert not goes_on(planned("new", f="a"), 0.35, counted)


VALUES = st.integers(0, 8).map(lambda n: n / 8)


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), VALUES, st.booleans()), max_size=30),
    st.integers(2, 4),
    st.integers(1, 2),
)
def test_every_levels_best_survive_a_rung_in_any_order(
    trials: list[tuple[str, str, float, bool]], reduction: int, kept: int
) -> None:
    earlier: list[tuple[Planned, float]] = []
    went_on: set[str] = set()
    for i, (f, g, value, audit) in enumerate(trials):
        each = planned(f"t{i}", audit, f=f, g=g)
        if goes_on(each, value, earlier, reduction, kept):
            went_on.add(each.trial)
        earlier.append((each, value))
    for factor, level in [*product("f", "ab"), *product("g", "xyz")]:
        reached = [(value, each.trial) for each, value in earlier if each.factors[factor] == level]
        least = sorted((value for value, _ in reached), reverse=True)[:kept]
        above = [trial for value, trial in reached if sum(other > value for other, _ in reached) < kept]
        assert went_on.issuperset(above)
        assert len(above) >= len(least)
    assert went_on.issuperset(each.trial for each, _ in earlier if each.audit)
