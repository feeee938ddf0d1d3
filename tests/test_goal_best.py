"""A study with goal="best" confirms the best settings that its sampler drew."""

from pathlib import Path

from study.schedule.next_trials import CONFIRMED_BEST
from study.schedule.state import StudyState
from tests.courses import (
    BASE,
    BONUS,
    begin,
    drive,
    killed,
    phases_of,
    small_study,
)


class Sampler:
    """Hands out one fixed list of settings."""

    def __init__(self) -> None:
        self.heard: dict[str, float | None] = {}

    def ask(self, trial: str) -> tuple[dict, dict]:
        number = int(trial[-4:])
        return {"regularizer": "none", "augmentation": "none"}, {"learning_rate": 0.01 / number}

    def tell(self, trial: str, value: float | None) -> None:
        assert trial not in self.heard
        self.heard[trial] = value


def test_goal_best_confirms_the_best_three_settings_it_was_given(tmp_path: Path) -> None:
    study = small_study(goal="best", budget={"trials": 6, "epochs": 1})
    sampler = Sampler()
    course = begin(tmp_path, study, sampler=sampler)
    jobs = drive(course, BONUS, at_once=2)
    assert phases_of(jobs) == ["search", "confirm", "test"]
    assert len(sampler.heard) == 6
    confirmed = {record.planned.nuisances["learning_rate"] for record in course.confirmed()}
    assert confirmed == {0.01 / 6, 0.01 / 5, 0.01 / 4}
    assert set(course.stands_for.values()) == {()}


def test_goal_best_goes_on_with_the_settings_that_were_drawn(tmp_path: Path) -> None:
    study = small_study(goal="best", budget={"trials": 6, "epochs": 2})
    for lives in (0, 3, 9, 14):
        killed(begin(tmp_path, study, sampler=Sampler()), BONUS, lives)
    sampler = Sampler()
    course = begin(tmp_path, study, sampler=sampler)
    drive(course, BONUS)
    search = course.of_phase("search")
    assert [record.planned.trial for record in search] == [f"search-{n:04d}" for n in range(1, 7)]
    assert sampler.heard.keys() < {record.planned.trial for record in search}


def test_a_sampled_search_that_is_out_of_time_ends_with_enough_settings_to_confirm(tmp_path: Path) -> None:
    study = small_study(goal="best", budget={"trials": 6, "epochs": 1})
    course = StudyState(
        tmp_path, study, BASE, Sampler(), lambda *_: None, out_of_time=lambda phase, together: phase == "search"
    )
    drive(course, BONUS)
    assert len(course.of_phase("search")) == CONFIRMED_BEST
    assert len({record.planned.arm for record in course.confirmed()}) == CONFIRMED_BEST
    again = begin(tmp_path, study, sampler=Sampler())
    assert drive(again, BONUS) == []  # the decision stands
