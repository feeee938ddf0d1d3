import csv
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from analysis import report, tables
from analysis.curves import band, curves
from analysis.settings import name, settings
from analysis.text import duration, number, percent, plain, points, slug
from study import results
from tests.fabricated import Plan, fabricate

HOSTILE = (
    "</script><script>alert(1)</script>",
    "=cmd()|' /C calc'!A0",
    "a|b `c` *d* [e](javascript:alert(1))",
    "line\nbreak\x07\u202ereversed",
    '" onmouseover="alert(1)',
    "$x_1$ {{ 7*7 }}",
)


class Tags(HTMLParser):
    """Every tag and attribute of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs


def rewrite(out, stem, edit):
    path = out / f"{stem}.parquet"
    results.write_table(edit(pd.read_parquet(path)), path)


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
    drawn = {path.stem for path in (out / results.FIGURES_FOLDER).glob("*.svg")}
    assert {"levels-backbone", "search", "cost", "confusion", "learning-00-the-winner"} <= drawn


def test_it_says_the_winner_the_baselines_and_the_answers(text):
    assert "The best setting found is backbone large, regularizer l2, augmentation light." in text
    assert "Guessing would reach 25.0\u00a0%, always naming the most frequent class 25.0\u00a0%." in text
    assert "large beats small by " in text
    assert "No evidence that none and dropout differ" in text
    assert "The test pictures were looked at once, at the end." in text
    assert "after 9 of 9 epochs" in text


def test_sections_come_in_the_promised_order(text):
    assert re.findall("<h2>(.*?)</h2>", text) == [
        "The winner",
        "backbone",
        "regularizer",
        "augmentation",
        "How well it generalizes",
        "What the winner confuses",
        "Trials and cost",
        "How this was done",
    ]


def test_it_asks_for_nothing_from_the_network(text):
    page = Tags(text)
    assert not page.tags & {"script", "link", "iframe", "object", "base", "form"}
    fetching = [value for key, value in page.attributes if key in {"src", "href", "xlink:href", "srcset"}]
    assert fetching
    assert all(value.startswith(("data:", "#")) for value in fetching)
    assert "@import" not in text
    assert not re.findall(r"url\((?!#)", text)
    assert "default-src 'none'" in text


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


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """Class names, levels, a factor, an error and an unknown key that mean harm."""
    folder = tmp_path_factory.mktemp("hostile") / "study"
    factor = "<b>f</b>"
    plan = Plan(
        factors={factor: list(HOSTILE[:3]), "other": ["=1+1", "x"]},
        winner={factor: HOSTILE[0], "other": "x"},
        classes=HOSTILE,
        items=60,
        extra={
            "question": HOSTILE[0],
            "<i>odd</i>": [HOSTILE[1], {"deep": HOSTILE[0]}],
            "deviations": [HOSTILE[4]],
        },
    )
    fabricate(folder, plan)
    rewrite(folder, "trials", lambda t: t.assign(error=t["error"].mask(t["status"] == "failed", HOSTILE[0])))
    examples = folder / results.EXAMPLES_FOLDER
    examples.mkdir()
    Image.new("RGB", (4, 4)).save(examples / "one.png")
    (folder / "outside.png").write_bytes(b"not to be embedded")
    rows = [
        ("one.png", HOSTILE[0], HOSTILE[4], 0.5),
        ("../outside.png", "a", "a", 1),
        ("gone.png", "a", "a", 1),
    ]
    frame = pd.DataFrame(rows, columns=list(results.EXAMPLES_COLUMNS))
    frame.to_csv(examples / results.EXAMPLES_FILE, index=False)
    assert report.main([str(folder)]) == 0
    return folder


def test_hostile_names_stay_text_in_html(hostile):
    text = (hostile / results.REPORT_HTML).read_text()
    page = Tags(text)
    assert not page.tags & {"script", "b", "i"}
    assert not [key for key, _ in page.attributes if key.startswith("on")]
    assert "&lt;/script&gt;&lt;script&gt;alert(1)" in text
    assert "{{ 7*7 }}" in text
    assert not re.findall("[\x00-\x08\x0b-\x1f\u202e]", text)


def test_hostile_names_stay_text_in_markdown(hostile):
    text = (hostile / results.REPORT_MARKDOWN).read_text()
    assert "<script" not in text
    assert "](javascript" not in text
    tables_in_it = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    assert tables_in_it
    for table in tables_in_it:  # a name with a bar must not open a column
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_hostile_names_run_in_no_spreadsheet(hostile):
    files = [hostile / results.ANSWERS_FILE, *(hostile / results.TABLES_FOLDER).glob("*.csv")]
    cells = [cell for file in files for row in csv.reader(file.open(newline="")) for cell in row]
    assert "'=1+1" in cells
    for cell in cells:
        assert not cell.startswith(("=", "+", "@"))
        assert not cell.startswith("-") or float(cell) < 0


def test_only_pictures_of_the_examples_folder_are_embedded(hostile):
    text = (hostile / results.REPORT_HTML).read_text()
    assert text.count('src="data:image/png;base64,') == 1


def test_two_factors_of_one_slug_keep_their_files(tmp_path):
    plan = Plan(
        factors={"a b": ["x", "y"], "a-b": ["x", "y"]}, winner={"a b": "x", "a-b": "x"}, items=20, trials=4
    )
    report.build(fabricate(tmp_path, plan))
    assert (tmp_path / "tables" / "compare-a-b.csv").exists()
    assert (tmp_path / "tables" / "compare-a-b-1.csv").exists()


@pytest.mark.parametrize("classes", [2, 26, 120])
def test_confusion_at_any_number_of_classes(tmp_path, classes):
    plan = Plan(classes=tuple(f"class {k}" for k in range(classes)), items=4 * classes, trials=4, seeds=3)
    read = results.read(fabricate(tmp_path, plan))
    best = settings(read)[0]
    matrix = tables.confusion(read, best)
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
    rewrite(
        out, "trials", lambda t: t.assign(status="failed", error="boom", val_accuracy=np.nan, epochs_run=0)
    )
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
        (running, "Nothing is confirmed yet"),
        (all_failed, "All 59 trials failed"),
        (one_trial, "Nothing is confirmed yet"),
        (no_trial, "No trial has ended yet"),
        (untested, "The test pictures have not been looked at yet"),
    ],
)
def test_an_unfinished_study_says_what_is_missing(tmp_path, edit, said):
    edit(fabricate(tmp_path))
    assert report.main([str(tmp_path)]) == 0
    assert said in (tmp_path / results.REPORT_HTML).read_text()
    answered = pd.read_csv(tmp_path / results.ANSWERS_FILE)
    assert answered["verdict"].str.startswith("refused: ").all()
    assert len(answered) == 5


def test_several_studies_and_a_bad_one(tmp_path, capsys):
    plan = Plan(items=20, trials=4, seeds=3)
    one, two = fabricate(tmp_path / "one", plan), fabricate(tmp_path / "two", plan)
    assert report.main([str(one), str(two)]) == 0
    assert (two / results.REPORT_HTML).exists()
    assert report.main([str(tmp_path / "three")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_comparison_by_hand(tmp_path):
    """Two levels, four search trials; one of the worse level was stopped after epoch 1."""
    plan = Plan(factors={"f": ["x", "y"]}, winner={"f": "y"}, trials=4, epochs=2, seeds=3, items=40)
    fabricate(tmp_path, plan)
    seen = {"search-000": [0.1, 0.5], "search-001": [0.2, 0.6], "search-002": [0.3], "search-003": [0.9, 0.8]}
    rows = [(trial, k + 1, value) for trial, values in seen.items() for k, value in enumerate(values)]
    epochs = pd.DataFrame(rows, columns=["trial", "epoch", "val_accuracy"]).reindex(
        columns=list(results.EPOCHS_COLUMNS)
    )
    results.write_table(epochs, tmp_path / results.EPOCHS_FILE)
    ran = {trial: len(values) for trial, values in seen.items()}
    rewrite(tmp_path, "trials", lambda t: t.assign(epochs_run=t["trial"].map(ran).fillna(2)))
    read = results.read(tmp_path)
    assert tables.common_rung(read, "f") == 2
    table = tables.comparison(read, settings(read), "f").set_index("level")
    assert table["trials"].tolist() == [2, 2]
    assert table["search_best"].tolist() == [0.5, 0.9]
    assert table["search_median"].tolist() == pytest.approx([0.4, 0.75])
    assert table["epochs"].tolist() == [3, 4]
    assert table["winner"].sum() == 1


def test_curves_carry_the_winner_first_and_bands_hold_the_mean(out):
    read = results.read(out)
    found = settings(read)
    drawn = curves(read, found)
    assert drawn[0].title == "the winner"
    assert sorted(curve.title for curve in drawn[1:]) == [
        "augmentation = none",
        "backbone = small",
        "regularizer = dropout",
        "regularizer = none",
    ]
    by_epoch = band(read, drawn[0])["val_accuracy"]
    assert (by_epoch["min"] <= by_epoch["mean"]).all()
    assert (by_epoch["mean"] <= by_epoch["max"]).all()
    assert len(by_epoch) == 9


def test_generalization_gap_is_train_minus_validation_at_the_best_epoch(out):
    read = results.read(out)
    found = settings(read)
    table = tables.generalization(read, found).set_index("setting")
    row = table.loc["backbone = small"]
    setting = next(one for one in found if name(one, found) == "backbone = small")
    at_best = read.epochs[read.epochs["trial"].isin(setting.trials["trial"]) & (read.epochs["epoch"] == 8)]
    assert row["gap"] == pytest.approx((at_best["train_accuracy"] - at_best["val_accuracy"]).mean())


def test_baselines_come_from_the_training_pool(tmp_path):
    fabricate(tmp_path, Plan(classes=("ant", "bee"), items=10, trials=4, seeds=3))
    skew = {"pool": 1, "val": 0}  # always bee in the pool, seven ants of ten on test
    test = {k: int(k >= 7) for k in range(10)}
    rewrite(
        tmp_path,
        "manifest",
        lambda t: t.assign(
            label=[test[i] if f == "test" else skew.get(f, 0) for i, f in zip(t["item"], t["fold"])]
        ),
    )
    read = results.read(tmp_path)
    assert tables.baselines(read) == (0.5, pytest.approx(0.3))


def test_dropped_files_and_duplicates_are_counted(out):
    dropped = pd.read_csv(out / "tables" / "dropped.csv")
    assert dropped.to_numpy().tolist() == [["truncated file", 2], ["not a picture", 1]]
    duplicates = pd.read_csv(out / "tables" / "duplicates.csv")
    assert duplicates["files"].tolist() == [2]


def test_how_numbers_and_names_are_said():
    assert [number(x) for x in (3, 1234567.0, 0.12345, np.nan)] == ["3", "1\u202f234\u202f567", "0.123", "–"]
    assert [percent(x) for x in (0.9126, np.nan)] == ["91.3\u00a0%", "–"]
    assert [points(x) for x in (0.012, -0.012)] == ["1.2", "−1.2"]
    assert [duration(x) for x in (4.0, 600, 7200, None)] == ["4 s", "10 min", "2.0 h", "–"]
    assert plain("a\nb\x07\u202e\ud800c") == "a b c"
    assert slug("A  b/../c") == "a-b-c"
