from typing import cast

import numpy as np
import pandas as pd

from analysis.search.rung import matched_rung, outcomes
from study import results


def seen(curves, statuses, levels, **study):
    """A search of one factor, from each trial's accuracies by epoch."""
    names = [f"t{i}" for i in range(len(curves))]
    trials = pd.DataFrame(
        {
            "trial": names,
            "phase": "search",
            "status": statuses,
            "epochs_run": [float(len(one)) for one in curves],
            "f": levels,
        }
    )
    rows = [(name, k + 1, value) for name, one in zip(names, curves, strict=True) for k, value in enumerate(one)]
    epochs = pd.DataFrame(rows, columns=["trial", "epoch", "val_accuracy"])
    record = {"name": "s", "question": "q", "factors": {"f": sorted(set(levels))}} | study
    return results.Results(
        results.Path("nowhere"), cast(results.StudyRecord, record), trials, trials, epochs, pd.DataFrame()
    )


def test_the_rung_by_hand():
    """One trial of x goes to epoch 3, y's deepest is 2: two is the rung, and the one stopped after 1 is censored."""
    read = seen([[0.2, 0.4, 0.9], [0.3], [0.6, 0.5], []], ["completed", "stopped", "stopped", "failed"], list("xxyy"))
    found = outcomes(read)
    assert found.rung == 2
    assert found.title == "after 2 epochs"
    assert found.trials["outcome"].tolist() == ["reached", "stopped", "reached", "failed"]
    np.testing.assert_array_equal(found.accuracy, [0.4, 0.3, 0.6, np.nan])


def test_a_trial_that_ended_by_itself_keeps_its_best():
    found = outcomes(seen([[0.1, 0.2, 0.3], [0.5, 0.4]], ["completed", "completed"], list("xx")))
    assert found.rung == 3
    assert found.accuracy.tolist() == [0.3, 0.5]


def test_a_level_whose_trials_all_failed_does_not_take_the_rung_away():
    read = seen([[0.1, 0.2], []], ["completed", "failed"], list("xy"))
    assert matched_rung(read) == 2
    assert outcomes(read).trials["outcome"].tolist() == ["reached", "failed"]


def test_what_nothing_is_known_of_is_left_out():
    read = seen([[0.1, 0.2], [np.nan, np.nan]], ["completed", "completed"], list("xx"))
    assert outcomes(read).trials["trial"].tolist() == ["t0"]


def test_the_title_names_the_budget():
    read = seen([[0.1, 0.2]], ["completed"], ["x"], budget={"epochs": 7})
    assert outcomes(read).title == "after 2 of 7 epochs"
