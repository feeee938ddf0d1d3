from typing import cast

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau

from analysis.search.audit import audit, tau_interval
from study import results
from tests.searches import search


def audited(curves):
    names = [f"t{i}" for i in range(len(curves))]
    trials = pd.DataFrame(
        {
            "trial": names,
            "phase": "search",
            "status": "completed",
            "audit": True,
            "epochs_run": [len(c) for c in curves],
        }
    )
    rows = [(name, k + 1, value) for name, one in zip(names, curves, strict=True) for k, value in enumerate(one)]
    epochs = pd.DataFrame(rows, columns=["trial", "epoch", "val_accuracy"])
    study = cast(results.StudyRecord, {"factors": {}})
    return results.Results(results.Path("nowhere"), study, trials, trials, epochs, trials)


def test_kendalls_tau_by_hand():
    """After epoch 1 the order is 1 2 3 4 5, at the end 1 2 3 5 4: nine pairs of ten agree."""
    found = audit(audited([[0.1, 0.2], [0.2, 0.3], [0.3, 0.4], [0.4, 0.9], [0.5, 0.8]])).iloc[0]
    assert (found["epoch"], found["epochs"], found["trials"]) == (1, 2, 5)
    assert found["kendall"] == pytest.approx(0.8)
    assert found["place_of_the_best"] == 2
    assert -0.3 > found["low"] > -0.4
    assert 0.98 < found["high"] < 1


def test_it_is_scipys_tau_with_ties_too():
    rng = np.random.default_rng(0)
    early, late = rng.integers(0, 6, 40) / 10, rng.integers(6, 12, 40) / 12
    found = audit(audited(list(zip(early, late, strict=True)))).iloc[0]
    assert found["kendall"] == pytest.approx(kendalltau(early, np.maximum(early, late))[0])


def test_the_epochs_are_those_at_which_others_were_stopped():
    read = search(lambda levels: 0.0)
    found = audit(read)
    assert found["epoch"].tolist() == [1, 3]
    assert found["trials"].tolist() == [16, 16]
    assert ((found["low"] <= found["kendall"]) & (found["kendall"] <= found["high"])).all()


def test_powers_of_two_where_nobody_was_stopped():
    assert audit(search(lambda levels: 0.0, trials=12, asha=False))["epoch"].tolist() == [1, 2, 4, 8]


def test_trials_that_could_be_stopped_have_no_say():
    read = search(lambda levels: 0.0)
    assert audit(results.Results(**{**vars(read), "trials": read.trials.assign(audit=False)})).empty


def test_three_trials_are_shown_with_all_that_they_leave_open():
    found = audit(audited([[0.1, 0.2], [0.2, 0.3], [0.3, 0.4]])).iloc[0]
    assert (found["trials"], found["kendall"], found["high"]) == (3, 1, 1)
    # With k = 2 z^2 / 3, a perfect order leaves (1 - k) / (1 + k).
    k = 2 * 1.959964**2 / 3
    assert found["low"] == pytest.approx((1 - k) / (1 + k))
    assert audit(audited([[0.1, 0.2]] * 2)).empty
    assert audit(audited([])).empty


@pytest.mark.parametrize("trials", [3, 4, 8])
@pytest.mark.parametrize("true", [-0.9, 0.0, 0.5, 0.9])
def test_the_interval_holds_for_few_trials(trials, true):
    """Normal pairs with this tau; 4 standard errors of the simulation below 95%."""
    rng, rho = np.random.default_rng(0), np.sin(np.pi * true / 2)
    covered = []
    for early, noise in rng.standard_normal((400, 2, trials)):
        tau = np.asarray(kendalltau(early, rho * early + np.sqrt(1 - rho**2) * noise))[0]
        low, high = tau_interval(float(tau), trials)
        covered.append(low <= true <= high)
    assert np.mean(covered) > 0.95 - 4 * np.sqrt(0.95 * 0.05 / 400)


def test_trials_that_are_all_equal_agree_in_nothing():
    assert audit(audited([[0.5, 0.6]] * 6))["kendall"].tolist() == [0]
