"""What follows the search: companions, conditional factors, the settings that stand for the levels."""

from typing import Any

from study.design.plan import Planned
from study.persistence.ledger import Record
from study.schedule.level_settings import best_trial, level_settings
from study.schedule.next_trials import CONFIRMED_BEST, confirm_trials
from study.schedule.refinement import Refinement, refine_trials
from tests.courses import CONDITIONAL, CONFIG, phase_of, row, small_study

LITE = "tf_efficientnet_lite0"


def record(trial: str, accuracy: float | None, nuisances: dict[str, float] | None = None, **factors: Any) -> Record:
    """A trial that completed with this accuracy; without one it failed."""
    planned = Planned(trial, phase_of(trial), factors, nuisances or {"learning_rate": 0.01})
    if accuracy is None:
        return Record(planned, CONFIG, {}, "failed", "out of memory")
    return Record(planned, CONFIG, {1: row(1, accuracy)}, "completed")


def test_the_winner_is_the_best_that_completed_and_of_equals_the_first() -> None:
    stopped = record("search-0004", 0.9)
    stopped.status = "stopped"
    trials = [record("search-0003", 0.7), record("search-0002", 0.7), record("search-0001", 0.6), stopped]
    assert best_trial(trials) is trials[1]
    assert best_trial([record("search-0001", None)]) is None
    assert best_trial([]) is None


def test_best_row_is_the_first_of_equals() -> None:
    one = Record(Planned("t", "search", {}, {}), CONFIG, {1: row(1, 0.5), 2: row(2, 0.6), 3: row(3, 0.6)})
    assert one.best == row(2, 0.6)


def test_each_level_is_judged_beside_the_winners_other_levels() -> None:
    search = [
        record("search-0001", 0.5, regularizer="none", augmentation="light"),
        record("search-0002", 0.9, regularizer="dropout", augmentation="light"),
        record("search-0003", 0.8, regularizer="none", augmentation="none"),
    ]
    assert level_settings(small_study(), search[1].planned.factors, search) == {
        "regularizer=none": {"regularizer": "none", "augmentation": "light"},
        "regularizer=dropout": {"regularizer": "dropout", "augmentation": "light"},
        "augmentation=none": {"regularizer": "dropout", "augmentation": "none"},
        "augmentation=light": {"regularizer": "dropout", "augmentation": "light"},
    }


def test_settings_that_coincide_are_refined_once_and_all_at_the_same_points() -> None:
    search = [record("search-0001", 0.9, regularizer="dropout", augmentation="light")]
    study, base = small_study(budget={"refine": 3}), Refinement(search[0].planned.factors)
    points = refine_trials(study, base, search, 0)
    assert [len(point) for point in points] == [3, 3, 3]
    trials = [trial for point in points for trial in point]
    assert len(trials) == len({trial.trial for trial in trials}) == 3 * 3
    rates: dict[tuple, list[float]] = {}
    for trial in trials:
        rates.setdefault(tuple(trial.factors.values()), []).append(trial.nuisances["learning_rate"])
        assert ("dropout" in trial.nuisances) == (trial.factors["regularizer"] == "dropout")
        assert (trial.phase, trial.seed, trial.audit) == ("refine", 0, False)
    assert rates.keys() == {("dropout", "light"), ("none", "light"), ("dropout", "none")}
    assert len({tuple(each) for each in rates.values()}) == 1
    assert points == refine_trials(study, base, search, 0)
    assert points != refine_trials(study, base, search, 1)


def test_without_nuisances_a_setting_is_refined_once_however_many_points_are_asked_for() -> None:
    study = small_study({"augmentation": ["none", "light"]}, {"refine": 5}, nuisances={})
    search = [record("search-0001", 0.9, {}, augmentation="light")]
    (point,) = refine_trials(study, Refinement({"augmentation": "light"}), search, 0)
    assert [trial.factors for trial in point] == [{"augmentation": "none"}, {"augmentation": "light"}]


def test_a_factor_the_winner_lacks_is_judged_in_the_best_setting_that_has_it() -> None:
    search = [
        record("search-0001", 0.9, backbone="small_cnn"),
        record("search-0002", 0.6, backbone=LITE, unfreeze="head"),
        record("search-0003", 0.7, backbone=LITE, unfreeze="last stage"),
    ]
    assert level_settings(small_study(CONDITIONAL), {"backbone": "small_cnn"}, search) == {
        # Its unfreeze depth comes into being: the level's own best trial says which.
        f"backbone={LITE}": {"backbone": LITE, "unfreeze": "last stage"},
        "backbone=small_cnn": {"backbone": "small_cnn"},
        "unfreeze=head": {"backbone": LITE, "unfreeze": "head"},
        "unfreeze=last stage": {"backbone": LITE, "unfreeze": "last stage"},
    }


def test_a_factor_that_the_winners_level_rules_out_goes_away() -> None:
    search = [
        record("search-0001", 0.5, backbone="small_cnn"),
        record("search-0002", 0.9, backbone=LITE, unfreeze="head"),
    ]
    found = level_settings(small_study(CONDITIONAL), search[1].planned.factors, search)
    assert found["backbone=small_cnn"] == {"backbone": "small_cnn"}
    assert found["unfreeze=last stage"] == {"backbone": LITE, "unfreeze": "last stage"}


def test_levels_whose_every_trial_failed_are_left_out_where_nothing_tells_their_setting() -> None:
    search = [
        record("search-0001", 0.9, backbone="small_cnn"),
        record("search-0002", None, backbone=LITE, unfreeze="head"),
    ]
    base = {"backbone": "small_cnn"}
    assert level_settings(small_study(CONDITIONAL), base, search) == {"backbone=small_cnn": base}


def test_the_best_refined_setting_of_a_level_is_confirmed_with_every_seed() -> None:
    study = small_study({"augmentation": ["none", "light"]}, {"seeds": 3})
    search = [record("search-0001", 0.9, augmentation="light")]
    refined = [
        record("refine-a", 0.5, {"learning_rate": 0.1}, augmentation="none"),
        record("refine-b", 0.6, {"learning_rate": 0.2}, augmentation="none"),
        record("refine-c", 0.8, {"learning_rate": 0.1}, augmentation="light"),
        record("refine-d", None, {"learning_rate": 0.2}, augmentation="light"),
    ]
    settings = level_settings(study, {"augmentation": "light"}, search)
    trials = confirm_trials(study, settings, search, refined)
    found = {(trial.seed, trial.factors["augmentation"], trial.nuisances["learning_rate"]) for trial in trials}
    assert found == {(seed, *one) for seed in (1, 2, 3) for one in [("none", 0.2), ("light", 0.1)]}
    assert {trial.stands_for for trial in trials} == {("augmentation=none",), ("augmentation=light",)}
    assert {trial.trial for trial in trials} == {f"confirm-{trial.arm}-{trial.seed}" for trial in trials}


def test_goal_best_confirms_the_best_settings_each_once() -> None:
    study = small_study(goal="best", budget={"seeds": 1})
    search = [
        record(f"search-{n:04d}", accuracy, {"learning_rate": rate}, regularizer="none", augmentation="none")
        for n, accuracy, rate in [(1, 0.7, 0.1), (2, 0.9, 0.2), (3, 0.8, 0.2), (4, 0.6, 0.3), (5, 0.5, 0.4)]
    ]
    trials = confirm_trials(study, {}, search, [])
    assert len(trials) == CONFIRMED_BEST
    assert [trial.nuisances["learning_rate"] for trial in trials] == [0.2, 0.1, 0.3]
    assert {trial.stands_for for trial in trials} == {()}
