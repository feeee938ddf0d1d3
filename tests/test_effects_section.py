import json

import numpy as np
import pandas as pd
import pytest

from analysis import report
from analysis.search.parallel import ABSENT, paths
from analysis.search.rung import outcomes
from analysis.sections.search import TITLE, search_section
from study import results, writing
from tests.fabricated import Plan, fabricate
from tests.searches import FACTORS, search


def crossed(levels):
    return 1.0 if (levels["f"] == "y") == (levels["g"] == "q") else 0.0


def said(section):
    return " ".join([*section.paragraphs, *section.points])


@pytest.fixture(scope="module")
def section():
    return search_section(search(crossed))


def test_it_says_where_it_was_read_and_that_it_is_exploratory(section):
    text = said(section)
    assert section.title == TITLE
    assert text.startswith("Exploratory: what 96 search trials say after 9 of 9 epochs")
    assert "trials had been stopped before" in text
    assert "16 audited trials could not be stopped. Their order after 1 epoch agreed with the one after 9" in text


def test_it_names_the_interaction_and_its_turn(section):
    assert "Of 3 pairs of factors looked at, 1 interacts for sure (Holm): f with g." in said(section)
    assert "Which of x and y (f) is better changes with g: x with p, y with q." in said(section)


def test_its_tables(section):
    shown = {one.stem: one for one in section.tables}
    assert set(shown) == {"effects", "interactions", "importance", "audit", "expected-best"}
    assert len(shown["effects"].rows) == 7
    assert shown["effects"].rows[0][:2] == ["f", "x"]
    assert "(95 % interval)" in shown["interactions"].header[3]
    assert list(shown["interactions"].frame.columns[:6]) == ["factor_a", "factor_b", "contrast", "low", "high", "rung"]
    assert {"f", "learning_rate"} <= set(shown["importance"].frame["hyperparameter"])
    assert "f, g, h: from the search after 9 of 9 epochs" in shown["expected-best"].caption


def test_its_images_are_said_in_words(section):
    stems = [one.stem for one in section.figures]
    assert stems == ["paths", "expected-best-00-f", "expected-best-01-g", "expected-best-02-h"]
    assert section.figures[0].alt.startswith("Each of 96 search trials as a path through f, g, h, learning_rate down")
    assert "learning_rate</text>" in section.figures[0].svg


def test_no_interaction_is_claimed_where_there_is_none():
    assert "none interacts for sure" in said(search_section(search(lambda levels: 0.0, seed=5)))


def test_settings_that_were_chosen_by_what_was_seen_have_no_effects():
    section = search_section(search(crossed, extra={"goal": "best"}))
    assert "levels were not tried equally: no effects" in said(section)
    assert not {"effects", "interactions"} & {one.stem for one in section.tables}


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (lambda t: t.assign(status="failed", val_accuracy=np.nan), "the search says nothing of the factors"),
        (lambda t: t.head(1), "too few trials, or levels"),
        (lambda t: t.head(5), "Too few trials were trained far enough"),
        (lambda t: t.assign(audit=False), "how well early epochs predicted the end is not known"),
        (lambda t: t.assign(g="p"), "g: too few trials, or levels"),
        (lambda t: t.assign(h=t["g"].map({"p": "u", "q": "v"})), "g, h: changed in step with other factors"),
        (lambda t: t.drop(columns="learning_rate"), "Exploratory"),
        (lambda t: t.drop_duplicates(["f"]), "No two factors have the four combinations"),
        (lambda t: t.assign(status=t["status"].where(t.index != 3, "failed")), "1 failed trial counts as the worst"),
    ],
)
def test_a_study_with_too_little_says_so_in_a_sentence(edit, text):
    read = search(crossed)
    found = search_section(results.Results(**{**vars(read), "trials": edit(read.trials)}))
    assert text in said(found)


def test_without_epochs_or_a_search_there_is_little_to_say():
    read = search(crossed)
    bare = results.Results(**{**vars(read), "epochs": read.epochs.head(0)})
    assert (
        said(search_section(bare))
        == "No search trial left an accuracy by epoch, so the search says nothing of the factors."
    )
    confirmed = read.trials.assign(phase="confirm")
    assert search_section(results.Results(**{**vars(read), "trials": confirmed})) is None


def test_paths_by_hand():
    read = search(crossed, trials=4, asha=False)
    read.trials["f"], read.trials["g"] = ["x", "x", "y", "y"], ["p", None, None, "q"]
    best = [0.5, 0.1, 0.9, 0.3]
    read.epochs["val_accuracy"] = read.epochs["trial"].map(dict(zip(read.trials["trial"], best, strict=True)))
    found = paths(read, outcomes(read))
    assert [axis.name for axis in found.axes] == ["f", "g", "h", "learning_rate", "validation accuracy"]
    assert found.accuracy.tolist() == [0.1, 0.3, 0.5, 0.9]  # trials 1, 3, 0, 2
    f, g, last = found.axes[0], found.axes[1], found.axes[-1]
    assert [label for _, label in f.marks] == ["x", "y"]
    assert (f.positions < 0.5).tolist() == [True, False, True, False]
    assert g.positions.tolist() == [ABSENT, 0.75, 0.25, ABSENT]
    assert last.positions.tolist() == pytest.approx([0, 0.25, 0.5, 1])


def test_a_report_leaves_the_table_of_the_contract(tmp_path):
    """A search of known truth in a folder, with names that mean harm."""
    hostile = {"x": "<script>alert(1)</script>", "y": "=1+1", "z": "a|b $x$"}
    factors = {"f": list(hostile.values()), "g": FACTORS["g"]}
    fabricate(tmp_path, Plan(factors=factors, winner={"f": "=1+1", "g": "q"}, trials=4, seeds=3, items=40))
    read = search(lambda levels: 0.8 * (levels["f"] == "=1+1"), factors=factors)
    kept = pd.read_parquet(tmp_path / results.TRIALS_FILE).query("phase != 'search'")
    writing.write_table(pd.concat([read.trials, kept]), tmp_path / results.TRIALS_FILE)
    writing.write_table(read.epochs.reindex(columns=list(results.EPOCHS_COLUMNS)), tmp_path / results.EPOCHS_FILE)
    study = json.loads((tmp_path / results.STUDY_FILE).read_text())
    writing.write_json(study | {"nuisances": read.study["nuisances"]}, tmp_path / results.STUDY_FILE)
    report.build(tmp_path)
    written = pd.read_csv(tmp_path / results.TABLES_FOLDER / "interactions.csv")
    assert {"factor_a", "factor_b", "contrast", "low", "high", "rung"} <= set(written.columns)
    assert set(written["level_a2"]) <= {"'=1+1", *hostile.values()}
    text = (tmp_path / results.REPORT_HTML).read_text()
    assert TITLE in text
    assert "<script>alert" not in text
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    report.build(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
