"""What the report tells a person to choose, from answers written by hand."""

import json
import re
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as settings_of
from hypothesis import strategies as st

from analysis import report
from analysis.confirmed.answers import Answer, answers, pairs_of, rivals
from analysis.confirmed.recommendations import recommendations
from analysis.confirmed.settings import settings
from analysis.findings.recommendation import recommendations_section
from analysis.layout.text import duration
from study import results, writing
from tests.fabricated import Plan, fabricate

LEVELS = ["x", "y", "z"]
PLAN = Plan({"f": LEVELS}, {"f": "y"}, items=30, seeds=5, trials=6)


def pair(a: str, b: str, verdict: str, difference: float = 0.0, seeds_needed: int | None = None) -> Answer:
    row: dict[str, Any] = dict.fromkeys(results.ANSWERS_COLUMNS)
    row |= {
        "factor": "f",
        "level_a": a,
        "level_b": b,
        "verdict": verdict,
        "companions": "",
        "seeds_needed": seeds_needed,
    }
    if not verdict.startswith("refused"):
        row |= {"difference": difference, "low": difference - 0.01, "high": difference + 0.02, "seeds": 5, "items": 30}
        row |= {"p_holm": 0.5, "probability_a_better": 0.6}
    return cast(Answer, row)


@pytest.fixture(scope="module")
def fabricated(tmp_path_factory):
    return fabricate(tmp_path_factory.mktemp("recommended") / "study", PLAN)


def chosen(out, pairs, seconds=None, trained=None):
    """A study, its settings and its answers, these and the costs of choice; the winner has y."""
    read = results.read(out)
    read = replace(read, predictions=read.predictions.head(0))  # the answers are written by hand
    if seconds:
        read.trials["seconds"] = read.trials["f"].map(seconds).astype(float)
    if trained:
        read.trials["trained_parameters"] = read.trials["f"].map(trained).astype(float)
    found = settings(read)
    ranked = read.trials.groupby("f")["val_accuracy"].mean()
    assert ranked.notna().all()
    kept = [one for one in found if one.levels["f"] == "y"] + [one for one in found if one.levels["f"] != "y"]
    for one in kept[1:]:
        one.merit[:] = 0.0
    return read, kept, pd.DataFrame(pairs, columns=list(results.ANSWERS_COLUMNS))


def advised(*arguments):
    """The one row of recommendations, for answers and costs of choice."""
    return recommendations(*chosen(*arguments)).iloc[0]


def why(*arguments):
    """What the report says of the one factor: by which step of the rule its level is recommended."""
    section = recommendations_section(*chosen(*arguments))
    assert section is not None
    table = section.tables[1]
    return table.rows[0][table.header.index("why")]


def test_a_level_that_beats_all_others_is_recommended_with_its_gain(fabricated):
    row = advised(fabricated, [pair("x", "y", "b", -0.1), pair("y", "z", "a", 0.3), pair("x", "z", "a", 0.2)])
    assert row[["recommended", "decision", "against"]].tolist() == ["y", "better", "x"]
    # x minus y is -0.1 (-0.11 to -0.08), so y gains 0.1 (0.08 to 0.11) on its closest rival
    assert row[["gain", "low", "high"]].tolist() == pytest.approx([0.1, 0.08, 0.11])


ALL_EQUAL = [pair("x", "y", "equivalent"), pair("y", "z", "equivalent"), pair("x", "z", "equivalent")]


@pytest.mark.parametrize(
    ("seconds", "trained", "recommended"),
    [
        ({"x": 10, "y": 30, "z": 20}, None, "x"),
        ({"x": 10, "y": 10.5, "z": 20}, None, "y"),  # as fast within the noise: the winner's level stays
        ({"x": 10, "y": 10.5, "z": 20}, {"x": 10, "y": 500, "z": 1}, "x"),
        ({"x": 10, "y": 10.5, "z": 20}, {"x": 500, "y": 500, "z": 1}, "y"),
    ],
)
def test_of_equals_the_cheapest_is_recommended(fabricated, seconds, trained, recommended):
    row = advised(fabricated, ALL_EQUAL, seconds, trained)
    assert row[["recommended", "best", "decision"]].tolist() == [recommended, "y", "equally good"]


def test_a_cheap_level_that_is_beaten_is_not_recommended(fabricated):
    pairs = [pair("x", "y", "equivalent"), pair("y", "z", "equivalent"), pair("x", "z", "b", -0.02)]
    assert advised(fabricated, pairs, {"x": 1, "y": 30, "z": 20})["recommended"] == "z"


