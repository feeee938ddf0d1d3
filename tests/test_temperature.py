import numpy as np
import pytest

from trainables.learning.temperature import cross_entropy, fit_temperature


def test_a_net_that_is_too_sure_of_two_classes() -> None:
    # The second class is right in 3 of 4, so its best probability is 3/4: a logit of ln 3. It was said with 2 ln 3.
    logits = np.tile([0.0, 2 * np.log(3)], (4, 1))
    labels = np.array([1, 1, 0, 1])
    assert fit_temperature(logits, labels) == pytest.approx(2, rel=1e-3)
    assert cross_entropy(logits / 2, labels) == pytest.approx(-(3 * np.log(3 / 4) + np.log(1 / 4)) / 4)


def test_a_net_that_is_not_sure_enough_gets_a_temperature_below_one() -> None:
    logits = np.tile([np.log(3) / 4, 0.0], (4, 1))
    assert fit_temperature(logits, np.array([0, 0, 0, 1])) == pytest.approx(1 / 4, rel=1e-3)


def test_a_shift_of_a_pictures_logits_changes_nothing() -> None:
    random = np.random.default_rng(0)
    logits, labels = random.normal(size=(50, 4)) * 3, random.integers(0, 4, 50)
    shifted = logits + random.normal(size=(50, 1)) * 10
    assert fit_temperature(shifted, labels) == pytest.approx(fit_temperature(logits, labels), rel=1e-3)


def test_without_an_error_there_is_nothing_to_learn_from() -> None:
    assert fit_temperature(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 1])) == 1.0
