"""The cheapest levels together, as the report recommends them and takes them apart."""

import pandas as pd
import pytest

from analysis.confirmed.settings import name, settings, winner
from analysis.findings.ablation import path, path_section
from analysis.findings.recommendation import recommendations_section
from study import results
from tests.fabricated import Plan, fabricate, pair, recommend, rewrite, with_study

COMBINED = {"f": "cheap", "g": "cheap"}


@pytest.fixture
def combined(tmp_path):
    """Levels were compared around f and g dear; what is recommended has both cheap, and stands for no level."""
    factors = {"f": ["cheap", "dear"], "g": ["cheap", "dear"]}
    out = fabricate(tmp_path, Plan(factors, {"f": "dear", "g": "dear"}, items=30, trials=4, combined=COMBINED))
    rewrite(out, "trials", lambda t: t.assign(seconds=30.0 - 12.0 * (t[["f", "g"]] == "cheap").sum(axis=1)))
    return out


def test_a_combination_of_cheap_levels_is_recommended_as_it_was_run(combined):
    read = results.read(combined)
    found, equal = settings(read), [pair("cheap", "dear", "equivalent") | {"factor": factor} for factor in "fg"]
    best = winner(found)
    assert best is not None
    assert (best.levels, best.stands_for, len(found)) == (COMBINED, frozenset(), 4)
    section = recommendations_section(read, found, pd.DataFrame(equal))
    assert section is not None
    assert section.tables[0].frame["recommended"].tolist() == ["cheap", "cheap"]
    assert section.paragraphs[0].startswith("Recommended setting: f cheap, g cheap. Test accuracy ")
    assert section.paragraphs[0].endswith("This exact combination was trained with 5 seeds.")
    assert section.paragraphs[1].endswith("around another setting: f dear, g dear.")
    assert "Measured with g dear; the winner uses cheap, where the gap may differ." in section.below[0]


def test_without_the_studys_decision_a_setting_that_stands_for_no_level_is_left_out(combined):
    with_study(combined, decisions=[{"kind": "recommend", "levels": COMBINED, "arm": 5}, "recommend", None])
    found = settings(results.read(combined))
    assert COMBINED not in [setting.levels for setting in found]
    with_study(combined, decisions=[recommend(COMBINED), recommend(COMBINED | {"f": "dear"})])
    best = winner(settings(results.read(combined)))
    assert best is not None
    assert best.levels == COMBINED | {"f": "dear"}, "the last decision counts"


def test_the_ablation_of_a_combination_goes_by_the_settings_that_were_run(combined):
    start = {"name": "seed", "value": 0.5, "config": {"f": "dear", "g": "dear"}}
    with_study(combined, published=[start])
    read = results.read(combined)
    found = settings(read)
    table = path(read, found)
    assert table["kind"].tolist() == ["step", "step", "sum", "total"]
    assert table["difference"].notna().all()
    assert [name(setting, found) for setting in found] == [
        "f = cheap",
        "the common setting",
        "g = cheap",
        "f = cheap, g = cheap (the winner)",
    ]


def test_a_combination_that_nothing_was_confirmed_beside_is_not_ablated(tmp_path):
    factors = {factor: ["cheap", "dear"] for factor in "fg"} | {"h": ["old", "new"]}
    dear = {"f": "dear", "g": "dear", "h": "new"}
    read = results.read(fabricate(tmp_path, Plan(factors, dear, items=30, trials=4, combined=COMBINED | {"h": "new"})))
    section = path_section(read, settings(read))
    assert section is not None
    assert section.tables == []
    assert section.paragraphs[1] == "No confirmed setting differs from the winner in one of its choices alone."
