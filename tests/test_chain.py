import numpy as np
import pytest

from analysis.statistics.chain import cell_means


def one_way(cells):
    codes = np.unique(cells, return_inverse=True)[1]
    return (codes[:, None] == np.arange(codes.max() + 1)).astype(float)


def test_without_gaps_the_means_and_their_hc3_variance_by_hand():
    values = np.array([[1.0], [3.0], [10.0], [14.0], [12.0]])
    found = cell_means(values, one_way([0, 0, 1, 1, 1]), 2, [])
    np.testing.assert_allclose(found.values, [2, 12])
    # residuals 1 and 1 over 1 - 1/2; -2, 2, 0 over 1 - 1/3
    np.testing.assert_allclose(np.diag(found.covariance), [2 * (2 / 2) ** 2, 2 * (3 / 3) ** 2])
    assert found.covariance[0, 1] == pytest.approx(0)
    assert found.df == 3


def test_stopped_trials_go_on_as_those_that_were_as_good():
    """Each trial gains 1 from the first checkpoint to the second; the lower ones were not there to show it."""
    rng = np.random.default_rng(0)
    first = np.concatenate([rng.normal(0, 1, 200), rng.normal(2, 1, 200)])
    second = np.where(first > 1, first + 1, np.nan)
    cells = np.repeat([0, 1], 200)
    found = cell_means(np.stack([first, second], axis=1), one_way(cells), 2, [np.eye(2)])
    np.testing.assert_allclose(found.values, [first[:200].mean() + 1, first[200:].mean() + 1])
    survivors = [np.nanmean(second[cells == cell]) for cell in (0, 1)]
    assert survivors[1] - survivors[0] < 0.6 * (found.values[1] - found.values[0])


def test_few_survivors_take_a_simpler_model_and_too_few_none():
    first = np.arange(12.0)
    second = np.where(first >= 7, first + 5, np.nan)
    values, design = np.stack([first, second], axis=1), one_way([0] * 6 + [1] * 6)
    found = cell_means(values, design, 2, [np.eye(2), np.ones((2, 1))])  # no survivor in the first cell
    np.testing.assert_allclose(found.values, [2.5 + 5, 8.5 + 5])
    assert cell_means(values, design, 2, [np.eye(2)]) is None


def test_columns_that_change_together_are_not_told_apart():
    member = one_way([0, 0, 1, 1, 0, 1])
    same = np.array([1.0, 1, -1, -1, 1, -1])[:, None]
    found = cell_means(np.arange(6.0)[:, None], np.hstack([member, same]), 2, [])
    contrast = np.array([1.0, -1.0])
    assert np.abs(contrast @ found.told_apart - [1, -1, 0]).max() > 0.1
    assert found.df == 4
