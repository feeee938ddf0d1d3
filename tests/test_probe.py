"""The linear probe's predictions with each image left out, against fitting it again without that image."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from trainables.screening.probe import STRENGTHS, hat_matrices, leave_one_out

LEVEL = "60-20-20"


@pytest.mark.parametrize("strength", range(len(STRENGTHS)))
def test_leaving_one_out_is_refitting_without_it(strength: int) -> None:
    random = np.random.default_rng(1)
    labels = np.array([3, 5, 5, 9] * 8)
    features = random.normal(0, 3, (32, 6)) + labels[:, None] * random.normal(0, 0.4, 6)
    standard = (features - features.mean(axis=0)) / features.std(axis=0)
    penalty = float(STRENGTHS[strength] * np.linalg.svd(standard, compute_uv=False) ** 2 @ np.ones(6) / 32)
    targets = np.eye(10)[labels]
    refitted = []
    for i in range(32):
        rest = np.arange(32) != i
        refitted.append(Ridge(alpha=penalty).fit(standard[rest], targets[rest]).predict(standard[[i]])[0].argmax())
    predicted = leave_one_out([hat_matrices(features)[strength]], labels)
    assert list(predicted) == refitted
    assert 0.3 < (predicted == labels).mean() < 1  # neither trivial


def test_a_probe_of_constant_features_guesses() -> None:
    labels = np.array([0, 0, 0, 1])
    assert list(leave_one_out(hat_matrices(np.ones((4, 3))), labels)) == [0, 0, 0, 0]
