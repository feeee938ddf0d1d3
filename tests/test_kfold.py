"""Studies whose images test in turn: what they plan, and what may have seen what."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from study.budget import Budget
from study.design.plan import Planned
from study.design.settings import resolve
from study.estimates.costs import estimate
from study.estimates.resolution import planned_resolution
from study.persistence.ledger import Record
from study.schedule.next_trials import best_seed, has_control, setting_of
from study.schedule.recommendation import best_setting, confirmed_settings
from study.schedule.state import StudyState
from study.setup.data_lines import fold_lines
from study.spec import Study
from tests.courses import BASE, begin, drive, killed, phases_of, row, small_study
from tests.test_costs import INPUTS
from tests.trees import table
from trainables.config import TrialConfig, from_dict
from trainables.data.splits import add_folds, divide
from trainables.errors import InputError

FOLDS, SEEDS, POINTS = 3, 2, 2
RATE = 1e-3  # between the two that are tried
LEVELS = {"augmentation": ["none", "light"]}


def kfold(**changes: Any) -> Study:
    return small_study(LEVELS, {"refine": POINTS, "seeds": SEEDS, "test_folds": FOLDS}, **changes)


def uneven(planned: Planned, epoch: int) -> float:
    """Which of two rates is better hangs on the test fold."""
    high = planned.nuisances["learning_rate"] > RATE
    return 0.5 + 0.1 * (planned.factors["augmentation"] == "light") + 0.05 * (high == (planned.seed % 2 == 1))


@pytest.fixture
def course(tmp_path: Path) -> StudyState:
    course = begin(tmp_path, kfold())
    assert phases_of(drive(course, uneven)) == ["search", "refine", "confirm", "test"]
    return course


def test_every_test_fold_is_refined_for_itself(course: StudyState) -> None:
    refined = [record.planned for record in course.of_phase("refine")]
    assert len(refined) == len(LEVELS["augmentation"]) * POINTS * FOLDS * SEEDS
    assert {planned.seed for planned in refined} == set(range(1, FOLDS * SEEDS + 1))
    confirmed = course.of_phase("confirm")
    assert len(confirmed) == len(LEVELS["augmentation"]) * FOLDS * SEEDS
    for record in confirmed:
        high = record.planned.nuisances["learning_rate"] > RATE
        assert high == (record.planned.seed % 2 == 1), "the best of its own fold"
        chosen = [each for each in refined if (each.arm, each.seed) == (record.planned.arm, record.planned.seed)]
        assert len(chosen) == 1
    assert {record.planned.stands_for for record in confirmed} == {("augmentation=none",), ("augmentation=light",)}


def test_no_trial_that_chose_a_models_nuisances_had_its_test_images(course: StudyState) -> None:
    manifest = table({"a": [1] * 10 + [2] * 5, "b": [1] * 12, "c": [3] * 4})
    seen: dict[int, set[int]] = {}
    for record in course.of_phase("refine"):
        folds = folds_of(manifest, from_dict(record.config))
        seen.setdefault(record.planned.seed, set()).update(folds.val.tolist(), folds.pool.tolist())
    for record in course.of_phase("confirm"):
        test = set(folds_of(manifest, from_dict(record.config)).test.tolist())
        assert test
        assert not test & seen[record.planned.seed]


def folds_of(manifest: pd.DataFrame, config: TrialConfig) -> Any:
    levels = config.split_levels.split(",")
    return divide(manifest, levels, config.study_seed, config.seed, config.official_split, test_folds=config.test_folds)


@pytest.mark.parametrize("lives", [60, 120, 175])
def test_killed_and_resumed_it_is_the_same_study_with_one_opening(
    course: StudyState, tmp_path: Path, lives: int
) -> None:
    out = tmp_path / "killed"
    out.mkdir()
    assert killed(begin(out, kfold()), uneven, lives)
    again = begin(out, kfold())
    drive(again, uneven)
    assert set(again.records) == set(course.records)
    assert len(list((out / "ledger" / "openings").glob("*.json"))) == 1


def test_the_winner_is_a_level_across_its_folds() -> None:
    accuracies = {"light": [0.6, 0.8, 0.7], "none": [0.9, 0.5, 0.5]}  # the single best model is of the other level
    confirmed = [
        Record(
            Planned(f"{level}-{i}", "confirm", {"augmentation": level}, {"learning_rate": 0.1 * i}, seed=i),
            {"metric": "val_accuracy", "test_folds": 3},
            {1: row(1, accuracy)},
            "completed",
        )
        for level, each in accuracies.items()
        for i, accuracy in enumerate(each, start=1)
    ]
    best = best_setting(confirmed_settings(confirmed))
    assert best is not None
    assert {record.planned.factors["augmentation"] for record in best.records} == {"light"}
    winner = best_seed(best.records)
    assert winner is not None
    assert winner.planned.trial == "light-2"
    assert len({setting_of(record) for record in confirmed}) == 2


def test_its_seeds_are_rounds() -> None:
    budget = Budget(trials=1, epochs=1, seeds=2, test_folds=3)
    assert budget.repeats == 6
    assert list(budget.refined_on) == [1, 2, 3, 4, 5, 6]
    plain = Budget(trials=1, epochs=1, seeds=2)
    assert (plain.repeats, list(plain.refined_on)) == (2, [0])


@pytest.mark.parametrize("folds", [1, 0, 2.5])
def test_fewer_than_two_test_folds_are_refused(folds: Any) -> None:
    with pytest.raises(InputError, match=f"test-folds must be a whole number of at least 2, but got {folds}"):
        Budget(trials=1, epochs=1, test_folds=folds)


def test_what_does_not_go_with_test_folds_is_refused() -> None:
    with pytest.raises(InputError, match="leave one out"):
        Budget(trials=1, epochs=1, seeds=4, folds=2, test_folds=2)
    with pytest.raises(InputError, match="every setting gets 4 seeds: leave --most-seeds 8 out, or raise --seeds"):
        Budget(trials=1, epochs=1, seeds=4, most_seeds=8, test_folds=2)
    for other in ({"goal": "best"}, {"retrain": True}):
        with pytest.raises(InputError, match="are not supported"):
            kfold(**other)


def test_it_leaves_the_official_split_and_the_control_out() -> None:
    study = kfold(control=True)
    assert not study.uses_official_split()
    assert small_study(LEVELS).uses_official_split()
    assert not has_control(study)
    planned = Planned("confirm-x-1", "confirm", {"augmentation": "none"}, {"learning_rate": 0.1}, seed=1)
    assert resolve(study, planned, BASE).test_folds == FOLDS


def test_the_dry_run_counts_every_model() -> None:
    costs = {cost.phase: cost.trials for cost in estimate(kfold(), INPUTS)}
    assert costs["refine"] == 2 * POINTS * FOLDS * SEEDS
    assert costs["confirm"] == costs["test"] == 2 * FOLDS * SEEDS
    manifest = add_folds(table({"a": [1] * 20, "b": [1] * 30}), ["60-20-20"], 0, False, False)
    expected = planned_resolution(manifest, kfold().budget)
    assert (expected["items"], expected["seeds"]) == (50, SEEDS)
    assert expected["difference"] < planned_resolution(manifest, small_study().budget)["difference"]
    assert any("every image is tested once per seed, in 3 test folds" in line for line in fold_lines(manifest, kfold()))
    assert not np.isnan(expected["difference"])
