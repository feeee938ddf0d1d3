"""Which settings get more seeds, and when it ends."""

import math

import pytest
from scipy import stats

from analysis.statistics.inference import Estimate
from study.schedule.more_seeds import degrees_of_freedom, more_seeds, probability_settled

MANY = 10**9  # images, so that only seeds count
LEADER = [0.91, 0.90, 0.92, 0.89, 0.93]
IN_DOUBT = [0.92, 0.89, 0.90, 0.89, 0.92]  # behind by -1, 1, 2, 0 and 1 points
OUT = [0.71, 0.70, 0.72, 0.69, 0.71]
LEVELS = {"backbone": ["leader", "rival"]}


def asked(
    rival: list[float],
    leader: list[float] = LEADER,
    factors: dict[str, list[str]] | None = None,
    validation_images: int = MANY,
    test_images: int = MANY,
    seeds: int = 5,
    most_seeds: int = 15,
    **others: list[float],
) -> dict[str, int]:
    accuracies = {"leader": leader, "rival": rival} | others
    return more_seeds(accuracies, "leader", factors or LEVELS, validation_images, test_images, 0.001, seeds, most_seeds)


def test_a_pair_in_doubt_gets_more_and_a_level_that_is_out_gets_none() -> None:
    factors = {"backbone": ["leader", "rival", "far"]}
    assert asked(IN_DOUBT, factors=factors, far=OUT) == {"leader": 10, "rival": 10}
    assert asked(OUT) == {}
    clear = [0.90, 0.89, 0.90, 0.88, 0.92]  # behind by 1, 1, 2, 1 and 1 points: t = 6 with 4 degrees of freedom
    assert asked(clear) == {}


def test_a_pair_that_only_images_could_settle_gets_none() -> None:
    assert asked(IN_DOUBT, test_images=100) == {}


def test_settings_that_never_differ_get_none() -> None:
    assert asked(LEADER) == {}
    assert asked([1.0] * 5, leader=[1.0] * 5) == {}


def test_two_steps_and_then_no_more() -> None:
    steps = {times: asked(times * IN_DOUBT, times * LEADER) for times in (1, 2, 3)}
    assert steps == {1: {"leader": 10, "rival": 10}, 2: {"leader": 15, "rival": 15}, 3: {}}
    assert asked(IN_DOUBT, most_seeds=12) == {"leader": 9, "rival": 9}


def test_a_leader_that_has_its_seeds_already_waits_for_the_rival() -> None:
    assert asked(IN_DOUBT, leader=2 * LEADER) == {"rival": 10}


def test_only_levels_of_a_factor_that_the_leader_has_count() -> None:
    assert asked(IN_DOUBT, factors={"backbone": ["rival", "far"]}, far=OUT) == {}
    assert asked(OUT, factors=LEVELS | {"split": ["leader", "near"]}, near=IN_DOUBT) == {"leader": 10, "near": 10}


def test_nothing_is_added_to_too_few_seeds_a_failed_one_or_all_of_them() -> None:
    assert asked(IN_DOUBT[:2], LEADER[:2], seeds=2, most_seeds=6) == {}
    assert asked([*IN_DOUBT[:4], math.nan]) == {}
    assert asked(IN_DOUBT, most_seeds=5) == {}


def test_the_probability_of_a_verdict_by_hand() -> None:
    # The difference is standard normal and its standard error 1, with 4 degrees of freedom.
    beyond = 2 * stats.norm.sf(stats.t.ppf(0.975, 4))
    assert probability_settled(0.0, 1.0, 1.0, 0.0, seeds=5, margin=0.0) == pytest.approx(beyond)
    # A margin that leaves a standard error for equivalence adds P(|Z| < 1).
    margin = float(stats.t.ppf(0.95, 4)) + 1.0
    within = probability_settled(0.0, 1.0, 1.0, 0.0, seeds=5, margin=margin) - beyond
    assert within == pytest.approx(0.682689, abs=1e-6)
    assert probability_settled(9.0, 1.0, 1.0, 0.0, seeds=5, margin=0.0) == pytest.approx(1.0)
    assert probability_settled(0.0, 0.0, 0.0, 0.0, seeds=5, margin=0.0) == 1.0


@pytest.mark.parametrize(("seed", "item"), [(1.0, 0.25), (0.2, 1.0), (0.0, 1.0), (1.0, 0.0)])
def test_degrees_of_freedom_are_those_of_the_answers(seed: float, item: float) -> None:
    assert degrees_of_freedom(seed, item, 5) == pytest.approx(Estimate(0.1, seed, item, 5, 100).df)