def test_without_evidence_the_winners_level_is_kept_and_the_seeds_are_named(fabricated):
    pairs = [
        pair("x", "y", "no evidence", 0.01, 12),
        pair("y", "z", "no evidence", 0.01, 40),
        pair("x", "z", "no evidence", 0.02, 99),
    ]
    row = advised(fabricated, pairs, {"x": 1, "y": 30, "z": 20})
    assert row[["recommended", "decision", "open", "seeds_needed"]].tolist() == [
        "y",
        "not decided; best on validation",
        2,
        40,
    ]


def test_what_no_number_of_seeds_settles_has_no_number(fabricated):
    pairs = [pair("x", "y", "no evidence", 0.01, 12), pair("y", "z", "no evidence", 0.0), pair("x", "z", "a", 0.1)]
    row = advised(fabricated, pairs)
    assert row["open"] == 1  # z is beaten by x
    assert row["seeds_needed"] == 12
    assert pd.isna(advised(fabricated, pairs[:2])["seeds_needed"])


def test_refused_answers_leave_the_winners_level_undecided(fabricated):
    pairs = [pair(a, b, "refused: fewer than 3 seeds (2)") for a, b in (("x", "y"), ("y", "z"), ("x", "z"))]
    row = advised(fabricated, pairs)
    assert row[["recommended", "decision"]].tolist() == ["y", "not decided; best on validation"]
    assert row[["gain", "seeds_needed"]].isna().all()


def test_a_level_that_beats_the_winners_is_recommended_in_its_place(fabricated):
    pairs = [pair("x", "y", "a", 0.1), pair("y", "z", "equivalent"), pair("x", "z", "a", 0.1)]
    row = advised(fabricated, pairs)
    assert row[["recommended", "winner", "decision"]].tolist() == ["x", "y", "better"]


def test_a_pair_turned_round_says_the_same(fabricated):
    (turned,) = rivals([pair("x", "y", "a", 0.1)], "y")
    assert turned["verdict"] == "b"
    assert [turned[key] for key in ("difference", "low", "high")] == pytest.approx([-0.1, -0.12, -0.09])
    assert turned["probability_a_better"] == pytest.approx(0.4)
    assert list(rivals([turned], "x")) == [pair("x", "y", "a", 0.1) | {"low": pytest.approx(0.09)}]


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Of backbone the winner's level is truly better; of regularizer nothing differs; small trains faster."""
    out = tmp_path_factory.mktemp("planted") / "study"
    return fabricate(out, Plan(accuracy={("backbone", "small"): 0.7}))


def test_the_first_table_is_what_to_choose(planted):
    assert report.main([str(planted)]) == 0
    written = pd.read_csv(planted / "tables" / "recommendations.csv").set_index("factor")
    assert list(written[["recommended", "decision", "against"]].to_numpy()[written.index.get_loc("backbone")]) == [
        "large",
        "better",
        "small",
    ]
    read = results.read(planted)
    answered = answers(read).set_index("factor")
    assert written.loc["backbone", "gain"] == pytest.approx(-float(answered["difference"]["backbone"]))
    text = (planted / results.REPORT_HTML).read_text()
    assert re.findall('<caption id="table-(.*?)"', text)[0] == "recommendations"
    assert "backbone: use large. large beats small by " in text
    assert "regularizer: l2 (not decided; best on validation). " in text
    assert "This combination is the winner, as confirmed." in text


def test_a_cheaper_equal_makes_a_whole_that_was_not_run(tmp_path):
    factors = {"f": ["cheap", "dear"], "g": ["cheap", "dear"]}
    worse = {("f", "cheap"): 0.5, ("g", "cheap"): 0.5}
    read = results.read(fabricate(tmp_path, Plan(factors, {"f": "dear", "g": "dear"}, worse, items=30, trials=4)))
    read.trials["seconds"] = 30.0 - 12.0 * (read.trials[["f", "g"]] == "cheap").sum(axis=1)
    equal = [pair("cheap", "dear", "equivalent") | {"factor": factor} for factor in factors]
    section = recommendations_section(read, settings(read), pd.DataFrame(equal))
    assert section is not None
    assert section.tables[0].frame["recommended"].tolist() == ["cheap", "cheap"]
    assert "f: use cheap. cheap matches dear within the margin of 1 point and is cheaper (" in section.below[1]
    assert section.below[-1].startswith("This combination (f cheap, g cheap) has not been trained yet.")


