import base64
import hashlib
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import report
from analysis.confirmed.settings import settings
from analysis.findings.confusion import confusion
from analysis.layout import webpage
from study import results, writing
from tests.fabricated import Plan, fabricate, rewrite
from tests.tags import Tags

ONE_FACTOR = {"factors": {"backbone": ["small", "large"]}, "winner": {"backbone": "large"}, "trials": 6}


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """One finished study with a planted winner, reported."""
    folder = tmp_path_factory.mktemp("report") / "study"
    fabricate(folder, Plan(accuracy={("backbone", "small"): 0.7}))
    assert report.main([str(folder)]) == 0
    return folder


@pytest.fixture
def text(out):
    return (out / results.REPORT_HTML).read_text()


def test_it_leaves_what_the_contract_names(out):
    for file in (results.ANSWERS_FILE, results.REPORT_HTML, results.REPORT_MARKDOWN):
        assert (out / file).stat().st_size > 0
    made = {path.stem for path in (out / results.TABLES_FOLDER).glob("*.csv")}
    assert {"winner", "compare-backbone", "generalization", "trials", "dropped", "duplicates"} <= made
    assert {"metrics", "confusions", "classes", "ensembles"} <= made
    drawn = {path.stem for path in (out / results.FIGURES_FOLDER).glob("*.svg")}
    assert {"levels-backbone", "search", "cost", "confusion", "learning-00-the-winner", "reliability"} <= drawn


def test_it_says_the_winner_the_baselines_and_the_answers(text):
    assert "Recommended setting: backbone large, regularizer l2, augmentation light." in text
    assert "Chance is 25.0%; always predicting the most frequent class reaches 25.0%." in text
    assert "large beats small by " in text
    assert "No evidence that none and dropout differ" in text
    assert "The test fold was opened once, at the end." in text
    assert "after 9 of 9 epochs" in text


def test_sections_come_in_the_promised_order(text):
    assert re.findall("<h2[^>]*>(.*?)</h2>", text) == [
        "Recommendation",
        "Comparison: backbone",
        "Comparison: regularizer",
        "Comparison: augmentation",
        "Ablation",
        "Uncertainty",
        "Learning curves",
        "The winner",
        "Confusion matrix",
        "Possible label errors",
        "Metrics and calibration",
        "Ensembles",
        "Caveats",
        "Search",
        "Negative control",
        "Method",
        "Cost",
    ]


def test_it_asks_for_nothing_from_the_network(text):
    page = Tags(text)
    assert not page.tags & {"link", "iframe", "object", "embed", "base", "form", "audio", "video", "source", "track"}
    naming = {"src", "href", "xlink:href", "srcset", "data", "poster", "action", "background", "ping", "manifest"}
    fetching = [value for key, value in page.attributes if key in naming]
    assert fetching
    assert all(value is not None and value.startswith(("data:", "#")) for value in fetching)
    assert "@import" not in text
    assert not re.findall(r"url\((?!#)", text)
    assert not re.findall(r"fetch\(|XMLHttpRequest|import\(|sendBeacon|WebSocket|EventSource", text)
    assert "default-src 'none'" in text


def test_one_script_is_allowed_and_it_is_the_reports_own(text):
    (script,) = re.findall("<script>(.*?)</script>", text, flags=re.DOTALL)
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{allowed}'" in text
    assert script == (Path(webpage.__file__).parent / "report.js").read_text()


def test_tables_and_landmarks_are_said_to_screen_readers(text):
    page = Tags(text)
    assert {"header", "nav", "main", "caption", "summary"} <= page.tags
    assert text.count("<table") == text.count("<caption id=") == text.count("</caption>")
    assert not re.findall(r"<th(?! (scope|class))[ >]", text.replace("<thead", ""))
    assert len(re.findall("<th ", text)) == len(re.findall('<th scope="(?:col|row)"', text))
    assert not re.findall(r"<img (?![^>]*alt=)", text)
    assert len(re.findall('<svg role="img" aria-label="[^"]+"', text)) == text.count("<svg ")
    assert '<a class="skip" href="#content">' in text
    described = {value for key, value in page.attributes if key == "aria-labelledby"}
    assert described <= {value for key, value in page.attributes if key == "id"}


def test_every_section_is_in_the_contents(text):
    listed = re.findall('<li><a href="#([^"]+)">(.*?)</a></li>', text)
    assert listed == re.findall('<h2 id="([^"]+)-title">(.*?)</h2>', text)


