"""Settings drawn by TPE: conditional spaces, and going on with trials that an earlier process had asked for."""

from pathlib import Path

from optuna.trial import TrialState

from search_spaces.distributions import holds
from study.schedule.sampling import OptunaSampler
from study.spec import Study
from tests.courses import CONDITIONAL, begin, by_level, drive, killed, small_study

STUDY = small_study(CONDITIONAL, goal="best", budget={"trials": 8, "epochs": 2, "seeds": 1})
ACCURACY = by_level({"small_cnn": 0.1})


def states(sampler: OptunaSampler) -> list[TrialState]:
    return [trial.state for trial in sampler.past.trials]


def valid(study: Study, factors: dict, nuisances: dict) -> bool:
    levels = all((name in factors) == holds(each.when, factors) for name, each in study.factors.items())
    ranges = all(study.nuisances[name].low <= value <= study.nuisances[name].high for name, value in nuisances.items())
    return levels and ranges and nuisances.keys() == study.nuisances.keys()


def test_settings_are_of_the_space(tmp_path: Path) -> None:
    sampler = OptunaSampler(STUDY, 0, tmp_path)
    for number in range(20):
        trial = f"search-{number:04d}"
        assert valid(STUDY, *sampler.ask(trial))
        sampler.tell(trial, None if number % 5 == 0 else number / 20)
    assert states(sampler).count(TrialState.FAIL) == 4


def test_a_killed_search_goes_on_with_what_it_had_asked_for(tmp_path: Path) -> None:
    for lives in (3, 11, 30):
        assert killed(begin(tmp_path, STUDY, sampler=OptunaSampler(STUDY, 0, tmp_path)), ACCURACY, lives, at_once=2)
    sampler = OptunaSampler(STUDY, 0, tmp_path)
    assert sampler.open  # asked for by a process that is no more
    course = begin(tmp_path, STUDY, sampler=sampler)
    drive(course, ACCURACY, at_once=2)
    search = course.of_phase("search")
    assert len(search) == 8
    assert {record.status for record in search} <= {"completed", "stopped"}
    assert len({record.planned.arm for record in search}) == 8  # none was drawn twice
    assert states(sampler) == [TrialState.COMPLETE] * 8
    assert sorted(trial.value or 0 for trial in sampler.past.trials) == sorted(
        record.best["val_accuracy"] for record in search if record.best
    )
    assert len(course.confirmed()) == 3
