"""What the report says of the path to the winner, of doubt, and of labels to look at again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from analysis import report
from analysis.confirmed.settings import Setting, settings, winner
from analysis.findings import ablation, label_errors, uncertainty
from analysis.findings.label_errors import suspects
from analysis.layout.page import Section
from analysis.layout.thumbnails import suspect_thumbnail
from study import results, writing
from tests.fabricated import Plan, fabricate, with_study
from tests.test_mislabelled import swapped

TWO, WINNER = {"a": ["old", "new"], "b": [1, 2]}, {"a": "new", "b": 2}
PLAN = Plan(TWO, WINNER, {("a", "old"): 0.7, ("b", 1): 0.8}, items=80, trials=4, seeds=3)


def read(out: Path) -> tuple[results.Results, list[Setting]]:
    study = results.read(out)
    return study, settings(study)


def shown(section: Section | None) -> Section:
    assert section is not None
    return section


def path_section(out: Path) -> Section:
    return shown(ablation.path_section(*read(out)))


def doubt_section(out: Path) -> Section:
    return shown(uncertainty.doubt_section(*read(out)))


def suspects_section(out: Path) -> Section:
    return shown(label_errors.suspects_section(*read(out)))


def text_of(section: Section) -> str:
    return " ".join([*section.paragraphs, *(table.caption for table in section.tables)])


def test_ablations_are_said_to_be_no_steps_and_the_whole_way_not_measured(tmp_path: Path) -> None:
    section = path_section(fabricate(tmp_path, PLAN))
    assert "Starting point: the first listed level of every factor (a old, b 1)." in section.paragraphs[0]
    assert "Effects are not cumulative" in section.paragraphs[1]
    assert "all choices at once were not measured" in section.paragraphs[1]
    (table,), (picture,) = section.tables, section.figures
    assert [row[0] for row in table.rows] == ["a: new instead of old", "b: 2 instead of 1", "sum of the rows above",
                                              "all at once"]  # fmt: skip
    assert "a new " in picture.alt
    assert ">points gained on test</text>" in picture.svg


def test_one_choice_and_none(tmp_path: Path) -> None:
    one = path_section(with_study(fabricate(tmp_path, PLAN), factors={"a": ["old", "new"], "b": [2, 1]}))
    assert one.paragraphs[0].endswith("The winner differs in one factor.")
    assert len(one.tables[0].rows) == 1
    none = path_section(with_study(tmp_path, factors={"a": ["new", "old"], "b": [2, 1]}))
    assert none.paragraphs[1] == "The winner is the starting point, so there is nothing to ablate."
    assert none.tables == none.figures == []


def test_no_path_where_the_search_looked_for_the_best_alone(tmp_path: Path) -> None:
    assert ablation.path_section(*read(with_study(fabricate(tmp_path, PLAN), goal="best"))) is None


def test_few_test_images_cannot_resolve_small_differences(tmp_path: Path) -> None:
    section = doubt_section(fabricate(tmp_path / "few", PLAN))
    assert "smaller differences cannot be detected" in text_of(section)
    assert "3 seeds and 80 test images detect a difference of" in text_of(section)
    many = doubt_section(fabricate(tmp_path / "many", replace(PLAN, items=1000)))
    assert "smaller differences cannot be detected" not in text_of(many)
    assert [table.stem for table in many.tables] == ["variance", "precision"]


def test_advice_that_its_own_number_does_not_bear_out_is_not_given(tmp_path: Path) -> None:
    """Three seeds far apart: with 500 more images the interval is as wide as it is, and that is said."""
    section = doubt_section(fabricate(tmp_path, replace(PLAN, spread=0.2, items=400)))
    more = section.tables[1].frame.set_index("what")
    assert not more.loc["500 more test images", "narrower"]
    said = section.paragraphs[0]
    half = {what: f"{100 * width:.2f}" for what, width in more["half_width"].items()}
    assert said.endswith(
        f" The 95% CI is ±{half['as measured']} points: one more seed would narrow it to ±{half['one more seed']}, "
        f"twice as many seeds would narrow it to ±{half['twice the seeds']}; 500 more test images would not narrow it."
    )
    assert section.tables[1].rows[-1][-1] == f"{half['500 more test images']} (no narrower)"


def test_while_nothing_is_confirmed_the_planned_resolution_is_said(tmp_path: Path) -> None:
    fabricate(tmp_path, PLAN)
    (tmp_path / results.PREDICTIONS_FILE).unlink()
    assert uncertainty.doubt_section(*read(tmp_path)) is None
    with_study(tmp_path, resolution={"difference": 0.031, "seeds": 5, "items": 900})
    said = doubt_section(tmp_path).paragraphs
    assert said == [
        "Planned: 5 seeds and 900 test images to detect differences of about 3.1 points between two settings (80% "
        "power)."
    ]
    for odd in ({"difference": None, "seeds": 5, "items": 900}, ["a list"], "text"):
        assert uncertainty.doubt_section(*read(with_study(tmp_path, resolution=odd))) is None


def test_what_a_repeat_renews_is_said_as_it_was(tmp_path: Path) -> None:
    section = doubt_section(with_study(fabricate(tmp_path, PLAN), budget={"folds": 3}))
    said = section.paragraphs[1]
    assert "together, but not the validation images;" in said  # as fabricated
    assert "Every 3 seeds are the folds of one partition." in said
    file = tmp_path / results.PREDICTIONS_FILE
    rows = pd.read_parquet(file)
    best = winner(read(tmp_path)[1])
    assert best is not None
    one = best.trials["trial"].iloc[0]
    left_out = (rows["trial"] == one) & (rows["fold"] == "val") & (rows["item"] % 2 == 0)
    writing.write_table(rows[~left_out], file)
    said = doubt_section(with_study(tmp_path, budget={"folds": None})).paragraphs[1]
    assert "the train/validation partition together" in said
    assert "folds of one partition" not in said


def test_models_that_never_differ_leave_no_doubt_to_share(tmp_path: Path) -> None:
    fabricate(tmp_path, PLAN)
    file = tmp_path / results.PREDICTIONS_FILE
    writing.write_table(pd.read_parquet(file).assign(predicted=lambda rows: rows["label"]), file)
    section = doubt_section(tmp_path)
    assert section.paragraphs[0] == "The winner's test accuracy varies neither between seeds nor between images."


def test_suspects_come_with_the_thumbnails_there_are(tmp_path: Path) -> None:
    swapped(fabricate(tmp_path, replace(PLAN, base=0.995, spread=0.0)), [3, 50])
    study, found = read(tmp_path)
    assert suspects_section(tmp_path).galleries == []
    examples = tmp_path / results.EXAMPLES_FOLDER
    examples.mkdir()
    for item in (3, 50):
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(examples / f"suspect-{item}.jpg")
    (gallery,) = suspects_section(tmp_path).galleries
    frame = suspects(study, found).frame.set_index("item")
    assert sorted(one.predicted for one in gallery.thumbnails) == sorted(frame.loc[[3, 50], "suggested"])
    assert all(one.source.startswith("data:image/jpeg;base64,") for one in gallery.thumbnails)
    assert {one.label for one in gallery.thumbnails} == {f"labeled {frame.loc[i, 'label_name']}" for i in (3, 50)}
    report.build(tmp_path)
    written = pd.read_csv(tmp_path / results.TABLES_FOLDER / "suspects.csv")
    assert written["item"].tolist() == frame.index.tolist()
    assert "data:image/jpeg" in (tmp_path / results.REPORT_HTML).read_text()


@pytest.mark.parametrize("item", ["../outside", "a/../../outside"])
def test_no_file_outside_of_the_examples_is_shown(tmp_path: Path, item: str) -> None:
    (tmp_path / results.EXAMPLES_FOLDER).mkdir()
    (tmp_path / "outside.jpg").write_bytes(b"not to be embedded")
    assert suspect_thumbnail(tmp_path, item, "a", "b", 0.5) is None


def test_no_doubted_label_is_said(tmp_path: Path) -> None:
    fabricate(tmp_path, PLAN)
    file = tmp_path / results.PREDICTIONS_FILE
    writing.write_table(pd.read_parquet(file).assign(cross_entropy=0.0), file)
    section = suspects_section(tmp_path)
    assert "has a label that most of the winner's models contradict" in section.paragraphs[0]
    file.unlink()
    assert label_errors.suspects_section(*read(tmp_path)) is None
