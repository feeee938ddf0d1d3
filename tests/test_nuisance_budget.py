import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.confirmed.nuisance_budget import budgets, expected_best, overtakings
from analysis.search.rung import outcomes
from study import results
from tests.fabricated import Plan, fabricate
from tests.searches import search


def test_expected_best_by_hand():
    """Of 1, 2, 6: the mean; with two draws 1/9, 3/9 and 5/9; with three 1/27, 7/27 and 19/27."""
    expected = [3, (1 + 3 * 2 + 5 * 6) / 9, (1 + 7 * 2 + 19 * 6) / 27]
    assert expected_best([6.0, 1.0, 2.0]).tolist() == pytest.approx(expected)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_expected_best_grows_from_the_mean_towards_the_best(values):
    found = expected_best(values, most=10)
    assert len(found) == min(len(values), 10)
    assert found[0] == pytest.approx(np.mean(values))
    assert (np.diff(found) >= -1e-12).all()
    assert found[-1] <= max(values) + 1e-12


def points(levels):
    rows = [
        ("f", level, k + 1, value, 2, "refine") for level, values in levels.items() for k, value in enumerate(values)
    ]
    return pd.DataFrame(rows, columns=["factor", "level", "points", "expected_best", "of", "phase"])


def test_who_overtakes_whom_and_from_when_on():
    table = points({"dropout": [0.80, 0.82, 0.83, 0.83], "l2": [0.70, 0.81, 0.84, 0.88]})
    found = overtakings(table, 0.01).iloc[0]
    assert (found["first"], found["last"], found["since"], found["points"]) == ("dropout", "l2", 3, 4)
    assert overtakings(table, 0.06).empty  # the lead at the end is five points
    assert overtakings(points({"dropout": [0.8, 0.9], "l2": [0.7, 0.8]}), 0.01).empty


def test_refined_trials_in_one_company(tmp_path):
    """Two points for each level of the fabricated study; the winner's own run once for all factors."""
    plan = Plan(trials=6, seeds=3, items=40)
    read = results.read(fabricate(tmp_path, plan))
    found = budgets(read, outcomes(read))
    assert set(found["phase"]) == {"refine"}
    assert found.groupby("factor", sort=False)["level"].nunique().tolist() == [2, 3, 2]
    mine = read.trials[(read.trials["phase"] == "refine") & (read.trials["regularizer"] == "dropout")]
    dropout = found[found["level"] == "dropout"]["expected_best"]
    assert dropout.iloc[0] == pytest.approx(mine["val_accuracy"].mean())


def test_the_search_where_nothing_was_refined():
    read = search(lambda levels: 0.0)
    found = budgets(read, outcomes(read))
    assert set(found["phase"]) == {"search"}
    first = found[(found["factor"] == "g") & (found["level"] == "p") & (found["points"] == 1)]["expected_best"].item()
    best = np.nanmax(outcomes(read).accuracy, axis=1)
    assert first == pytest.approx(best[(read.trials["g"] == "p").to_numpy()].mean())


def test_nothing_to_tune_nothing_to_show():
    read = search(lambda levels: 0.0, trials=2)
    assert budgets(read, outcomes(read)).empty
