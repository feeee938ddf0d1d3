import json
import re
from dataclasses import fields

import numpy as np
import pandas as pd
import pytest

from study import results, writing
from study.budget import Budget
from study.design.settings import Base
from study.estimates.resources import Resources
from study.setup.study_json import StudyJson
from study.study_record import BaseRecord, BudgetRecord, DefinitionRecord, ResourcesRecord, StudyRecord
from tests.fabricated import Plan, fabricate, rewrite


@pytest.fixture
def out(tmp_path):
    return fabricate(tmp_path / "study", Plan(trials=8, seeds=2, items=20))


def test_read_gives_every_table_with_the_contracts_columns(out):
    read = results.read(out, logits=True)
    for frame, columns in (
        (read.manifest, results.MANIFEST_COLUMNS),
        (read.trials, results.TRIALS_COLUMNS),
        (read.epochs, results.EPOCHS_COLUMNS),
        (read.predictions, results.PREDICTIONS_COLUMNS),
    ):
        assert set(columns) <= set(frame.columns)
        assert len(frame)
    assert "learning_rate" in read.trials  # beyond the contract, kept
    assert read.predictions["logits"].iloc[0].dtype == np.float16


def test_logits_are_read_on_request_only(out):
    assert results.LOGITS not in results.read(out).predictions


@pytest.mark.parametrize("file", [results.EPOCHS_FILE, results.PREDICTIONS_FILE])
def test_what_a_running_study_has_not_written_is_empty(out, file):
    (out / file).unlink()
    read = results.read(out)
    frame = read.epochs if file == results.EPOCHS_FILE else read.predictions
    assert frame.empty
    assert {"trial"} < set(frame.columns)


@pytest.mark.parametrize("file", [results.STUDY_FILE, results.TRIALS_FILE, results.MANIFEST_FILE])
def test_what_every_study_has_is_missed(out, file):
    (out / file).unlink()
    with pytest.raises(results.ResultsError, match=re.escape(file)):
        results.read(out)


def test_no_folder(tmp_path):
    with pytest.raises(results.ResultsError, match="No folder"):
        results.read(tmp_path / "nowhere")


@pytest.mark.parametrize("text", ["{", "[]", '{"name": "x", "question": "?"}', '{"name": 1}'])
def test_study_json_is_checked(out, text):
    (out / results.STUDY_FILE).write_text(text)
    with pytest.raises(results.ResultsError, match=re.escape(results.STUDY_FILE)):
        results.read(out)


def test_levels_must_be_a_list(out):
    study = json.loads((out / results.STUDY_FILE).read_text()) | {"factors": {"backbone": "large"}}
    writing.write_json(study, out / results.STUDY_FILE)
    with pytest.raises(results.ResultsError, match="must list its levels"):
        results.read(out)


@pytest.mark.parametrize(
    ("file", "edit", "said"),
    [
        (results.TRIALS_FILE, lambda t: t.drop(columns="arm"), "no column 'arm'"),
        (results.TRIALS_FILE, lambda t: t.drop(columns="backbone"), "no column 'backbone'"),
        (results.TRIALS_FILE, lambda t: t.assign(val_accuracy="high"), "'val_accuracy' must hold number"),
        (results.TRIALS_FILE, lambda t: t.assign(audit=1), "'audit' must hold flag"),
        (results.TRIALS_FILE, lambda t: t.assign(status="running"), "status 'running' is unknown"),
        (results.TRIALS_FILE, lambda t: t.assign(phase="again"), "phase 'again' is unknown"),
        (results.TRIALS_FILE, lambda t: t.assign(trial="one"), "'one' appears twice"),
        (results.TRIALS_FILE, lambda t: t.assign(stands_for="a=b"), "must be a JSON list"),
        (results.MANIFEST_FILE, lambda t: t.assign(path=1), "'path' must hold text"),
        (results.PREDICTIONS_FILE, lambda t: pd.concat([t, t.head(1)]), "twice"),
    ],
)
def test_tables_are_checked_in_one_line(out, file, edit, said):
    rewrite(out, file.removesuffix(".parquet"), edit)
    with pytest.raises(results.ResultsError, match=re.escape(said)) as caught:
        results.read(out)
    assert file in str(caught.value)
    assert "\n" not in str(caught.value)


def test_not_parquet(out):
    (out / results.EPOCHS_FILE).write_text("trial,epoch")
    with pytest.raises(results.ResultsError, match="not readable as parquet"):
        results.read(out)


def test_categories_are_read_as_what_they_hold(out):
    rewrite(out, "predictions", lambda t: t.assign(trial=t["trial"].astype("category")))
    assert results.read(out).predictions["trial"].dtype == "str"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"),
        (1.0, "1"),
        ("1.0", "1"),
        (0.001, "0.001"),
        ("1e-3", "0.001"),
        ("80-10-10", "80-10-10"),
        (None, ""),
        (float("nan"), ""),
        ("nan", "nan"),
        ("1_000", "1_000"),
        (True, "True"),
    ],
)
def test_level_text(value, text):
    assert results.level_text(value) == text


def test_stands_for_splits_at_the_first_equals_sign():
    assert results.stands_for('["a=b=c", "n=1.0"]') == [("a", "b=c"), ("n", "1")]
    assert results.stands_for(None) == []


def test_csv_is_safe_in_a_spreadsheet_and_harms_no_number(tmp_path):
    cells = ["=cmd()", "+1+cmd", "-2.5", "@x", "\tx", "plain", "-1e-3"]
    frame = pd.DataFrame({"=head": cells, "n": -np.arange(7.0)})
    writing.write_table(frame, tmp_path / "t.csv")
    back = pd.read_csv(tmp_path / "t.csv", dtype=str)
    assert back["'=head"].tolist() == ["'=cmd()", "'+1+cmd", "-2.5", "'@x", "'\tx", "plain", "-1e-3"]
    assert back["n"].astype(float).tolist() == (-np.arange(7.0)).tolist()


def test_levels_of_both_kinds_fit_one_column(tmp_path):
    writing.write_table(pd.DataFrame({"depth": [2, "all", None]}), tmp_path / "t.parquet")
    assert pd.read_parquet(tmp_path / "t.parquet")["depth"].dropna().tolist() == ["2", "all"]


def test_a_failed_write_leaves_the_old_table_and_nothing_else(tmp_path):
    path = tmp_path / "t.parquet"
    writing.write_table(pd.DataFrame({"a": [1]}), path)
    with pytest.raises(Exception, match="a"):
        writing.write_table(pd.DataFrame({"a": [object()]}), path)
    assert pd.read_parquet(path)["a"].tolist() == [1]
    assert [one.name for one in tmp_path.iterdir()] == ["t.parquet"]


def test_other_formats_are_refused(tmp_path):
    with pytest.raises(ValueError, match=re.escape("t.xlsx")):
        writing.write_table(pd.DataFrame(), tmp_path / "t.xlsx")


def test_study_json_has_the_keys_that_a_reader_may_expect() -> None:
    """Two types describe one file: what this program writes, and what a reader may find."""
    written = {each.name for each in fields(StudyJson)} - {"others", "definition"}
    written |= set(DefinitionRecord.__annotations__)
    assert written == set(StudyRecord.__annotations__)
    for record, kind in ((BaseRecord, Base), (ResourcesRecord, Resources), (BudgetRecord, Budget)):
        assert set(record.__annotations__) == {each.name for each in fields(kind)}
