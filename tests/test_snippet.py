"""The winner's setting in the report, as code to paste."""

import html
import re
from pathlib import Path
from typing import Any

import pytest

from analysis import report
from analysis.findings import snippet
from study.hyperparameters import STUDIED
from study.products.outputs import write_tables
from study.spec import Budget, Study
from tests.fabricated import Plan, fabricate, rewrite
from tests.finished import Finished
from trainables.config import DEFAULTS
from trainables.fields import ACTS


@pytest.fixture(scope="module")
def reported(finished: Finished) -> Finished:
    write_tables(finished.course)
    report.build(finished.out)
    return finished


def fenced(out: Path, language: str = r"\w+") -> list[str]:
    """The blocks of code in report.md."""
    return re.findall(rf"```{language}\n(.*?)\n```", (out / "report.md").read_text(), re.DOTALL)


def pasted(out: Path) -> dict[str, Any]:
    """What the Python code of the report defines."""
    (code,) = fenced(out, "python")
    defined: dict[str, Any] = {}
    exec(code, {}, defined)
    return defined


def test_what_is_pasted_is_the_setting_of_the_winner(reported: Finished) -> None:
    defined, config = pasted(reported.out), reported.config.to_dict()
    assert defined["epochs"] == 3
    assert defined["setting"]["learning_rate"] == 0.01
    acting = [name for name in STUDIED if name not in ACTS or ACTS[name].met(config[ACTS[name].field])]
    whole = DEFAULTS | defined["setting"]
    assert {name: whole[name] for name in acting} == {name: config[name] for name in acting}
    assert defined["setting"].keys() <= {*acting}


def test_a_study_file_takes_it(reported: Finished) -> None:
    defined = pasted(reported.out)
    assert defined["setting"].pop("augmentation") == "none"
    Study(
        dataset="folder",
        question="?",
        factors={"augmentation": ["none", "light"]},
        nuisances={},
        fixed=defined["setting"],
        budget=Budget(trials=2, epochs=defined["epochs"]),
    )


def test_both_pages_show_the_command_if_the_study_saved_a_model(reported: Finished, tmp_path: Path) -> None:
    assert fenced(reported.out, "sh") == ["python -m study.train OUT --data DIR --seeds 3"]
    page = (reported.out / "report.html").read_text()
    shown = re.findall(r'<pre tabindex="0"><code>(.*?)\n</code></pre>', page, re.DOTALL)
    assert [html.unescape(code) for code in shown] == fenced(reported.out)
    assert "`python -m study.train OUT --data DIR`" in (reported.out / "best" / "README.md").read_text()
    other = fabricate(tmp_path / "out")
    report.build(other)
    assert "study.train" not in (other / "report.md").read_text()
    assert len(fenced(other)) == 1


def test_a_hostile_table_cannot_leave_the_code(tmp_path: Path) -> None:
    level = "a'\n```\n\\<script>[x](javascript:1)\u202e"
    out = fabricate(tmp_path / "out", Plan(factors={"=cmd()": [level, "b"]}, winner={"=cmd()": level}))
    rewrite(out, "trials", lambda trials: trials.assign(views=3.0, patience=None, optimizer="adamw", momentum=0.9))
    report.build(out)
    expected = {"=cmd()": level, "size": 224, "learning_rate": 0.001, "views": 3, "optimizer": "adamw"}
    assert pasted(out)["setting"] == expected
    assert "\u202e" not in (out / "report.html").read_text()
    assert not re.search(r"<script|[\[\]`]", fenced(out, "python")[0])


def test_a_factor_that_does_not_exist_in_the_winner_has_its_fixed_value(tmp_path: Path) -> None:
    plan = Plan(
        factors={"backbone": ["small", "large"], "unfreeze": ["head", "all"]},
        winner={"backbone": "large", "unfreeze": None},
        extra={"conditional": {"unfreeze": {"when": {"backbone": "small"}, "otherwise": "all"}}},
    )
    out = fabricate(tmp_path / "out", plan)
    report.build(out)
    assert pasted(out)["setting"]["unfreeze"] == "all"


def test_every_hyperparameter_is_known_with_its_default_and_its_condition() -> None:
    assert set(snippet.COMMENTS) == {*STUDIED}
    assert {name: DEFAULTS[name] for name in snippet.NEUTRAL} == snippet.NEUTRAL
    assert set(snippet.ACTS) == {*ACTS} - {"drop_path"}  # whose column is empty under another regularizer
