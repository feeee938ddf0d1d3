import numpy as np
import pandas as pd
import pytest

from analysis.search.rung import MOST_CHECKPOINTS, matched_rung, outcomes
from study import results
from tests.searches import search

PICTURES = 9


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
    manifest = pd.DataFrame({"keep": [True] * PICTURES + [False], "fold": ["val"] * (PICTURES + 1)})
    study = {"name": "s", "question": "q", "factors": {"f": sorted(set(levels))}} | study
    return results.Results(results.Path("nowhere"), study, manifest, trials, epochs, pd.DataFrame())


def test_the_rung_by_hand():
    """One trial of x goes to epoch 3, y's deepest is 2: two is the rung, and the one stopped after 1 is censored."""
    read = seen([[0.2, 0.4, 0.9], [0.3], [0.6, 0.5], []], ["completed", "stopped", "stopped", "failed"], list("xxyy"))
    found = outcomes(read)
    assert (found.rung, found.checkpoints, found.pictures) == (2, [1, 2], PICTURES)
    assert found.title == "after 2 epochs"
    assert found.trials["outcome"].tolist() == ["reached", "stopped", "reached", "failed"]
    expected = [[0.2, 0.4], [0.3, np.nan], [0.6, 0.6], [np.nan, np.nan]]
    np.testing.assert_array_equal(found.accuracy, expected)
    assert found.logits[0, 1] == pytest.approx(np.log((3.6 + 0.5) / (5.4 + 0.5)))
    assert np.isnan(found.logits[1, 1])
    assert found.logits[3].tolist() == found.logits[0].tolist()  # failed: as the worst at each checkpoint


def test_a_trial_that_ended_by_itself_keeps_its_best():
    found = outcomes(seen([[0.1, 0.2, 0.3], [0.5, 0.4]], ["completed", "completed"], list("xx")))
    assert found.rung == 3
    assert found.accuracy[:, 0].tolist() == [0.3, 0.5]


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


def test_many_stopping_epochs_are_thinned_out_and_the_first_is_kept():
    curves = [[0.5] * n for n in range(2, 22)] + [[0.5] * 30]
    found = outcomes(seen(curves, ["stopped"] * 20 + ["completed"], ["x"] * 21))
    assert found.checkpoints[0] == 2
    assert found.checkpoints[-1] == 30
    assert len(found.checkpoints) == MOST_CHECKPOINTS + 1
    assert np.isfinite(found.accuracy[:, 0]).all()


def test_gaps_begin_where_a_trial_was_stopped_and_never_end():
    found = outcomes(search(lambda levels: 0.0))
    gaps = np.isnan(found.accuracy)
    assert 0 < gaps[:, -1].mean() < 1
    assert (np.diff(gaps.astype(int), axis=1) >= 0).all()
    assert (gaps.any(axis=1) == (found.trials["outcome"] == "stopped")).all()