def test_a_search_for_the_best_recommends_without_claiming(tmp_path):
    report.build(fabricate(tmp_path, Plan(extra={"goal": "best"}, items=30, trials=4)))
    advised = pd.read_csv(tmp_path / "tables" / "recommendations.csv")
    assert set(advised["decision"]) == {"not decided; best on validation"}
    text = (tmp_path / results.REPORT_MARKDOWN).read_text()
    said = "backbone: large (not decided; best on validation). Its levels were not compared: the search"
    assert said in text


def test_a_refused_pair_is_given_with_its_reason_and_no_number_of_seeds(tmp_path):
    fabricate(tmp_path, Plan({"f": ["x", "y"]}, {"f": "y"}, items=30, seeds=2, trials=4, epochs=2))
    report.build(tmp_path)
    text = (tmp_path / results.REPORT_MARKDOWN).read_text()
    assert re.search(r"\| f \| [xy] \| not decided; best on validation \| – \| not compared \|", text)
    assert "best on validation). Its levels were not compared: fewer than 3 seeds (2)." in text


def test_a_running_study_recommends_nothing_yet(tmp_path):
    fabricate(tmp_path, PLAN)
    trials = pd.read_parquet(tmp_path / results.TRIALS_FILE)
    writing.write_table(trials[trials["phase"] == "search"].head(4), tmp_path / results.TRIALS_FILE)
    report.build(tmp_path)
    assert pd.read_csv(tmp_path / "tables" / "recommendations.csv")["recommended"].isna().all()
    text = (tmp_path / results.REPORT_HTML).read_text()
    assert "Nothing is confirmed yet, so there is nothing to recommend." in text
    note, first = text.index("4 of 6 search trials have ended"), text.index("<section")
    assert note < first


def test_a_study_that_lacks_seeds_says_so_first(tmp_path):
    fabricate(tmp_path, PLAN)
    trials = pd.read_parquet(tmp_path / results.TRIALS_FILE)
    gone = (trials["phase"] == "confirm") & (trials["f"] == "x") & (trials["seed"] > 3)
    writing.write_table(trials[~gone], tmp_path / results.TRIALS_FILE)
    report.build(tmp_path)
    text = (tmp_path / results.REPORT_HTML).read_text()
    said = "1 of 3 confirmed settings have fewer than the 5 seeds planned, and 2 trials are missing."
    assert text.index(said) < text.index("<section")


def test_sizes_are_shown_where_a_choice_changes_them(tmp_path):
    fabricate(tmp_path, Plan(items=30, trials=4, seeds=3))
    trials = pd.read_parquet(tmp_path / results.TRIALS_FILE)
    small = trials["backbone"] == "small"
    sized = trials.assign(file_bytes=np.where(small, 16_200_000, 102e6), latency_ms=np.where(small, 8.94, 31.2))
    writing.write_table(sized, tmp_path / results.TRIALS_FILE)
    report.build(tmp_path)
    text = (tmp_path / results.REPORT_MARKDOWN).read_text()
    assert "| model file | one image takes |" in text
    assert "16.2 MB | 8.94 ms |" in text
    assert "| model file | 102 MB |" in text  # of the winner


def test_where_the_winner_has_no_such_choice_its_refusals_are_said(fabricated):
    read = results.read(fabricated)
    found = settings(read)
    for one in found:
        if one.levels["f"] == "y":
            one.levels["f"] = ""
            one.merit[:] = 1.0
    refused = [pair("x", "z", "refused: fewer than 3 seeds (2)")]
    section = recommendations_section(read, found, pd.DataFrame(refused, columns=list(results.ANSWERS_COLUMNS)))
    assert section is not None
    said = (
        "f: this factor does not exist in the winner; where it exists, not all levels were compared: fewer than 3 seeds"
    )
    assert any(line.startswith(said) for line in section.below)


VERDICTS = st.sampled_from(["a", "b", "equivalent", "no evidence", "refused: fewer than 3 seeds (2)"])
COSTS = st.fixed_dictionaries({level: st.sampled_from([1.0, 9.5, 10.0, 10.5, 11.5, 30.0]) for level in LEVELS})


