"""The plan from before the first trial, and what did not go by it."""

import hashlib
import json

import pandas as pd
import pytest

from analysis import report
from analysis.findings.deviations import deviation_sentences, deviations, plan_sentence
from study import results, writing
from tests.fabricated import Plan, fabricate, rewrite

PLAN = Plan({"f": ["x", "y"], "n": [1, 2]}, {"f": "y", "n": 2}, items=20, trials=4, seeds=3)


def planned(out, change=lambda plan: plan, **more):
    """The plan of the search trials as they ran, or changed, with its hash in study.json."""
    fabricate(out, PLAN)
    trials = pd.read_parquet(out / results.TRIALS_FILE)
    search = trials[trials["phase"] == "search"]
    plan = [{"trial": row.trial, "factors": {"f": row.f, "n": row.n}} for row in search.itertuples()]
    text = json.dumps(change(plan))
    (out / results.FIRST_PLAN).parent.mkdir(parents=True)
    (out / results.FIRST_PLAN).write_text(text)
    study = json.loads((out / results.STUDY_FILE).read_text())
    known = {"plan_hash": hashlib.sha256(text.encode()).hexdigest()} | more
    writing.write_json(study | known, out / results.STUDY_FILE)
    return out


def test_a_plan_that_was_followed(tmp_path):
    study = results.read(planned(tmp_path))
    assert deviations(study) == []
    assert deviation_sentences(study) == ["No known deviation from the plan."]
    assert "still has this hash" in plan_sentence(study)


def test_a_plan_that_was_changed_afterwards_is_told(tmp_path):
    planned(tmp_path)
    with (tmp_path / results.FIRST_PLAN).open("a") as file:
        file.write(" ")
    assert "it was changed afterward!" in plan_sentence(results.read(tmp_path))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda plan: [*plan, {"trial": "search-999", "factors": {}}], "1 of 5 planned trials were not started"),
        (
            lambda plan: [plan[0] | {"factors": plan[0]["factors"] | {"f": "z"}}, *plan[1:]],
            "1 trial ran with other levels than planned, the first search-000",
        ),
        (lambda plan: [plan[0] | {"factors": {"n": 1.0}}], None),  # 1 and 1.0 are one level
        (lambda plan: {"not": "a plan"}, None),
        (lambda plan: [{"trial": "search-000", "factors": {"f": ["x", "z"]}}], None),
    ],
)
def test_the_tables_are_held_against_the_plan(tmp_path, change, said):
    assert deviations(results.read(planned(tmp_path, change))) == ([said] if said else [])


def test_a_search_that_still_runs_is_no_deviation(tmp_path):
    planned(tmp_path, lambda plan: [*plan, {"trial": "search-999", "factors": {}}])
    rewrite(tmp_path, "trials", lambda t: t[t["phase"] == "search"])
    (tmp_path / results.PREDICTIONS_FILE).unlink()
    assert deviations(results.read(tmp_path)) == []


def test_what_was_recorded_and_what_failed(tmp_path):
    planned(tmp_path, deviations=["trials extended from 4 to 8", {"odd": 1}], preflight="skipped")
    confirmed = lambda t: t["phase"].eq("confirm") & t["seed"].eq(1)  # noqa: E731
    rewrite(tmp_path, "trials", lambda t: t.assign(status=t["status"].mask(confirmed(t), "failed")))
    assert deviations(results.read(tmp_path)) == [
        "trials extended from 4 to 8",
        "odd 1",
        "the checks before the sweep were skipped (--skip-preflight)",
        "3 confirmation trials failed, so some settings have fewer seeds than planned",
    ]


def test_a_folder_of_another_program_says_that_nothing_is_recorded(tmp_path):
    study = results.read(fabricate(tmp_path, PLAN))
    assert "does not record the hash" in plan_sentence(study)
    assert deviations(study) == []


def test_the_method_section_says_both(tmp_path):
    report.build(planned(tmp_path, preflight="skipped"))
    text = (tmp_path / results.REPORT_HTML).read_text()
    assert "ledger/plan/000.json still has this hash." in text
    assert "Deviation from the plan: the checks before the sweep were skipped (--skip-preflight)" in text
