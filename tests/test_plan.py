"""The plan is balanced at every length, and a longer one begins with the shorter."""

import math
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces.distributions import Conditional, Range, holds
from study.design.plan import AUDITED_PER_LEVEL, arm, nuisance_points, search_plan
from study.spec import Study
from tests.courses import CONDITIONAL, small_study

NAMES = ["batch_size", "weight_decay", "clip_norm", "neighbours"]  # of whatever levels; the plan does not care
RATE = {"learning_rate": Range(low=1e-4, high=1e-1, log=True)}


@st.composite
def studies(draw: st.DrawFn) -> Study:
    """One to four factors of two to five levels, any but the first perhaps only under a level of an earlier one."""
    factors: dict[str, Any] = {}
    for name in NAMES[: draw(st.integers(1, 4))]:
        levels = list(range(1, 1 + draw(st.integers(2, 5))))
        earlier = [other for other in factors if not isinstance(factors[other], Conditional)]
        if earlier and draw(st.booleans()):
            other = draw(st.sampled_from(earlier))
            when = {other: draw(st.sampled_from(factors[other]))}
            factors[name] = Conditional(levels=levels, when=when, otherwise=9)
        else:
            factors[name] = levels
    first = next(iter(factors))
    nuisances = RATE | {"layer_decay": Range(low=0.5, high=1.0, when={first: 1})}
    fixed = {"size": 16, "backbone": "small_cnn"}
    return small_study(factors, nuisances=nuisances, fixed=fixed)


@settings(max_examples=60)
@given(studies(), st.integers(1, 40), st.integers(0, 3))
def test_levels_are_balanced_to_one_at_every_length(study: Study, trials: int, seed: int) -> None:
    counts = {name: Counter(dict.fromkeys(study.levels(name), 0)) for name in study.factors}
    for each in search_plan(study, trials, seed):
        for name, factor in study.factors.items():
            assert (name in each.factors) == holds(factor.when, each.factors)
            if name in each.factors:
                counts[name][each.factors[name]] += 1
            assert max(counts[name].values()) - min(counts[name].values()) <= 1


@settings(max_examples=40)
@given(studies(), st.integers(1, 20), st.integers(0, 20))
def test_a_longer_plan_begins_with_the_shorter(study: Study, trials: int, more: int) -> None:
    assert search_plan(study, trials + more, 0)[:trials] == search_plan(study, trials, 0)


@settings(max_examples=40)
@given(studies(), st.integers(1, 8))
def test_every_level_meets_every_nuisance_point(study: Study, points: int) -> None:
    run = max(len(factor.levels) for factor in study.factors.values())
    plan = search_plan(study, points * run, 0)
    rates = [each.nuisances["learning_rate"] for each in plan]
    assert len(set(rates)) == points
    for name, factor in study.factors.items():
        if not factor.when:
            met = {(each.factors[name], each.nuisances["learning_rate"]) for each in plan}
            assert len(met) == len(factor.levels) * points


@settings(max_examples=40)
@given(studies(), st.integers(1, 40))
def test_a_conditional_nuisance_is_drawn_under_its_level_only(study: Study, trials: int) -> None:
    first = next(iter(study.factors))
    for each in search_plan(study, trials, 0):
        assert ("layer_decay" in each.nuisances) == (each.factors[first] == 1)
        assert 1e-4 <= each.nuisances["learning_rate"] <= 1e-1
        assert 0.5 <= each.nuisances.get("layer_decay", 0.5) <= 1.0


@settings(max_examples=40)
@given(studies(), st.integers(1, 60))
def test_a_quarter_is_audited_until_every_level_has_four(study: Study, trials: int) -> None:
    plan = search_plan(study, trials, 0)
    audited = [i for i, each in enumerate(plan) if each.audit]
    counts = Counter((name, level) for i in audited for name, level in plan[i].factors.items())
    enough = all(counts[name, level] >= AUDITED_PER_LEVEL for name in study.factors for level in study.levels(name))
    assert all(4 * (k + 1) <= i + 1 for k, i in enumerate(audited)), "at most a quarter, at any time"
    rarest = max(
        math.prod([len(factor.levels), *(len(study.levels(other)) for other in factor.when)])
        for factor in study.factors.values()
    )
    assert not audited or enough or max(audited) >= trials - 2 * rarest - 4, "the next level to audit soon has its turn"


@given(st.integers(12, 40))
def test_every_level_is_audited_where_that_fits(trials: int) -> None:
    audited = [each for each in search_plan(small_study(), trials, 0) if each.audit]
    assert {level for each in audited for level in each.factors.items()} == {
        ("regularizer", "none"),
        ("regularizer", "dropout"),
        ("augmentation", "none"),
        ("augmentation", "light"),
    }


def test_nuisances_of_a_level_are_those_of_the_other() -> None:
    plan = search_plan(small_study(), 8, 0)
    by_level = {
        level: sorted(each.nuisances["learning_rate"] for each in plan if each.factors["augmentation"] == level)
        for level in ("none", "light")
    }
    assert by_level["none"] == by_level["light"]


def test_conditional_factors_do_not_exist_elsewhere() -> None:
    plan = search_plan(small_study(CONDITIONAL), 8, 0)
    assert all(("unfreeze" in each.factors) == (each.factors["backbone"] != "small_cnn") for each in plan)
    assert Counter(each.factors.get("unfreeze") for each in plan) == {"head": 2, "last stage": 2, None: 4}


def test_another_seed_is_another_plan() -> None:
    study = small_study()
    plans = [search_plan(study, 12, seed) for seed in range(3)]
    assert plans[0] == search_plan(study, 12, 0)
    for one, other in [(0, 1), (0, 2), (1, 2)]:
        assert [each.nuisances for each in plans[one]] != [each.nuisances for each in plans[other]]
        assert [each.factors for each in plans[one]] != [each.factors for each in plans[other]]


def test_nuisances_are_spread_over_their_range() -> None:
    points = nuisance_points(small_study(), 16, 5)
    assert points.shape == (16, 2)
    assert sorted((points[:, 0] * 16).astype(int)) == list(range(16))  # one in every sixteenth


def test_no_nuisances_and_one_trial_have_a_plan() -> None:
    study = small_study({"batch_size": [8, 16]}, nuisances={}, fixed={"size": 16, "backbone": "small_cnn"})
    assert [each.nuisances for each in search_plan(study, 3, 0)] == [{}, {}, {}]
    assert len(search_plan(study, 1, 0)) == 1


def test_arms_are_equal_exactly_where_factors_and_nuisances_are() -> None:
    one = arm({"a": 1, "b": "x"}, {"rate": 0.1})
    assert one == arm({"b": "x", "a": 1}, {"rate": 0.1})
    for factors, nuisances in [({"a": 2, "b": "x"}, {"rate": 0.1}), ({"a": 1, "b": "x"}, {"rate": 0.2}),
                               ({"a": 1}, {"rate": 0.1}), ({"a": 1, "b": "x"}, {})]:  # fmt: skip
        assert arm(factors, nuisances) != one


@pytest.mark.parametrize("trials", [1, 5, 12])
def test_trials_are_named_by_their_place(trials: int) -> None:
    names = [each.trial for each in search_plan(small_study(), trials, 0)]
    assert names == [f"search-{n:04d}" for n in range(1, trials + 1)]