@given(st.tuples(VERDICTS, VERDICTS, VERDICTS), COSTS, st.none() | COSTS)
@settings_of(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_recommended_level_is_the_cheapest_of_those_as_good_and_the_words_say_so(
    fabricated, verdicts, seconds, trained
):
    pairs = [
        pair(a, b, verdict, {"a": 0.05, "b": -0.05}.get(verdict, 0.0))
        for (a, b), verdict in zip((("x", "y"), ("y", "z"), ("x", "z")), verdicts, strict=True)
    ]
    row = advised(fabricated, pairs, seconds, trained)
    turnable = pairs_of(pd.DataFrame(pairs, columns=list(results.ANSWERS_COLUMNS)), "f")
    best, *others = json.loads(row["as_good"])
    against = {one["level_b"]: one["verdict"] for one in rivals(turnable, best)}
    beaten = {level for level in LEVELS for one in rivals(turnable, level) if one["verdict"] == "b"}
    assert best == row["best"]
    assert set(others) == {level for level, verdict in against.items() if verdict == "equivalent"} - beaten
    times = {level: seconds[level] for level in (best, *others)}
    fast = {level for level in times if 0.9 * times[level] <= min(times.values())}
    assert row["recommended"] in fast
    assert row["trial_seconds"] == seconds[row["recommended"]]
    if trained:
        assert trained[row["recommended"]] == min(trained[level] for level in fast)
    said = why(fabricated, pairs, seconds, trained)
    if row["recommended"] == best:
        assert "on test and cheaper:" not in said
    elif best in fast:
        assert trained[row["recommended"]] < trained[best]
        assert f"equivalent to {best} on test and cheaper: it trains fewer parameters" in said
    else:
        assert seconds[row["recommended"]] < seconds[best]
        assert f"cheaper: {duration(row['trial_seconds'])} per trial instead of {duration(seconds[best])}" in said
    if isinstance(row["faster"], str):
        assert seconds[row["faster"]] < 0.9 * row["trial_seconds"]
        assert against[row["faster"]] not in ("equivalent", "a", "b")
        assert f"{row['faster']} is faster but not shown to be as good" in said or row["recommended"] != best


def test_a_slower_level_that_is_kept_stands_beside_the_faster_with_its_numbers(fabricated):
    pairs = [pair("x", "y", "no evidence", 0.02, 40), pair("y", "z", "a", 0.1), pair("x", "z", "a", 0.1)]
    said = why(fabricated, pairs, {"x": 1, "y": 30, "z": 20})
    # x minus y is 0.02 (0.01 to 0.04)
    assert said.startswith("the winner's level; x is faster but not shown to be as good: 1 s, ")
    assert said.endswith("on validation, 2.0 points ahead on test (95% CI 1.0 to 4.0)")


def test_a_level_many_times_faster_stands_beside_not_decided(fabricated):
    def decision(seconds: dict[str, float]) -> str:
        pairs = [pair("x", "y", "no evidence", 0.02, 40), pair("y", "z", "a", 0.1), pair("x", "z", "a", 0.1)]
        section = recommendations_section(*chosen(fabricated, pairs, seconds))
        assert section is not None
        return section.tables[0].rows[0][section.tables[0].header.index("decision")]

    said = "not decided; best on validation"
    assert decision({"x": 1, "y": 30, "z": 20}) == f"{said}; x takes 1 s per trial instead of 30 s, 30 times less"
    assert decision({"x": 10, "y": 30, "z": 20}) == f"{said}; x takes 10 s per trial instead of 30 s, 3 times less"
    assert decision({"x": 10.1, "y": 30, "z": 20}) == said
    assert decision({"x": 90, "y": 30, "z": 1}) == said  # z is beaten


def test_what_a_trial_takes_is_compared_in_one_company(tmp_path):
    """Trials of other companies, of which the winner's levels have the most, say nothing of a level's time."""
    fabricate(tmp_path, Plan({"f": ["x", "y"], "g": ["u", "v"]}, {"f": "y", "g": "v"}, items=30, trials=8, seeds=3))
    read = results.read(tmp_path)
    company = (read.trials["phase"] != "search") & (read.trials["g"] == "v")
    read.trials["seconds"] = np.where(company, read.trials["f"].map({"x": 2.0, "y": 3.0}), 500.0)
    advised = recommendations(read, settings(read), answers(read)).set_index("factor")
    assert advised.loc["f", "best_seconds"] == {"x": 2.0, "y": 3.0}[str(advised["best"]["f"])]
