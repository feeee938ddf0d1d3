"""Several studies laid beside each other."""

import pandas as pd
import pytest

from analysis import report
from analysis.layout import webpage
from analysis.sections.side_by_side import comparable, side_by_side, studied
from study import results, writing
from tests.fabricated import Plan, fabricate

WORSE = {("f", "x"): 0.6, ("g", "u"): 0.7, ("h", "1"): 0.5}
SMALL = {"items": 40, "seeds": 3, "trials": 4, "epochs": 2, "accuracy": WORSE}
PLAN = Plan({"f": ["x", "y"], "g": ["u", "v"]}, {"f": "y", "g": "v"}, **SMALL)
OTHER = Plan({"f": ["y", "x"], "h": ["1", "2"]}, {"f": "y", "h": "2"}, **SMALL)
ONE_FACTOR = Plan({"f": ["x", "y"]}, {"f": "y"}, **SMALL)


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    fabricate(runs / "a", PLAN)
    fabricate(runs / "b", OTHER)
    assert report.main([str(runs / "a"), str(runs / "b")]) == 0
    return runs


def test_it_is_written_beside_the_studies_and_each_report_is_built(compared):
    for name in ("a", "b", "a-and-b"):
        assert (compared / name / results.REPORT_HTML).is_file()
        assert (compared / name / results.REPORT_MARKDOWN).is_file()
    assert not (compared / "a-and-b" / results.ANSWERS_FILE).exists()


def test_one_row_a_study(compared):
    rows = pd.read_csv(compared / "a-and-b" / "tables" / "studies.csv").set_index("study")
    assert rows.index.tolist() == ["a", "b"]
    assert rows["winner"].tolist() == ["f y, g v", "f y, h 2"]
    assert rows["chance"].tolist() == [0.25, 0.25]
    assert rows["test_pictures"].tolist() == [40, 40]
    assert rows["seeds"].tolist() == [3, 3]
    won = pd.read_csv(compared / "a" / "tables" / "winner.csv").iloc[0]
    assert rows[["accuracy", "low", "high"]].iloc[0].tolist() == won[["accuracy", "low", "high"]].tolist()


def test_answers_of_a_shared_factor_stand_side_by_side(compared):
    text = (compared / "a-and-b" / results.REPORT_MARKDOWN).read_text()
    assert "## Comparison: f\n" in text
    assert "## Comparison: g\n" not in text
    assert "## Comparison: h\n" not in text
    (row,) = [line for line in text.splitlines() if line.startswith("| x minus y |")]  # b lists y before x
    answered = [pd.read_csv(compared / name / results.ANSWERS_FILE).iloc[0]["difference"] for name in "ab"]
    cells = [cell.strip() for cell in row.split("|")[2:4]]
    for cell, difference in zip(cells, (answered[0], -answered[1]), strict=True):
        assert cell.startswith(f"{100 * difference:.1f} (".replace("-", "−"))
    assert "| g | " in text.split("## Recommendations")[1]


@pytest.mark.parametrize(
    ("hashes", "items", "said"),
    [
        (("0a", "0a"), 40, "and the same test images, so their scores are comparable."),
        (("0a", "0b"), 40, "use different images, so their scores are not comparable."),
        (("0a", None), 40, "are not recorded for both, so their scores are not comparable."),
        (("0a", "0a"), 44, "but different test images, so their scores are not comparable."),
    ],
)
def test_scores_can_be_compared_on_the_same_images_only(tmp_path, hashes, items, said):
    studies = []
    for name, manifest, n in zip("ab", hashes, (40, items), strict=True):
        plan = Plan(**vars(ONE_FACTOR) | {"extra": {"manifest": manifest}, "items": n})
        studies.append(studied(results.read(fabricate(tmp_path / name, plan)), name))
    sentence = comparable(*studies)
    assert sentence.startswith("a and b")
    assert sentence.endswith(said)
    assert sentence in webpage.render(side_by_side(studies))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two studies, one that cannot be reported, and a folder that is none."""
    runs = tmp_path_factory.mktemp("folders")
    for name in ("a", "b", "broken"):
        fabricate(runs / name, ONE_FACTOR)
    (runs / "empty").mkdir()
    (runs / "broken" / "tables").mkdir()
    (runs / "broken" / "tables" / "knn.csv").write_text("backbone\nresnet50\n")
    return runs


def files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a", "nowhere"], "No folder"),
        (["a", "empty"], "holds no study.json"),
        (["a", "broken"], "knn.csv: no column"),
        (["a", "a"], "given twice"),
        (["a", "b", "--out", "b"], "holds a study"),
        (["a", "--out", "both"], "--out needs several studies"),
    ],
)
def test_what_cannot_be_compared_is_one_line_and_nothing_is_written(folders, capsys, monkeypatch, arguments, said):
    monkeypatch.chdir(folders)
    before = files(folders)
    assert report.main(arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert files(folders) == before


def test_folders_called_alike_are_told_apart(tmp_path):
    for parent in ("one", "two"):
        fabricate(tmp_path / parent / "run", PLAN)
    assert (
        report.main([str(tmp_path / "one" / "run"), str(tmp_path / "two" / "run"), "--out", str(tmp_path / "c")]) == 0
    )
    named = pd.read_csv(tmp_path / "c" / "tables" / "studies.csv")["study"].tolist()
    assert named == [str(tmp_path / parent / "run") for parent in ("one", "two")]


def test_a_study_without_a_winner_stands_beside_others(tmp_path):
    for name in ("a", "b"):
        fabricate(tmp_path / name, ONE_FACTOR)
    trials = pd.read_parquet(tmp_path / "b" / results.TRIALS_FILE)
    writing.write_table(trials[trials["phase"] == "search"], tmp_path / "b" / results.TRIALS_FILE)
    text = webpage.render(side_by_side([studied(results.read(tmp_path / name), name) for name in ("a", "b")]))
    assert text.index("b: This study is not finished.") < text.index("<section")
    assert "refused: no confirmed trial for x" in text
