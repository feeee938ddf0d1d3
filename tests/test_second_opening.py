"""After a second opening of the test fold: both recommendations at the top, and no section that denies the second."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.confirmed.answers import answers
from analysis.confirmed.settings import settings, winner
from analysis.contents import page
from study import results, writing
from study.estimates.resources import Resources
from study.products.outputs import write_tables
from study.products.stale import drop_stale
from study.schedule.state import StudyState
from study.setup.study_json import StudyJson, budget_record, definition, save
from tests.courses import BASE, BONUS, begin, drive, small_study
from tests.fabricated import Plan, fabricate, recommend, rewrite, with_study

PLAN = Plan({"f": ["x", "y"]}, {"f": "y"}, items=30, seeds=6, trials=4, extra={"test_openings": 2})


def opened_twice(out: Path, plan: Plan = PLAN) -> Path:
    """Seeds 1 to 3 were there at the first opening, where x was ahead on validation; with 4 to 6 it is y."""
    fabricate(out, plan)

    def edit(trials: pd.DataFrame) -> pd.DataFrame:
        confirmed, late = trials["phase"] == "confirm", trials["seed"] > 3
        trials = trials.assign(opening=np.where(confirmed & late, 2.0, 1.0), stood_for=trials["stands_for"])
        early_x, late_x = confirmed & (trials["f"] == "x") & ~late, confirmed & (trials["f"] == "x") & late
        trials["val_accuracy"] = trials["val_accuracy"].mask(early_x, 0.99).mask(late_x, 0.1)
        return trials

    rewrite(out, "trials", edit)
    return out


def text_of(out: Path) -> tuple[list[str], str]:
    """What stands before every section, and everything that the sections say."""
    read = results.read(out, logits=True)
    made = page(read, settings(read), answers(read))
    said = [one for section in made.sections for one in (*section.paragraphs, *section.points, *section.below)]
    return made.notes, "\n".join(said)


def test_a_recommendation_that_flips_is_said_at_the_top_with_both(tmp_path: Path) -> None:
    notes, said = text_of(opened_twice(tmp_path))
    assert notes[0].startswith("The test fold was opened 2 times: ")
    assert "The recommendation changed after the first opening" in notes[0]
    assert "First opening: f x (not decided; chosen on validation)." in notes[0]
    assert "Now: f y (" in notes[0]
    for untrue in ("data only", "Nothing was selected on the", "opened once", "once, at the end"):
        assert untrue not in said


def test_a_recommendation_that_stays_is_said_to_stay(tmp_path: Path) -> None:
    opened_twice(tmp_path)
    rewrite(tmp_path, "trials", lambda trials: trials.assign(val_accuracy=trials["f"].map({"x": 0.5, "y": 0.9})))
    rewrite(tmp_path, "predictions", lambda rows: rows.assign(predicted=rows["label"]))
    notes, _ = text_of(tmp_path)
    # Three seeds are too few for a claim, six are not.
    assert "The recommended levels are the same as at the first opening, but their evidence has changed. " in notes[0]
    assert "First opening: f y (not decided; chosen on validation). Now: f y (equally good)." in notes[0]
    rewrite(tmp_path, "trials", lambda t: t.assign(opening=t["opening"].mask(t["seed"].isin([4, 5]), 1.0)))
    notes, _ = text_of(tmp_path)
    assert "The first opening led to the same recommendation: f y (equally good)." in notes[0]


@pytest.mark.parametrize(
    ("opening", "then"),
    [
        ({"models": {}, "recommended": recommend({"f": "y"})}, "y"),
        ({"models": {}, "recommended": recommend({"f": "x"})}, "x"),
        ({"models": {}}, "x"),  # of an earlier version: x was best on validation
        ([], "x"),
    ],
)
def test_the_first_recommendation_is_the_one_that_the_opening_recorded(tmp_path: Path, opening: Any, then: str) -> None:
    opened_twice(tmp_path)
    with_study(tmp_path, decisions=[recommend({"f": "y"})])
    (tmp_path / results.FIRST_OPENING).parent.mkdir(parents=True)
    writing.write_json(opening, tmp_path / results.FIRST_OPENING)
    notes, _ = text_of(tmp_path)
    same = "The first opening led to the same recommendation: f y (" in notes[0]
    changed = "First opening: f x (not decided; chosen on validation). Now: f y (" in notes[0]
    assert (same, changed) == (then == "y", then == "x")


def test_a_study_that_does_not_tell_is_said_to_be_opened_twice_and_no_more(tmp_path: Path) -> None:
    notes, _ = text_of(fabricate(tmp_path, PLAN))
    assert notes == [
        "The test fold was opened 2 times: decisions after the first opening knew its results. What the first opening "
        "recommended is not recorded; the report shows what the latest one recommends."
    ]


def test_after_one_opening_nothing_is_said_at_the_top(tmp_path: Path) -> None:
    notes, said = text_of(opened_twice(tmp_path, replace(PLAN, extra={"test_openings": 1})))
    assert notes == []
    assert "It was selected on validation data only." in said


def tables_of(course: StudyState) -> pd.DataFrame:
    write_tables(course)
    return pd.read_parquet(course.out / results.TRIALS_FILE).set_index("trial")


def test_the_tables_tell_since_which_opening_each_trial_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("study.products.outputs.count_training_images", lambda *_: 30)  # no manifest was written
    course = begin(tmp_path, small_study())
    assert tables_of(course)["opening"].isna().all()
    drive(course, BONUS)
    assert course.winner is not None
    recorded = json.loads((tmp_path / results.FIRST_OPENING).read_text())["recommended"]
    assert (recorded["kind"], recorded["arm"]) == ("recommend", course.winner.planned.arm)
    assert set(tables_of(course)["opening"]) == {1.0}
    more = begin(tmp_path, small_study(budget={"seeds": 3}))
    drive(more, BONUS)
    trials = tables_of(more)
    confirmed = trials[trials["phase"] == "confirm"]
    assert confirmed["opening"].tolist() == confirmed["seed"].map({1: 1.0, 2: 1.0, 3: 2.0}).tolist()
    assert (confirmed["stood_for"].dropna() == confirmed["stands_for"][confirmed["opening"] == 1]).all()
    assert confirmed["stood_for"][confirmed["opening"] == 2].isna().all()


def test_what_was_confirmed_around_an_earlier_winner_is_no_candidate_any_more(tmp_path: Path) -> None:
    """Its trials stay in the tables with an empty list of levels, and may be the best on validation."""
    fabricate(tmp_path, PLAN)

    def edit(trials: pd.DataFrame) -> pd.DataFrame:
        left = (trials["phase"] == "confirm") & (trials["f"] == "x")
        return trials.assign(
            stands_for=trials["stands_for"].mask(left, "[]"), val_accuracy=trials["val_accuracy"].mask(left, 0.99)
        )

    rewrite(tmp_path, "trials", edit)
    found = settings(results.read(tmp_path))
    assert [one.levels for one in found] == [{"f": "y"}]
    best = winner(found)
    assert best is not None
    rewrite(tmp_path, "trials", lambda t: t.assign(stands_for=t["stands_for"].mask(t["phase"] == "confirm", "[]")))
    assert len(settings(results.read(tmp_path))) == 2, "a study for the best setting alone names no levels"


def test_stale_exports_go_with_a_line_and_the_command(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for name in ("best/model.onnx", "tables/knn.csv", "tables/other.csv", "explained/a.png", "examples/7.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    drop_stale(tmp_path, "confirm-old-1", "confirm-new-2", searches=False)
    said = capsys.readouterr().err.splitlines()
    left = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert left == ["explained-confirm-old-1/a.png", "tables/other.csv"]
    assert [line.startswith("The winner is now confirm-new-2. ") for line in said] == [True] * 3
    assert (
        f"best/model.onnx, made from an earlier winner. Make it again: python -m study.export_onnx {tmp_path}"
        in said[0]
    )
    assert (
        f"tables/knn.csv, made from an earlier winner. Make it again: python -m study.retrieval {tmp_path}" in said[1]
    )
    assert "is now explained-confirm-old-1/. Make it again: python -m study.predict" in said[2]
    drop_stale(tmp_path, "confirm-old-1", "confirm-new-2", searches=False)
    assert capsys.readouterr().err == "", "nothing is left to say"


def study_record(openings: int) -> StudyJson:
    study = small_study()
    return StudyJson(
        name="small",
        definition=definition(study),
        budget=budget_record(study.budget),
        metric="val_accuracy",
        pretraining_overlap="",
        seed=0,
        command="python -m study.run small.py",
        versions={},
        revision="0000000",
        hardware={"cpus": 2, "cpu": "", "gpus": [], "system": ""},
        resources=Resources(cpus=1, gpus=0, concurrent=1),
        manifest="m",
        plan_hash="",
        resolution={"difference": 0.03, "seeds": 2, "items": 6, "disagreement": 0.1, "seed_spread": 0.005},
        test_openings=openings,
        preflight="skipped",
        hours=None,
        base=BASE,
        place={"data": "images", "test": None, "weights": None},
    )


@pytest.mark.parametrize("known", [0, 1])
def test_every_later_opening_is_a_deviation_also_where_a_kill_kept_the_first_from_being_counted(
    known: int, tmp_path: Path
) -> None:
    record = study_record(known)
    save(tmp_path, record, 1.0, 1.0, 2, [])
    written = json.loads((tmp_path / results.STUDY_FILE).read_text())
    assert written["test_openings"] == 2
    assert written["deviations"] == ["the test fold was opened again (opening 2), after it had been seen"]
