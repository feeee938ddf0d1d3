from typing import cast

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau

from analysis.search.audit import audit
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
    assert found["low"] < 0.8 < found["high"] == pytest.approx(1)


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


def test_four_trials_have_hardly_an_order():
    assert audit(audited([[0.1, 0.2]] * 4)).empty
    assert audit(audited([])).empty


def test_trials_that_are_all_equal_agree_in_nothing():
    assert audit(audited([[0.5, 0.6]] * 6))["kendall"].tolist() == [0]
