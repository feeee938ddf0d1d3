import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.statistics.power_law import check, fit, has_floor, predict

PICTURES = np.array([250, 500, 750, 1000])


def models(errors, seeds=5, items=800, spread=0.0, seed=0):
    """Which items each of `seeds` models gets wrong: the hardest, so that the shares are as given, plus noise."""
    rng = np.random.default_rng(seed)
    hard = rng.permutation(items) / items
    noise = spread * rng.standard_normal((len(errors), seeds, 1))
    return (hard < np.asarray(errors)[:, None, None] + noise).astype(float)


@pytest.mark.parametrize(
    ("accuracy", "predicted"), [([41.1, 65.9, 78.4], 87.71), ([51.2, 64.6, 74.6], 82.13)], ids=["cars", "birds"]
)
def test_the_published_resnet50_on_15_30_50_percent_predicts_the_whole(accuracy, predicted):
    """thuml's table of sample efficiency; measured on all training images: 87.8 and 81.8."""
    law = fit([0.15, 0.30, 0.50], 1 - np.array(accuracy) / 100, floor=False)
    assert 100 * (1 - law.error(1.0)) == pytest.approx(predicted, abs=0.005)


@given(st.floats(0.05, 0.4), st.floats(0.2, 1.0), st.floats(0.01, 0.1))
@settings(max_examples=25)
def test_a_true_law_is_found_again(a, b, c):
    n = np.array([100, 200, 400, 600, 800])
    law = fit(n, a * (n / 800) ** -b + c, floor=True)
    assert law.error(1600) == pytest.approx(a * 2**-b + c, rel=1e-3)
    without = fit(n, a * (n / 800) ** -b, floor=False)
    assert (without.a, without.b, without.c) == pytest.approx((a, b, 0.0), rel=1e-6)


def test_it_predicts_nothing_beyond_twice_the_largest():
    law = fit(PICTURES, [0.4, 0.3, 0.25, 0.22], floor=False)
    assert law.error(2000) < law.error(1000)
    with pytest.raises(ValueError, match=r"`pictures <= 2000` must hold, but got"):
        law.error(2200)


def test_a_law_is_confirmed_and_a_bend_is_seen():
    law = 0.2 * (PICTURES / 1000) ** -0.5
    held = check(PICTURES, models(law, spread=0.004), np.arange(800))
    assert held.low < 0 < held.high
    assert held.predicted == pytest.approx(0.2, abs=0.02)
    assert held.holds(0.01)
    bent = check(PICTURES, models([*law[:-1], 0.35], spread=0.004), np.arange(800))
    assert bent.high < 0
    assert not bent.holds(0.01)
    assert bent.holds(0.2), "a miss that is too small to matter"


def test_the_largest_must_be_within_reach_of_the_next():
    with pytest.raises(ValueError, match="at most 2 times the next, but got 400 and 1000"):
        check([100, 200, 400, 1000], models([0.4, 0.3, 0.2, 0.1]), np.arange(800))


def test_intervals_cover_what_new_seeds_and_images_give():
    """Of studies drawn from one truth, about 19 in 20 intervals hold the truth at twice the largest size."""
    truth, hits, studies = 0.3 * (PICTURES / 1000) ** -0.4, 0, 60
    for study in range(studies):
        rng = np.random.default_rng(study)
        hard = rng.uniform(size=(1, 1, 300))
        own = truth[:, None, None] + 0.01 * rng.standard_normal((4, 5, 1))
        mixed = np.where(rng.uniform(size=(4, 5, 300)) < 0.7, hard, rng.uniform(size=(4, 5, 300)))
        ((_, (low, high)),) = predict(PICTURES, (mixed < own).astype(float), np.arange(300), [2000])
        hits += low <= 0.3 * 2**-0.4 <= high
    assert 0.87 <= hits / studies <= 1


def test_a_floor_is_fitted_where_a_held_out_size_leaves_enough():
    assert [has_floor(sizes) for sizes in (3, 4, 5)] == [False, False, True]
