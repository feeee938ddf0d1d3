"""From the study's starting point to its winner: which settings are compared, and what is said where none were run."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.confirmed.settings import Setting, groups, settings
from analysis.findings.ablation import ALONE, NOT_RUN, STEP, SUM, TOTAL, path, start
from analysis.statistics.inference import compare
from study import results
from tests.fabricated import Plan, fabricate, rewrite, with_study

TWO = {"a": ["old", "new"], "b": [1, 2]}
PLAN = Plan(TWO, {"a": "new", "b": 2}, {("a", "old"): 0.7, ("b", 1): 0.85}, items=120, trials=6, spread=0.005)


def read(out: Path) -> tuple[results.Results, list[Setting]]:
    read = results.read(out)
    return read, settings(read)


def at_the_start(trials: pd.DataFrame) -> pd.DataFrame:
    """The published trials with the first level of both factors."""
    ours = {"a": "old", "b": 1, "arm": "start"}
    return trials.assign(**{name: trials[name].mask(trials["phase"] == "published", to) for name, to in ours.items()})


def one_of(name: str, **config: object) -> dict[str, object]:
    return {"name": name, "metric": "accuracy", "fold": "test", "value": 0.5, "config": config}


def test_each_choice_of_the_winner_is_taken_back_alone(tmp_path: Path) -> None:
    study, found = read(fabricate(tmp_path, PLAN))
    table = path(study, found)
    assert table["kind"].tolist() == [ALONE, ALONE, SUM, TOTAL]
    assert table[["factor", "start", "winner"]][:2].to_numpy().tolist() == [["a", "old", "new"], ["b", "1", "2"]]
    by_levels = {tuple(one.levels.values()): one for one in found}
    best, without = by_levels["new", "2"], by_levels["old", "2"]
    expected = compare(best.correct, without.correct, groups(study, best.correct.columns))
    assert table[["difference", "low", "high"]].iloc[0].tolist() == [expected.mean, *expected.interval()]
    assert table[["seeds", "items"]].iloc[0].tolist() == [5, 120]
    assert table["difference"][0] > 0.1 > table["difference"][1] > 0
    assert table["difference"][2] == pytest.approx(table["difference"][:2].sum())
    assert "no confirmed setting has all of the starting levels" in table["note"][3]


def test_a_choice_that_nothing_was_confirmed_without_is_not_measured(tmp_path: Path) -> None:
    fabricate(tmp_path, PLAN)
    rewrite(tmp_path, "trials", lambda t: t[~((t["phase"] == "confirm") & (t["a"] == "old"))])
    table = path(*read(tmp_path))
    assert table["note"].tolist()[:2] == [NOT_RUN, ""]
    assert table["difference"].isna().tolist() == [True, False, False, True]
    assert table["difference"][2] == table["difference"][1]  # the sum is of what was measured


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda t: t[(t["phase"] != "confirm") | (t["seed"] < 3)], "fewer than 3 seeds"),
        (lambda t: t[(t["phase"] != "confirm") | (t["a"] == "new") | (t["seed"] < 4)], "unequal seeds"),
    ],
)
def test_what_cannot_be_compared_is_said(
    tmp_path: Path, edit: Callable[[pd.DataFrame], pd.DataFrame], said: str
) -> None:
    fabricate(tmp_path, PLAN)
    rewrite(tmp_path, "trials", edit)
    assert path(*read(tmp_path))["note"][0] == f"not measured: {said}"


def test_published_trials_at_the_start_make_the_steps_of_one_way(tmp_path: Path) -> None:
    """With the start itself run, start -> new a -> new b: the middle was confirmed as the winner without its b."""
    fabricate(tmp_path, replace(PLAN, published={"seed": (0.6, 5)}))
    rewrite(tmp_path, "trials", at_the_start)
    study, found = read(tmp_path)
    table = path(study, found)
    assert table["kind"].tolist() == [STEP, STEP, SUM, TOTAL]
    assert table["difference"][2] == pytest.approx(table["difference"][3])  # a way adds up
    assert (table["low"] < table["difference"])[[0, 1, 3]].all()
    middle = next(one for one in found if one.levels == {"a": "new", "b": "1"})
    (first,) = settings(study, "published")
    assert table["difference"][0] == pytest.approx(np.mean(middle.correct) - np.mean(first.correct))


def test_the_start_is_the_first_published_configuration_that_names_a_level(tmp_path: Path) -> None:
    fabricate(tmp_path, PLAN)
    assert start(results.read(tmp_path))[0] == {"a": "old", "b": "1"}
    rows = [one_of("blank", epochs=3), one_of("odd", a=["list"], b=None), one_of("theirs", a="medium", b=2.0)]
    with_study(tmp_path, published=rows)
    levels, said = start(results.read(tmp_path))
    assert levels == {"a": "old", "b": "2"}
    assert said.endswith("theirs")
    table = path(*read(tmp_path))
    assert table["factor"].tolist()[:1] == ["a"]
    # With one choice there is one way, and it was run.
    assert table["kind"].tolist() == [STEP, SUM, TOTAL]
    assert table["difference"].nunique() == 1


def test_a_conditional_factor_is_part_of_the_level_it_hangs_on(tmp_path: Path) -> None:
    """The winner's backbone has no depth; the other one's setting, with a depth, is still its counterpart."""
    fabricate(tmp_path, Plan({"net": ["deep", "small"], "depth": ["head", "all"]}, {"net": "small", "depth": "all"}))
    rewrite(tmp_path, "trials", lambda t: t.assign(depth=t["depth"].mask(t["net"] == "small")))
    study, found = read(tmp_path)
    table = path(study, found)
    assert table["factor"].tolist()[:1] == ["net"]
    assert table["note"].tolist()[0] == ""


def test_nothing_without_a_tested_winner_or_where_it_is_the_start(tmp_path: Path) -> None:
    study, found = read(fabricate(tmp_path, replace(PLAN, winner={"a": "old", "b": 1}, accuracy={})))
    same = next(one for one in found if one.levels == {"a": "old", "b": "1"})
    assert path(study, [same]).empty
    assert path(study, []).empty
