import math

import numpy as np
import pytest
from scipy import stats

from analysis.statistics import inference

# Seeds in rows, items in columns; means 1/4, 1/2, 3/4.
STAIRS = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0]])


def test_crossed_mean_by_hand():
    estimate = inference.crossed_mean(STAIRS, np.arange(4))
    assert estimate.mean == pytest.approx(1 / 2)
    assert estimate.seed_variance == pytest.approx((1 / 16) / 3)
    # products of the centered rows sum to 1/2, 1/4, 1/2; each through N (N - 1) = 12
    assert estimate.item_variance == pytest.approx((1 / 2 + 1 / 4 + 1 / 2) / 3 / 12)
    assert estimate.standard_error == pytest.approx(math.sqrt(1 / 18))
    # the seed variance, 1/48, counts twice, since its relative error is sqrt(2 / 2): 1/24 beside 5/144 from the items
    assert estimate.df == pytest.approx(2 * (11 / 6) ** 2)


def test_compare_is_obuchowski_rockette_with_hillis_df_at_a_larger_seed_variance():
    """Against the published form, from mean squares and Cov2, Cov3 of the full covariance matrix."""
    rng = np.random.default_rng(1)
    hard = rng.normal(size=80)
    a, b = ((hard + 0.7 * rng.normal(size=(5, 80)) + shift > 0).astype(float) for shift in (0.9, 0.5))
    theta = np.stack([a.mean(axis=1), b.mean(axis=1)])  # (settings, seeds)
    residual = theta - theta.mean(0) - theta.mean(1, keepdims=True) + theta.mean()
    ms_tr = (residual**2).sum() / 4
    covariance = np.cov(np.concatenate([a, b])) / 80  # of the ten means
    off = ~np.eye(5, dtype=bool)
    cov2 = (covariance[:5, :5][off].mean() + covariance[5:, 5:][off].mean()) / 2
    cov3 = covariance[:5, 5:][off].mean()
    denominator = ms_tr + max(5 * (cov2 - cov3), 0)
    estimate = inference.compare(a, b, np.arange(80))
    assert estimate.mean == pytest.approx(theta[0].mean() - theta[1].mean())
    assert estimate.standard_error == pytest.approx(math.sqrt(2 / 5 * denominator))
    likely = (1 + math.sqrt(2 / 4)) * ms_tr  # one standard error larger than measured
    assert estimate.df == pytest.approx((likely + denominator - ms_tr) ** 2 / (likely**2 / 4))


def test_degrees_of_freedom_are_hillis_where_seeds_are_many_or_all_that_varies():
    many = inference.Estimate(0.0, seed_variance=1.0, item_variance=1.0, seeds=100_001, items=9)
    assert many.df == pytest.approx(100_000 * 4, rel=0.01)
    alone = inference.Estimate(0.0, seed_variance=1.0, item_variance=0.0, seeds=5, items=9)
    assert alone.df == 4


def test_seeds_that_agree_by_luck_make_no_point_of_an_interval():
    """Three models, each right on another of three images: equal means, and yet they differ."""
    estimate = inference.crossed_mean(np.eye(3), np.arange(3))
    assert estimate.seed_variance == pytest.approx(0)
    # the rows' squares sum to 2/3, their products to -1/3; each through N (N - 1) = 6; negative covariance is none
    assert estimate.item_variance == 0
    assert estimate.standard_error == pytest.approx(math.sqrt((2 / 3) / 6 / 3))


def test_duplicates_count_once():
    rng = np.random.default_rng(2)
    values = rng.integers(0, 2, size=(4, 50))
    alone = inference.crossed_mean(values, np.arange(50))
    twice = inference.crossed_mean(np.tile(values, 2), np.tile(np.arange(50), 2))
    assert twice.item_variance == pytest.approx(alone.item_variance)
    assert twice.standard_error == pytest.approx(alone.standard_error)


def test_p_value_and_interval_agree():
    estimate = inference.crossed_mean(STAIRS, np.arange(4))
    low, _ = estimate.interval(1 - estimate.p_value)
    assert low == pytest.approx(0, abs=1e-12)


def test_identical_models_differ_by_nothing():
    estimate = inference.compare(STAIRS, STAIRS, np.arange(4))
    assert (estimate.mean, estimate.standard_error, estimate.p_value) == (0, 0, 1)
    assert estimate.interval() == (0, 0)


@pytest.mark.parametrize("seeds", [1, 2])
def test_compare_refuses_too_few_seeds(seeds):
    with pytest.raises(ValueError, match="seeds >= 3"):
        inference.compare(STAIRS[:seeds], STAIRS[:seeds], np.arange(4))