def test_marks_say_their_values_under_the_pointer(text):
    assert re.search("<title>small: \\d+\\.\\d% \\(", text)


def test_ids_are_unique(text):
    ids = [value for key, value in Tags(text).attributes if key == "id"]
    assert len(ids) == len(set(ids))
    targets = set(re.findall(r'(?:url\(|href=")#([^")]+)', text))
    assert targets <= set(ids)


def test_building_again_changes_nothing(out):
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    report.build(out)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_figures_are_dated_by_nothing_and_carry_text(out):
    svg = (out / "figures" / "levels-backbone.svg").read_text()
    assert "<dc:date>" not in svg
    assert ">small</text>" in svg


def test_two_factors_of_one_slug_keep_their_files(tmp_path):
    plan = Plan(factors={"a b": ["x", "y"], "a-b": ["x", "y"]}, winner={"a b": "x", "a-b": "x"}, items=20, trials=4)
    report.build(fabricate(tmp_path, plan))
    assert (tmp_path / "tables" / "compare-a-b.csv").exists()
    assert (tmp_path / "tables" / "compare-a-b-1.csv").exists()


@pytest.mark.parametrize("classes", [2, 26, 120])
def test_confusion_at_any_number_of_classes(tmp_path, classes):
    names = tuple(f"class {k}" for k in range(classes))
    plan = Plan(**ONE_FACTOR, classes=names, items=4 * classes, seeds=3)
    read = results.read(fabricate(tmp_path, plan))
    best = settings(read)[0]
    matrix = confusion(read, best)
    assert matrix.shape == (classes, classes)
    assert matrix.to_numpy().sum() == 3 * 4 * classes
    assert np.trace(matrix.to_numpy()) == best.correct.to_numpy().sum()
    report.build(tmp_path)
    svg = (tmp_path / "figures" / "confusion.svg").read_text()
    assert ("class 1</text>" in svg) == (classes <= 30)


def running(out):
    rewrite(out, "trials", lambda t: t[t["phase"] == "search"])
    (out / results.PREDICTIONS_FILE).unlink()


def all_failed(out):
    rewrite(out, "trials", lambda t: t.assign(status="failed", error="boom", val_accuracy=np.nan, epochs_run=0))
    for file in (results.EPOCHS_FILE, results.PREDICTIONS_FILE):
        (out / file).unlink()


def one_trial(out):
    rewrite(out, "trials", lambda t: t.head(1))
    rewrite(out, "epochs", lambda t: t[t["trial"] == "search-000"])
    (out / results.PREDICTIONS_FILE).unlink()


def no_trial(out):
    all_failed(out)
    rewrite(out, "trials", lambda t: t.head(0))


def untested(out):
    (out / results.PREDICTIONS_FILE).unlink()


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (running, "No setting is confirmed yet"),
        (all_failed, "All 20 trials failed"),
        (one_trial, "No setting is confirmed yet"),
        (no_trial, "No trial has ended yet"),
        (untested, "The test set has not been opened yet"),
    ],
)
def test_an_unfinished_study_says_what_is_missing(tmp_path, edit, said):
    edit(fabricate(tmp_path, Plan(**ONE_FACTOR)))
    assert report.main([str(tmp_path)]) == 0
    assert said in (tmp_path / results.REPORT_HTML).read_text()
    answered = pd.read_csv(tmp_path / results.ANSWERS_FILE)
    assert answered["verdict"].str.startswith("refused: ").all()
    assert len(answered) == 1


@pytest.mark.parametrize(
    ("augmentation", "views", "said"),
    [
        ("light", None, "With augmentation, each image has a new view in every epoch."),
        ("light", 4, "With augmentation, each image cycles through 4 views."),
        ("none", None, "With augmentation"),
    ],
)
def test_the_report_says_which_views_were_seen(tmp_path, augmentation, views, said):
    out = fabricate(tmp_path, Plan(trials=4, seeds=3, items=40))
    trials = pd.read_parquet(out / results.TRIALS_FILE).assign(augmentation=augmentation, views=views)
    writing.write_table(trials, out / results.TRIALS_FILE)
    report.build(out)
    text = (out / results.REPORT_MARKDOWN).read_text()
    assert (said in text) == (augmentation != "none")
    assert ("With augmentation" in text) == (augmentation != "none")
