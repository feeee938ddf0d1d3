import json

import numpy as np
import pandas as pd
import pytest

from analysis import report
from analysis.layout.page import Section
from analysis.search.rung import outcomes
from analysis.sections.search import TITLE, effects, search_section
from study import results, writing
from tests.fabricated import Plan, fabricate
from tests.searches import FACTORS, Truth, search


def flat(levels: object) -> float:
    return 0.0


def section_of(read: results.Results) -> Section:
    section = search_section(read)
    assert section is not None
    return section


def edited(read: results.Results, **frames: pd.DataFrame) -> results.Results:
    return results.Results(**{**vars(read), **frames})


def said(section: Section) -> str:
    return " ".join([*section.paragraphs, *section.points])


@pytest.fixture(scope="module")
def section() -> Section:
    return section_of(search(lambda levels: 1.5 * (levels["f"] == "z")))


def test_it_says_where_it_was_read_and_that_it_is_exploratory(section: Section) -> None:
    text = said(section)
    assert section.title == TITLE
    assert text.startswith(
        "Exploratory: 96 search trials, compared after 9 of 9 epochs, the last epoch that every level"
    )
    assert "trials had been stopped before that." in text
    assert "16 audited trials were exempt from early stopping. After 1 epoch, the one that finished best ranked" in text


def test_its_tables(section: Section) -> None:
    shown = {table.stem: table for table in section.tables}
    assert set(shown) == {"importance", "effects", "audit"}
    assert [row[:2] for row in shown["effects"].rows] == [
        [f, level] for f, levels in FACTORS.items() for level in levels
    ]
    assert shown["importance"].rows[0][0] == "f"
    assert {"f", "learning_rate"} <= set(shown["importance"].frame["hyperparameter"])
    stopped = shown["audit"].frame["stopped"].tolist()
    assert stopped == sorted(stopped)
    assert stopped[-1] == shown["effects"].frame.query("factor == 'g'")["stopped"].sum()


def test_marginal_effects_by_hand() -> None:
    """Two trials of p, the second stopped at epoch 1 with 0.4, and two of q, the second failed."""
    read = search(flat, trials=4, asha=False)
    trials = read.trials.assign(f="x", h="u", g=["p", "p", "q", "q"])
    trials["status"] = ["completed", "stopped", "completed", "failed"]
    trials["epochs_run"] = [9, 1, 9, 3]
    best = dict(zip(trials["trial"], [0.8, 0.4, 0.7, 0.9], strict=True))
    epochs = read.epochs.assign(val_accuracy=read.epochs["trial"].map(best))
    epochs = epochs[(epochs["trial"] != trials["trial"][1]) | (epochs["epoch"] == 1)]
    read = edited(read, trials=trials, epochs=epochs)
    frame = effects(read, outcomes(read))
    columns = ["trials", "stopped", "failed", "lower", "accuracy", "upper", "best", "rung"]
    p, q = frame[frame["factor"] == "g"][columns].to_numpy()
    assert p.tolist() == pytest.approx([2, 1, 0, 0.5, 0.6, 0.7, 0.8, 9])
    assert q.tolist() == pytest.approx([2, 0, 1, 0.7, 0.7, 0.7, 0.7, 9])
    absent = frame[(frame["factor"] == "f") & (frame["level"] == "y")].iloc[0]
    assert absent["trials"] == 0
    assert np.isnan(absent["accuracy"])


def test_settings_that_were_chosen_adaptively_have_no_effects() -> None:
    section = section_of(search(flat, extra={"goal": "best"}))
    assert "the levels were not sampled equally and have no marginal effects" in said(section)
    assert "effects" not in {table.stem for table in section.tables}


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (lambda t: t.assign(status="failed", val_accuracy=np.nan), "there is nothing to compare"),
        (lambda t: t.head(5), "Too few trials were trained far enough"),
        (lambda t: t.assign(audit=False), "cannot tell whether early stopping discarded good settings"),
        (lambda t: t.drop(columns="learning_rate"), "Exploratory"),
        (lambda t: t.assign(status=t["status"].where(t.index != 3, "failed")), " 1 trial failed."),
    ],
)
def test_a_study_with_too_little_says_so_in_a_sentence(edit, text: str) -> None:
    read = search(flat)
    assert text in said(section_of(edited(read, trials=edit(read.trials))))


def test_without_epochs_or_a_search_there_is_little_to_say() -> None:
    read = search(flat)
    bare = section_of(edited(read, epochs=read.epochs.head(0)))
    assert said(bare) == "No search trial has an accuracy by epoch, so there is nothing to compare."
    assert search_section(edited(read, trials=read.trials.assign(phase="confirm"))) is None


def test_a_report_leaves_its_tables_twice_the_same(tmp_path) -> None:
    """A search of known truth in a folder, with names that mean harm."""
    hostile = {"x": "<script>alert(1)</script>", "y": "=1+1", "z": "a|b $x$"}
    factors = {"f": list(hostile.values()), "g": FACTORS["g"]}
    fabricate(tmp_path, Plan(factors=dict(factors), winner={"f": "=1+1", "g": "q"}, trials=4, seeds=3, items=40))
    better: Truth = lambda levels: 0.8 * (levels["f"] == "=1+1")  # noqa: E731
    read = search(better, factors=factors)
    kept = pd.read_parquet(tmp_path / results.TRIALS_FILE).query("phase != 'search'")
    writing.write_table(pd.concat([read.trials, kept]), tmp_path / results.TRIALS_FILE)
    writing.write_table(read.epochs.reindex(columns=list(results.EPOCHS_COLUMNS)), tmp_path / results.EPOCHS_FILE)
    study = json.loads((tmp_path / results.STUDY_FILE).read_text())
    writing.write_json(study | {"nuisances": read.study.get("nuisances")}, tmp_path / results.STUDY_FILE)
    report.build(tmp_path)
    written = pd.read_csv(tmp_path / results.TABLES_FOLDER / "effects.csv")
    assert {"factor", "level", "trials", "stopped", "failed", "accuracy", "rung"} <= set(written.columns)
    assert set(written["level"]) == {"'=1+1", *hostile.values(), *FACTORS["g"]} - {"=1+1"}
    text = (tmp_path / results.REPORT_HTML).read_text()
    assert f">{TITLE}</h2>" in text
    assert "<script>alert" not in text
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    report.build(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
