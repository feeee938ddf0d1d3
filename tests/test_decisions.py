"""What the report makes of the decisions of a study: real courses without Ray, and folders with anything in them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as settings_of
from hypothesis import strategies as st

from analysis.confirmed.answers import answers
from analysis.confirmed.recommendations import recommendations
from analysis.confirmed.settings import settings, winner
from analysis.confirmed.tables import comparison
from analysis.contents import page
from analysis.decisions import decisions
from analysis.findings.recommendation import recommendations_section
from analysis.sections.decisions import decisions_section
from study import results
from study.design.plan import Planned
from study.products.outputs import write_tables
from study.schedule.state import StudyState
from study.setup.study_json import definition
from study.spec import Study
from tests.courses import CONDITIONAL, begin, by_level, drive, small_study
from tests.fabricated import Plan, fabricate, with_study

LITE = "tf_efficientnet_lite0"
ITEMS = np.arange(40)


@pytest.fixture(autouse=True)
def _without_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("study.products.outputs.count_training_images", lambda *_: 30)


def as_read(course: StudyState, study: Study) -> results.Results:
    """A course as the report reads it; every model classifies the same images correctly."""
    write_tables(course)
    trials = pd.read_parquet(course.out / results.TRIALS_FILE)
    record: Any = {"name": "small", **definition(study), "decisions": course.decisions}
    record = json.loads(json.dumps(record | {"budget": vars(study.budget)}))
    manifest = pd.DataFrame({"item": ITEMS, "group": ITEMS, "keep": True, "fold": "test", "label": ITEMS % 2})
    confirmed = trials.loc[trials["phase"] == "confirm", "trial"]
    tested = [
        pd.DataFrame({"trial": trial, "item": ITEMS, "fold": "test", "label": 0, "predicted": ITEMS % 5 // 4})
        for trial in confirmed
    ]
    epochs = pd.read_parquet(course.out / results.EPOCHS_FILE)
    return results.Results(course.out, record, manifest, trials, epochs, pd.concat(tested))


def rates_count(planned: Planned, epoch: int) -> float:
    """Higher learning rates are better without end, light views are a little better, and dropout much."""
    levels = 0.3 * (planned.factors["regularizer"] == "dropout") + 0.02 * (planned.factors["augmentation"] == "light")
    return 0.3 + levels + 0.1 * np.log10(planned.nuisances["learning_rate"]) / 10 + 0.001 * epoch


def test_a_course_is_told_in_order_and_read_as_it_went(tmp_path: Path) -> None:
    study = small_study(budget={"refine": 4, "seeds": 3})
    course = begin(tmp_path, study)
    drive(course, rates_count)
    read = as_read(course, study)
    assert [decision.kind for decision in decisions(read)] == [decision["kind"] for decision in course.decisions]
    found = settings(read)
    best, advised = winner(found), recommendations(read, found, answers(read))
    assert best is not None
    assert course.winner is not None
    assert best.arm == course.winner.planned.arm
    assert advised["recommended"].tolist() == [best.levels[factor] for factor in study.factors]
    verdicts = answers(read)["verdict"]
    assert not verdicts.str.contains("unequal budgets|widen the range").any()
    refined = comparison(read, found, "regularizer").set_index("level")["refine_best"]
    assert refined["dropout"] == pytest.approx(max(r.score for r in course.of_phase("refine") if held(r.planned, best)))
    section = decisions_section(read)
    assert section is not None
    assert section.points[0].startswith("Comparisons began around the setting of search-")
    assert section.points[-1].startswith("Recommended: regularizer dropout, augmentation light")


def test_what_was_refined_around_an_earlier_base_is_no_result_of_the_level(tmp_path: Path) -> None:
    fabricate(tmp_path, Plan({"f": ["x", "y"], "g": ["u", "v"]}, {"f": "y", "g": "v"}, items=30, trials=4, seeds=3))
    read = results.read(tmp_path)
    refined = read.trials[read.trials["phase"] == "refine"]
    earlier = [refined.assign(g="u", val_accuracy=0.99, trial=f"refine-{n}-" + refined["trial"]) for n in range(3)]
    longer = replace(read, trials=pd.concat([read.trials, *earlier], ignore_index=True))
    before, after = (comparison(each, settings(each), "f")["refine_best"].tolist() for each in (read, longer))
    assert before == after


def held(planned: Planned, best: Any) -> bool:
    return {name: str(level) for name, level in planned.factors.items()} == best.levels


def conditional(base: str) -> tuple[Study, Any]:
    study = small_study(CONDITIONAL | {"augmentation": ["none", "light"]}, {"seeds": 3})
    return study, by_level({base: 0.3, "light": 0.1, "head": 0.05})


def test_all_factors_of_the_base_are_answered_in_one_company(tmp_path: Path) -> None:
    study, accuracy = conditional(LITE)
    course = begin(tmp_path, study)
    drive(course, accuracy)
    rows = answers(as_read(course, study)).set_index("factor")["companions"]
    assert course.winner is not None
    base = course.winner.planned.factors
    for factor in study.factors:
        held_fixed = dict(pair.split("=") for pair in rows[factor].split(", "))
        assert held_fixed == {name: level for name, level in base.items() if name != factor}


def test_a_factor_that_the_base_lacks_is_answered_where_it_exists_and_the_report_says_where(tmp_path: Path) -> None:
    study, accuracy = conditional("small_cnn")
    course = begin(tmp_path, study)
    drive(course, accuracy)
    read = as_read(course, study)
    found, answered = settings(read), answers(read)
    rows = answered.set_index("factor")["companions"]
    assert rows["unfreeze"] == f"backbone={LITE}, augmentation=light"
    assert rows["augmentation"] == "backbone=small_cnn"
    advised = recommendations(read, found, answered).set_index("factor")
    assert advised["decision"]["unfreeze"] == "absent"
    assert pd.isna(advised["recommended"]["unfreeze"])
    section = recommendations_section(read, found, answered)
    assert section is not None
    said = (
        f"unfreeze: this factor does not exist in the winner; where it exists (backbone {LITE}, augmentation light), "
    )
    assert any(sentence.startswith(said) for sentence in section.below)


LEVELS = {"f": "y"}
EDGE = {"levels": LEVELS, "nuisance": "learning_rate", "end": "high", "value": 0.09}
TAKEN = [
    {"kind": "base", "levels": LEVELS, "trial": "search-0003"},
    {"kind": "widen", **EDGE, "before": 0.1, "after": 0.5},
    {"kind": "move", "levels": {"f": "x"}, "gain": 0.023},
    {"kind": "flat", **EDGE},
    {"kind": "behind", **EDGE, "end": "low"},
    {"kind": "at end", **EDGE, "levels": {"f": "x"}},
    {"kind": "flat", **EDGE, "levels": {"f": "x"}},
    {"kind": "combine", "levels": LEVELS},
    {"kind": "seeds", "seeds": 8, "arms": ["a"]},
    {"kind": "recommend", "levels": LEVELS, "arm": "a"},
]
PLAN = Plan({"f": ["x", "y"]}, {"f": "y"}, items=30, seeds=3, trials=4, epochs=2)


def test_each_kind_of_decision_in_words(tmp_path: Path) -> None:
    read = results.read(with_study(fabricate(tmp_path, PLAN), decisions=TAKEN))
    section = decisions_section(read)
    assert section is not None
    assert section.points == [
        "Comparisons began around the setting of search-0003, the search's best: f y.",
        "The range of learning_rate was widened: its high end moved from 0.1 to 0.5, because f y did best at 0.09. All "
        "settings with this nuisance got the same new points.",
        "The base moved to f x, whose best trial was 2.3 points more accurate on validation.",
        "2 settings did best near the high end of learning_rate (f y; f x). The range stayed; the response is flat "
        "there: it gains at most 1 point, or no more than chance.",
        "1 setting did best near the low end of learning_rate (f y). The range stayed; going on may gain something, "
        "but another level is too far ahead for that to change who leads.",
        "1 setting did best near the high end of learning_rate (f x). The range could not be widened again, so its "
        "comparisons are refused.",
        "The cheapest levels that did as well on validation as the best setting were combined: f y.",
        "Settings whose comparison more seeds could settle were confirmed with 8 seeds.",
        "Recommended: f y. The combination was not worse than the best setting by more than 1 point.",
    ]
    made = page(read, settings(read), answers(read))
    (compared,) = [section for section in made.sections if section.title == "Comparison: f"]
    flat = "y did best with learning_rate 0.09, near the high end of its range; the response is flat there: "
    assert any(paragraph.startswith(flat) for paragraph in compared.paragraphs)
    assert "Decisions" in [section.title for section in made.sections]


def test_a_study_without_decisions_has_no_such_section(tmp_path: Path) -> None:
    read = results.read(fabricate(tmp_path, PLAN))
    assert decisions_section(read) is None
    assert "Decisions" not in [section.title for section in page(read, settings(read), answers(read)).sections]


JUNK = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.sampled_from(["high", "low", "learning_rate", "f", ""]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["f", "kind", "x"]), inner, max_size=2),
    max_leaves=4,
)


@pytest.fixture(scope="module")
def fabricated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fabricate(tmp_path_factory.mktemp("decided") / "study", PLAN)


@example({"kind": "seeds", "seeds": 8, "arms": ["a"]}, "levels", True)
@given(st.sampled_from(TAKEN), st.sampled_from(sorted({key for step in TAKEN for key in step})), JUNK)
@settings_of(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_another_program_writes_there_is_read_or_left_out(
    fabricated: Path, step: dict[str, Any], key: str, junk: Any
) -> None:
    for written in ([step | {key: junk}], [junk], junk):
        read = results.read(with_study(fabricated, decisions=written))
        decisions_section(read)
        answers(read)
        assert winner(settings(read)) is not None