def test_compare_refuses_unequal_shapes():
    with pytest.raises(ValueError, match=r"`a\.shape == b\.shape`"):
        inference.compare(STAIRS, STAIRS[:, :3], np.arange(4))


@pytest.mark.parametrize("seed_spread", [0.05, 0.5])
def test_interval_covers(seed_spread):
    """Intervals of a difference of nothing, where images and seeds both matter, hold it 95 times in 100."""
    rng = np.random.default_rng(3)

    def correct(hard: np.ndarray) -> np.ndarray:
        own = rng.normal(size=hard.shape)  # what this setting finds hard on each image
        luck = seed_spread * rng.normal(size=(5, 1))
        return (hard + 0.7 * own + luck + 0.7 * rng.normal(size=(5, 150)) > -0.8).astype(float)

    held = 0
    for _ in range(600):
        hard = rng.normal(size=150)
        low, high = inference.compare(correct(hard), correct(hard), np.arange(150)).interval()
        held += low <= 0 <= high
    assert 0.925 <= held / 600 <= 0.98  # three standard errors of 600 draws, and a little for the method


def test_probability_better_by_hand():
    # mean 2, s = 1, sqrt(1 + 1/3): t = sqrt(3) with 2 degrees of freedom
    assert inference.probability_better([1, 2, 3]) == pytest.approx(0.5 + math.sqrt(3) / (2 * math.sqrt(5)))
    assert inference.probability_better([-1, -2, -3]) == pytest.approx(0.5 - math.sqrt(3) / (2 * math.sqrt(5)))


@pytest.mark.parametrize(("same", "probability"), [(0.1, 1.0), (0.0, 0.5), (-0.1, 0.0)])
def test_probability_better_without_spread(same, probability):
    assert inference.probability_better([same] * 4) == probability


def test_seeds_needed_is_the_textbook_number():
    """A paired t test with an effect of one standard deviation needs 10 pairs for 80% power."""
    estimate = inference.Estimate(mean=1.0, seed_variance=1 / 5, item_variance=0.0, seeds=5, items=100)
    assert inference.seeds_needed(estimate) == 10
    stricter = inference.seeds_needed(estimate, alpha=0.01)
    assert stricter is not None
    assert stricter > 10


def test_seeds_needed_does_not_trust_seeds_that_agree_by_luck():
    close = inference.Estimate(
        mean=1.0, seed_variance=1e-9, item_variance=0.0, seeds=5, items=100, least_seed_variance=1.0
    )
    needed = inference.seeds_needed(close)
    # (1.96 + 0.84)^2 = 7.8 times the variance of one seed, which is five: in the normal limit of its degrees of freedom
    assert needed == math.ceil((stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) ** 2 * 5)


def test_seeds_cannot_replace_images():
    estimate = inference.Estimate(mean=0.01, seed_variance=1e-6, item_variance=1e-4, seeds=5, items=100)
    assert inference.seeds_needed(estimate) is None


def test_holm_by_hand():
    assert inference.holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert inference.holm([0.5, 0.9]).tolist() == [1.0, 1.0]
    assert inference.holm([]).tolist() == []


def test_wilson_by_hand():
    assert inference.wilson(8, 10) == pytest.approx((0.490162, 0.943318), abs=1e-6)
    assert inference.wilson(0, 10)[0] == 0
    assert inference.wilson(10, 10)[1] == pytest.approx(1)


def test_accuracy_interval_needs_three_seeds_for_new_seeds():
    assert inference.accuracy_interval(STAIRS[:2], np.arange(4)) == inference.wilson(1.5, 4)
    low, high = inference.accuracy_interval(STAIRS, np.arange(4))
    half = stats.t.ppf(0.975, 2 * (11 / 6) ** 2) * math.sqrt(1 / 18)
    assert (low, high) == (max(0.5 - half, 0), min(0.5 + half, 1))


def test_accuracy_interval_of_a_flawless_model_is_not_a_point():
    assert inference.accuracy_interval(np.ones((5, 20)), np.arange(20)) == inference.wilson(20, 20)
    assert inference.accuracy_interval(np.ones((5, 20)), np.arange(20) // 2) == inference.wilson(10, 10)


def test_mean_interval_by_hand():
    half = stats.t.ppf(0.975, 2) / math.sqrt(3)
    assert inference.mean_interval([1, 2, 3]) == pytest.approx((2 - half, 2 + half))
    assert np.isnan(inference.mean_interval([1, 2])).all()
