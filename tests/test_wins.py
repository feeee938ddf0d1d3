import numpy as np
import pytest

from analysis.statistics import wins

GAP = np.nan


def test_pairs_are_compared_at_the_last_checkpoint_that_both_reached():
    values = np.array([[0.5, 0.6], [0.7, GAP], [0.4, 0.9], [GAP, GAP]])
    won = wins.beats(values, np.array([False, False, False, True]))
    assert won.tolist() == [[0, -1, -1, 1], [1, 0, 1, 1], [1, -1, 0, 1], [-1, -1, -1, 0]]


def test_equal_trials_and_two_failed_ones_tie():
    assert not wins.beats(np.array([[0.5], [0.5]]), np.array([False, False])).any()
    assert not wins.beats(np.full((2, 1), GAP), np.array([True, True])).any()


def test_wins_of_a_cell_over_another_by_hand():
    """The first cell's 3 trials win 5 and lose 1 of the 6 comparisons; one tie more for each cell shrinks 4/6."""
    values = np.array([5.0, 4, 2, 3, 1])[:, None]
    shares = wins.against(wins.beats(values, np.zeros(5, bool)), np.array([0, 0, 0, 1, 1]), 2)
    assert shares.share[:, 1].tolist() == [1, 1, 0, 0.5, -0.5]
    estimate, low, high = wins.contrasts(shares, np.array([[0, 1]]), np.array([[[0.0, 1], [-1, 0]]]))
    assert estimate[0] == pytest.approx((2 / 4 + 2 / 3 * 2 / 3) / 2)
    assert low[0] < 0 < high[0] <= 1


def test_cells_that_never_lose_are_not_known_exactly():
    values = np.arange(6.0)[:, None]
    shares = wins.against(wins.beats(values, np.zeros(6, bool)), np.array([0, 0, 0, 1, 1, 1]), 2)
    estimate, low, high = wins.contrasts(shares, np.array([[0, 1]]), np.array([[[0.0, 1], [-1, 0]]]))
    assert estimate[0] == pytest.approx(-0.75)
    assert low[0] < estimate[0] < high[0]


def test_a_large_search_is_compared_in_part_and_always_the_same():
    some = wins.compared(5000)
    assert len(some) == wins.MOST_COMPARED == len(set(some))
    assert (some == wins.compared(5000)).all()
    assert wins.compared(3).tolist() == [0, 1, 2]
