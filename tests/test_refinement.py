"""The rounds of a refinement: ranges that widen, flat ends, moves of the base, and the cheapest levels together."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from search_spaces.distributions import Range
from study.design.plan import Planned
from study.schedule.range_ends import MOST_WIDENINGS, Widening
from study.schedule.refinement import MOST_MOVES, Refinement, new_points, refine_trials
from study.schedule.state import StudyState
from study.spec import Study
from tests.courses import BASE, begin, drive, small_study
from tests.test_next_trials import record

RATE = Range(low=1e-3, high=1e-2, log=True)
FACTORS = {"augmentation": ["none", "light"]}


def of_rate(best: float, slope: float = 0.2, low: float = 0.1) -> Callable[[Planned, int], float]:
    """Accuracy falls by `slope` for every factor of ten between the learning rate and the best one."""

    def accuracy(planned: Planned, epoch: int) -> float:
        away = abs(math.log10(planned.nuisances["learning_rate"] / best))
        return low + 0.8 - slope * away + 0.001 * epoch

    return accuracy


def study_of(rate: Range = RATE, **changes: Any) -> Study:
    budget = {"trials": 4, "epochs": 2, "refine": 6, "seeds": 3}
    return small_study(changes.pop("factors", FACTORS), budget, nuisances={"learning_rate": rate}, **changes)


def driven(out: Path, study: Study, accuracy: Callable[[Planned, int], float | None]) -> StudyState:
    course = begin(out, study)
    drive(course, accuracy)
    return course


def kinds(course: StudyState) -> list[str]:
    return [decision["kind"] for decision in course.decisions]


def rates(course: StudyState, level: str, phase: str = "refine") -> set[float]:
    trials = [each.planned for each in course.records.values() if each.planned.phase == phase]
    return {each.nuisances["learning_rate"] for each in trials if each.factors["augmentation"] == level}


def test_a_range_widens_until_the_best_value_lies_within_it(tmp_path: Path) -> None:
    course = driven(tmp_path, study_of(), of_rate(best=0.02))
    assert kinds(course) == ["base", "widen", "recommend"]
    (widened,) = (each for each in course.decisions if each["kind"] == "widen")
    assert (widened["nuisance"], widened["end"], widened["before"]) == ("learning_rate", "high", 0.01)
    assert widened["after"] == pytest.approx(10**-1.5)  # half of the range, which is one factor of ten
    new = {rate for rate in rates(course, "none") if rate > 0.01}
    assert len(new) == 3
    assert rates(course, "none") == rates(course, "light"), "budgets stay equal"
    assert rates(course, "none", "confirm") <= new


def test_the_first_points_are_evenly_spaced_in_every_nuisance() -> None:
    nuisances = {"learning_rate": RATE, "layer_decay": Range(low=0.5, high=1.0)}
    study = small_study(FACTORS, {"trials": 4, "refine": 5}, nuisances=nuisances)
    planned = [
        each for point in refine_trials(study, Refinement({"augmentation": "none"}), [], seed=3) for each in point
    ]
    for name, nuisance in nuisances.items():
        positions = {round(nuisance.position(each.nuisances[name]), 6) for each in planned}
        assert sorted(positions) == pytest.approx([0.1, 0.3, 0.5, 0.7, 0.9])


def test_few_points_that_stop_short_of_an_end_widen_it_too(tmp_path: Path) -> None:
    study = study_of()
    study = replace(study, budget=replace(study.budget, refine=4))
    course = begin(tmp_path, study, base=replace(BASE, study_seed=1))
    drive(course, of_rate(best=0.02))
    first, *_ = (each for each in course.decisions if each["kind"] == "widen")
    assert 2 / 3 < RATE.position(first["value"]) < 0.9, "not in the outer tenth, but nothing beyond was tried"


def test_an_end_is_widened_three_times_at_most(tmp_path: Path) -> None:
    course = driven(tmp_path, study_of(), of_rate(best=1e6))
    assert kinds(course) == ["base", *["widen"] * MOST_WIDENINGS, "at end", "at end", "recommend"]
    assert len(rates(course, "none")) == 6 + 3 * 3
    assert max(rates(course, "none")) > 0.1


def test_a_flat_end_is_left_alone(tmp_path: Path) -> None:
    course = driven(tmp_path, study_of(), of_rate(best=1e6, slope=0.001))
    assert kinds(course) == ["base", "flat", "flat", "recommend"]


@pytest.mark.parametrize(("lead", "expected"), [(0.3, "behind"), (0.02, "widen"), (-0.3, "widen")])
def test_a_range_does_not_widen_for_a_level_that_stays_behind(tmp_path: Path, lead: float, expected: str) -> None:
    """With light augmentation, accuracy rises from 0.22 to 0.38 within the range, and beyond."""
    rising = of_rate(best=1.0, low=0.0)

    def accuracy(planned: Planned, epoch: int) -> float:
        return rising(planned, epoch) if planned.factors["augmentation"] == "light" else 0.38 + lead

    course = driven(tmp_path, study_of(), accuracy)
    assert expected in kinds(course)


def test_what_the_learning_rate_does_widens_no_other_range(tmp_path: Path) -> None:
    """Dropout does nothing here, but the best learning rate comes with a dropout of 0.83, the largest that is tried."""
    rate, dropout = replace(RATE, natural=(1e-3, 1e-2)), Range(low=0.1, high=0.9, when={"regularizer": "dropout"})
    nuisances = {"learning_rate": rate, "dropout": dropout}
    study = small_study({"regularizer": ["none", "dropout"]}, {"trials": 4, "refine": 6}, nuisances=nuisances)
    planned = [each for point in refine_trials(study, Refinement({"regularizer": "none"}), [], 0) for each in point]
    largest = max((each.nuisances.get("dropout", 0.0), each.nuisances["learning_rate"]) for each in planned)
    course = driven(tmp_path, study, of_rate(best=largest[1]))
    assert largest[0] > 0.8
    assert "widen" not in kinds(course)
    assert "flat" in kinds(course)


def test_a_natural_end_is_left_alone(tmp_path: Path) -> None:
    course = driven(tmp_path, study_of(replace(RATE, natural=(1e-2,))), of_rate(best=1e6))
    assert kinds(course) == ["base", "recommend"]


def test_a_range_never_leaves_what_the_hyperparameter_allows(tmp_path: Path) -> None:
    """Dropout has no rate of 1 or more: of the shares of the range that are tried, a sixteenth is the first to fit."""
    dropout = Range(low=0.1, high=0.9, when={"regularizer": "dropout"})
    nuisances = {"learning_rate": replace(RATE, natural=(1e-3, 1e-2)), "dropout": dropout}
    budget = {"trials": 4, "epochs": 2, "refine": 6, "seeds": 3}
    study = small_study({"regularizer": ["none", "dropout"]}, budget, nuisances=nuisances)
    course = driven(tmp_path, study, lambda planned, epoch: planned.nuisances.get("dropout", 0.0))
    widened = [each for each in course.decisions if each["kind"] == "widen" and each["nuisance"] == "dropout"]
    assert widened[0]["after"] == pytest.approx(0.95)
    refined = course.of_phase("refine")
    without = [each for each in refined if each.planned.factors["regularizer"] == "none"]
    assert len(without) == 6, "a level without the nuisance gets no points of its widening"


def test_widened_points_lie_in_the_added_part_and_all_settings_share_them() -> None:
    study = study_of()
    search = [record("search-0001", 0.9, augmentation="light")]
    wider = Refinement({"augmentation": "light"}, (Widening("learning_rate", "low", 1e-3, 1e-4),))
    first, both = (
        [trial for point in refine_trials(study, each, search, 0) for trial in point]
        for each in (Refinement({"augmentation": "light"}), wider)
    )
    added = [trial.nuisances["learning_rate"] for trial in both if trial not in first]
    assert len(added) == 2 * new_points(study)
    assert sorted(set(added)) == pytest.approx([1e-4, 10**-3.67, 10**-3.33], rel=0.02)
    assert added[::2] == added[1::2]


def test_the_base_moves_to_a_level_that_is_better_around_it(tmp_path: Path) -> None:
    scores = {(16, "none"): 0.5, (16, "light"): 0.7, (24, "none"): 0.4, (24, "light"): 0.9}

    def accuracy(planned: Planned, epoch: int) -> float:
        """The search takes the first setting for the best."""
        levels = planned.factors["size"], planned.factors["augmentation"]
        return 0.99 if planned.phase == "search" and levels == (16, "none") else scores[levels]

    fixed = {"batch_size": 8, "split": "60-20-20", "backbone": "small_cnn", "unfreeze": "all"}
    study = study_of(factors={"size": [16, 24], "augmentation": ["none", "light"]}, fixed=fixed)
    course = driven(tmp_path, study, accuracy)
    moves = [each for each in course.decisions if each["kind"] == "move"]
    assert [tuple(each["levels"].values()) for each in moves] == [(16, "light"), (24, "light")]
    assert [each["gain"] for each in moves] == pytest.approx([0.2, 0.2])
    around = {tuple(course.records[trial].planned.factors.values()) for trial in course.stands_for}
    assert around == {(24, "light"), (16, "light"), (24, "none")}
    assert course.winner is not None
    assert tuple(course.winner.planned.factors.values()) == (24, "light")


@pytest.mark.parametrize(("gain", "moved"), [(0.009, False), (0.05, False), (0.2, True)])
def test_it_stays_where_the_margin_or_chance_explains_the_gain(tmp_path: Path, gain: float, moved: bool) -> None:
    """With 50 images and half of them wrong, one standard error is at most sqrt(2 * 0.5 / 50) = 14 points."""
    base = replace(BASE, validation_images=50)
    course = begin(tmp_path, study_of(), base=base)

    def accuracy(planned: Planned, epoch: int) -> float:
        lead = planned.factors["augmentation"] == "light"
        return 0.5 + (gain * lead if planned.phase != "search" else -0.1 * lead)

    drive(course, accuracy)
    assert ("move" in kinds(course)) == moved


def test_it_moves_three_times_at_most(tmp_path: Path) -> None:
    levels = ["none", "light", "medium", "strong"]
    study = small_study(
        {"augmentation": levels, "regularizer": ["none", "dropout"]},
        {"trials": 8, "epochs": 2, "refine": 2, "seeds": 3},
        nuisances={
            "learning_rate": RATE,
            "dropout": Range(low=0.1, high=0.9, natural=(0.1, 0.9), when={"regularizer": "dropout"}),
        },
    )
    better: dict[tuple[Any, ...], float] = {}

    def ever_better(planned: Planned, epoch: int) -> float:
        """Every setting that is tried later is better."""
        if planned.phase == "search":
            return 0.2
        levels = tuple(planned.factors.values())
        return better.setdefault(levels, 0.2 + 0.05 * len(better))

    course = driven(tmp_path, study, ever_better)
    assert kinds(course).count("move") <= MOST_MOVES


def cheap_study() -> Study:
    return small_study(
        {"unfreeze": ["last stage", "head"], "size": [64, 32]},
        {"trials": 8, "epochs": 4, "refine": 2, "seeds": 3},
        fixed={"batch_size": 8, "split": "60-20-20", "backbone": "tf_efficientnet_lite0"},
        nuisances={"learning_rate": replace(RATE, natural=(1e-3, 1e-2))},
    )


@pytest.mark.parametrize(("together", "recommended"), [(0.8, ("head", 32)), (0.7, ("last stage", 64))])
def test_the_cheapest_levels_that_do_as_well_are_confirmed_together(
    tmp_path: Path, together: float, recommended: tuple[str, int]
) -> None:
    """Alone, the head and the smaller size do as well as the winner's levels, so both together are trained too."""

    def accuracy(planned: Planned, epoch: int) -> float:
        levels = tuple(planned.factors.values())
        return together if levels == ("head", 32) else 0.8 + 0.001 * (levels == ("last stage", 64))

    course = driven(tmp_path, cheap_study(), accuracy)
    assert kinds(course) == ["base", "combine", "recommend"]
    combined = [each for each in course.confirmed() if tuple(each.planned.factors.values()) == ("head", 32)]
    assert len(combined) == 3
    assert {course.stands_for[each.planned.trial] for each in combined} == {()}
    assert course.winner is not None
    assert tuple(course.winner.planned.factors.values()) == recommended


def test_cheap_levels_that_are_worse_are_not_tried_together(tmp_path: Path) -> None:
    course = driven(tmp_path, cheap_study(), lambda planned, epoch: 0.9 - 0.02 * (planned.factors["size"] == 32))
    assert kinds(course) == ["base", "combine", "recommend"], "the head does as well, whatever the size"
    (combined,) = (each for each in course.decisions if each["kind"] == "combine")
    assert combined["levels"] == {"unfreeze": "head", "size": 64}
