"""--published: what a study's source has published, run as it was and measured on the test fold."""

from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import pytest

from study.arguments import parse
from study.design.load import load, names
from study.design.plan import search_plan
from study.design.settings import resolve
from study.persistence import ledger
from study.schedule.level_settings import best_trial
from study.spec import Published
from tests.courses import BASE, begin, drive, phases_of, small_study
from tests.tiny import STUDY_FILE, Prepare, write_study
from trainables.errors import InputError

ROW = Published(
    name="as it was", config={"augmentation": "light", "epochs": 3}, metric="accuracy", fold="test", value=0.5
)
OTHER = Published(
    name="another", config={"regularizer": "dropout", "dropout": 0.5}, metric="accuracy", fold="validation", value=0.6
)


def test_every_published_configuration_is_a_valid_trial() -> None:
    published = {name: load(name).study for name in names() if load(name).study.published}
    assert {name: len(study.published) for name, study in published.items()} == {
        "cars": 9,
        "cats_vs_dogs": 3,
        "dog_breeds": 3,
        "dogs": 4,
    }
    base = replace(BASE, weights_hashes=defaultdict(str))
    for study in published.values():
        alone = study.as_published(None)
        plan = search_plan(alone, alone.budget.trials, 0)
        assert Counter(planned.published for planned in plan) == {
            each.name: study.budget.seeds for each in study.published
        }
        for planned in plan:
            config = resolve(alone, planned, base)
            assert config.epochs == planned.factors.get("epochs", config.epochs)
            assert config.seed == planned.seed > 0


def test_all_are_trained_and_then_see_the_test_fold_once(tmp_path: Path) -> None:
    study = small_study(published=[ROW, OTHER]).as_published(None)
    course = begin(tmp_path, study)
    jobs = drive(course, lambda planned, epoch: 0.3 + 0.1 * epoch)
    assert phases_of(jobs) == ["published", "test"]
    records = course.of_phase("published")
    assert [record.planned.published for record in records] == ["as it was", "another"] * 2
    assert [len(record.rows) for record in records] == [3, 4, 3, 4]  # 4 is the study's own
    assert course.confirmed() == records
    assert not best_trial(course.of_phase("search"))
    assert [len(models) for models in ledger.read_openings(tmp_path)] == [4]
    assert drive(begin(tmp_path, study), lambda *_: 0.0) == []


def test_epochs_are_cut_where_the_flag_says_so(tmp_path: Path) -> None:
    two_phases = replace(ROW, config={**ROW.config, "frozen_epochs": 2, "unfreeze": "last block"})
    study = small_study(published=[two_phases, OTHER]).as_published(2)
    configs = [resolve(study, planned, BASE) for planned in search_plan(study, 4, 0)]
    assert [(config.epochs, config.frozen_epochs) for config in configs] == [(2, 1), (2, 0)] * 2


def test_splits_and_sizes_come_from_the_configurations() -> None:
    rows = [replace(ROW, config={**ROW.config, "split": split}) for split in ("80-10-10", "60-20-20", "80-10-10")]
    assert small_study(published=rows).as_published(None).split_levels() == ["80-10-10", "60-20-20"]


def test_a_study_without_published_numbers_has_none_to_run(ready: Prepare) -> None:
    with pytest.raises(InputError, match="this study has none"):
        ready("--published")


@pytest.mark.parametrize("flags", [["--hours", "2"], ["--trials", "5"]])
def test_what_was_published_is_not_made_smaller(flags: list[str]) -> None:
    with pytest.raises(InputError, match="--published runs every published configuration as it is"):
        parse(["dogs", "--published", *flags])


def test_published_on_the_command_line(ready: Prepare, tmp_path: Path) -> None:
    text = STUDY_FILE.replace("from study.spec import Budget, Study", "from study.spec import Budget, Published, Study")
    text = text.replace("    budget=", f"    published=[{OTHER!r}],\n    budget=")
    prepared, _ = ready("--published", "--seeds", 2, study=write_study(tmp_path, text))
    assert (prepared.study.goal, prepared.study.budget.trials) == ("published", 2)
    plan = search_plan(prepared.study, 2, prepared.base.study_seed)
    assert [planned.trial for planned in plan] == ["published-01-1", "published-01-2"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"backbnoe": "resnet18"}, "Unknown hyperparameter of a published configuration 'backbnoe'"),
        ({"regularizer": "dropuot"}, "Unknown regularizer 'dropuot'"),
        ({"batch_size": 0}, "`batch_size` must be a whole number above 0, but got 0"),
    ],
)
def test_a_published_configuration_is_checked(config: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        small_study(published=[replace(ROW, config=config)])
