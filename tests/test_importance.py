import pytest

from analysis.search.importance import MOST_TRIALS, importance
from analysis.search.rung import outcomes
from study import results
from tests.searches import FACTORS, search


def shares(read):
    found = importance(read, outcomes(read))
    return found, found.set_index("hyperparameter")["importance"]


@pytest.mark.parametrize("asha", [True, False])
def test_the_factor_that_matters_comes_before_those_that_do_not(asha):
    found, share = shares(search(lambda levels: 1.5 * (levels["f"] == "z"), asha=asha))
    assert share["f"] > 2 * max(share["g"], share["h"])
    assert share.sum() == pytest.approx(1)
    assert found.set_index("hyperparameter")["kind"].to_dict() == {
        "f": "factor", "g": "factor", "h": "factor", "learning_rate": "nuisance"
    }  # fmt: skip


def test_stopped_and_failed_trials_take_part_as_not_among_the_best():
    read = search(lambda levels: 0.0)
    read.trials.loc[:9, "status"] = "failed"
    found, _ = shares(read)
    seen = outcomes(read).trials["outcome"]
    assert (found["trials"] == 96).all()
    assert (found["stopped"] == (seen == "stopped").sum()).all()
    assert (found["best"] == min(24, (seen == "reached").sum() // 2)).all()


def test_too_few_among_the_best_are_refused():
    found, _ = shares(search(lambda levels: 0.0, trials=18, asha=False))
    assert found.empty
    found, _ = shares(search(lambda levels: 0.0, trials=20, asha=False))
    assert (found["best"] == 5).all()


def test_a_conditional_factor_and_nuisance_have_their_share():
    read = search(lambda levels: 2.0 * (levels["h"] == "v") * (levels["g"] == "p"), asha=False,
                  extra={"nuisances": {"learning_rate": {"log": True, "when": {"g": "p"}}}})  # fmt: skip
    read.trials["h"] = read.trials["h"].where(read.trials["g"] == "p")
    _, share = shares(read)
    assert share["h"] > share["f"]
    assert share["learning_rate"] >= 0


def test_nothing_varied_nothing_mattered():
    read = search(lambda levels: 0.0, asha=False, extra={"nuisances": {}})
    one = read.trials.assign(f="x", g="p", h="u")
    again = results.Results(**{**vars(read), "trials": one})
    assert importance(again, outcomes(again)).empty


def test_a_large_search_is_drawn_from_and_twice_the_same():
    read = search(lambda levels: 0.0, trials=MOST_TRIALS + 50, asha=False)
    first, second = (importance(read, outcomes(read)) for _ in range(2))
    assert (first["trials"] == MOST_TRIALS).all()
    assert first.equals(second)


def test_ties_stand_in_declared_order():
    """Every level of g and h is as frequent among the best trials as among all, so both have no importance."""
    read = search(lambda levels: 0.0, trials=48, asha=False, extra={"nuisances": {}})
    rank = read.trials["f"].map({"x": 0.0, "y": 1.0, "z": 2.0}) / 4
    read.epochs["val_accuracy"] = read.epochs["trial"].map(dict(zip(read.trials["trial"], rank, strict=True)))
    found, share = shares(read)
    assert found["hyperparameter"].tolist() == sorted(FACTORS, key=lambda name: -share[name])
