"""The answers in words: in summary.txt, at the end of a study, and from `python -m analysis.report`."""

from pathlib import Path

import pandas as pd
import pytest

from analysis import report
from analysis.confirmed.answers import Answer
from analysis.confirmed.settings import settings
from analysis.findings.summary import summary
from analysis.layout.page import Page
from study import results, writing
from tests.fabricated import Plan, fabricate

NOWHERE = Page(title="", dataset="", question="", parts=[])
WORSE = {("f", "x"): 0.6, ("f", "z"): 0.6}
PLAN = Plan({"f": ["x", "y", "z"]}, {"f": "y"}, WORSE, items=30, trials=6, epochs=3)


@pytest.fixture(scope="module")
def fabricated(tmp_path_factory: pytest.TempPathFactory) -> results.Results:
    return results.read(fabricate(tmp_path_factory.mktemp("fabricated"), PLAN))


def pair(a: str, b: str, verdict: str, difference: float = 0.0, needed: float = float("nan")) -> Answer:
    return Answer(
        factor="f",
        level_a=a,
        level_b=b,
        difference=difference,
        low=difference - 0.02,
        high=difference + 0.02,
        probability_a_better=0.6,
        seeds=5,
        items=30,
        verdict=verdict,
        p_holm=0.5,
        seeds_needed=needed,
        items_needed=float("nan"),
        companions="",
    )


def said(read: results.Results, *pairs: Answer) -> list[str]:
    return summary(read, settings(read), pd.DataFrame(pairs), NOWHERE)


def test_first_comes_the_best_setting_with_its_accuracy(fabricated: results.Results) -> None:
    first, *rest = said(fabricated, pair("x", "y", "b", -0.1), pair("x", "z", "equivalent"), pair("y", "z", "a", 0.2))
    assert first.startswith("Recommended setting: f y. Test accuracy ")
    assert first.endswith(", 30 images). This exact combination was trained with 5 seeds.")
    assert rest == [
        "f: use y, which beats x by 10.0 points (95% CI 8.0 to 12.0), beats z by 20.0 points (95% CI 18.0 to 22.0)."
    ]


def test_equivalent_levels_are_called_so(fabricated: results.Results) -> None:
    pairs = [pair("x", "y", "b", -0.1), pair("x", "z", "equivalent"), pair("y", "z", "equivalent", 0.001)]
    _, line = said(fabricated, *pairs)
    assert line.startswith("f: use y, which beats x by 10.0 points (95% CI 8.0 to 12.0), is equivalent to z within 1 ")


def test_what_is_open_says_what_would_decide_it(fabricated: results.Results) -> None:
    pairs = [pair("x", "y", "b", -0.1), pair("x", "z", "equivalent"), pair("y", "z", "no evidence", 0.01, 12)]
    _, line = said(fabricated, *pairs)
    assert line == (
        "f: y (not decided), which beats x by 10.0 points (95% CI 8.0 to 12.0). "
        "No evidence that y and z differ (y minus z: 1.0 points, 95% CI −1.0 to 3.0). "
        "If the difference is real, about 12 seeds would show it."
    )


def test_of_many_open_levels_the_closest_is_explained(fabricated: results.Results) -> None:
    pairs = [
        pair("x", "y", "no evidence", -0.01, 12),
        pair("x", "z", "equivalent"),
        pair("y", "z", "no evidence", 0.005),
    ]
    _, line = said(fabricated, *pairs)
    assert "No evidence that y and z differ " in line
    assert line.endswith("Also open: x.")


def test_what_was_not_compared_says_why_once(fabricated: results.Results) -> None:
    pairs = [pair(a, b, "refused: fewer than 3 seeds (2)") for a, b in (("x", "y"), ("x", "z"), ("y", "z"))]
    assert said(fabricated, *pairs)[1:] == ["f: not compared: fewer than 3 seeds (2)."]


def test_the_report_writes_the_words_and_prints_them_before_its_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fabricate(tmp_path, Plan(accuracy={("backbone", "small"): 0.7}, trials=6, epochs=3))
    assert report.main([str(tmp_path)]) == 0
    words = (tmp_path / results.SUMMARY_FILE).read_text()
    assert capsys.readouterr().out == f"{words}\n{tmp_path / results.REPORT_HTML}\n"
    lines = words.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "Recommended setting",
        "backbone",
        "regularizer",
        "augmentation",
    ]
    assert lines[1].startswith("backbone: use large, which beats small by ")


def test_before_the_confirmation_nothing_is_claimed(tmp_path: Path) -> None:
    fabricate(tmp_path, PLAN)
    trials = pd.read_parquet(tmp_path / results.TRIALS_FILE)
    writing.write_table(trials[trials["phase"] == "search"], tmp_path / results.TRIALS_FILE)
    report.build(tmp_path)
    assert (tmp_path / results.SUMMARY_FILE).read_text() == "Nothing is confirmed yet.\n"


def test_published_configurations_are_compared_with_their_numbers(tmp_path: Path) -> None:
    listed = {"name": "ResNet-18", "metric": "accuracy", "fold": "test", "value": 0.6478}
    plan = Plan({"f": ["x", "y"]}, {"f": "y"}, items=60, trials=4, published={"ResNet-18": (0.8, 3)})
    fabricate(tmp_path, plan)
    study = {**results.read(tmp_path).study, "factors": {}, "published": [listed]}
    writing.write_json(study, tmp_path / results.STUDY_FILE)
    trials = pd.read_parquet(tmp_path / results.TRIALS_FILE)
    writing.write_table(trials[trials["phase"] == "published"], tmp_path / results.TRIALS_FILE)
    report.build(tmp_path)
    (line,) = (tmp_path / results.SUMMARY_FILE).read_text().splitlines()
    assert line.startswith("ResNet-18: accuracy 8")
    assert line.endswith(" measured, 64.8% published")


def test_names_are_text_and_no_commands(tmp_path: Path) -> None:
    level = "x\x1b[2J\ny"
    fabricate(tmp_path, Plan({"f": [level, "z"]}, {"f": "z"}, {("f", level): 0.5}, items=60, trials=4, epochs=3))
    report.build(tmp_path)
    lines = (tmp_path / results.SUMMARY_FILE).read_text().splitlines()
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)


def test_a_terminal_gets_lines_that_break_between_words(monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"f: {'word ' * 20}\n\ng: {'x' * 30}\n"
    assert writing.wrapped(text) == text
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "20")
    lines = writing.wrapped(text).split("\n")
    assert lines[:2] == ["f: word word word", "    word word word"]
    assert lines[-4:] == ["", "g:", f"    {'x' * 30}", ""]
