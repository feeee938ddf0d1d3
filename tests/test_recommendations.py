"""What the report tells a person to choose, from answers written by hand."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as settings_of
from hypothesis import strategies as st

from analysis import report
from analysis.confirmed.answers import answers, pairs_of, rivals
from analysis.confirmed.recommendations import recommendations
from analysis.confirmed.settings import settings
from analysis.findings.recommendation import recommendations_section
from study import results, writing
from tests.fabricated import Plan, fabricate, pair

LEVELS = ["x", "y", "z"]
PLAN = Plan({"f": LEVELS}, {"f": "y"}, items=30, seeds=5, trials=6)


@pytest.fixture(scope="module")
def fabricated(tmp_path_factory):
    return fabricate(tmp_path_factory.mktemp("recommended") / "study", PLAN)


def chosen(out, pairs, seconds=None):
    """A study, its settings and its answers, these and the costs of choice; the winner has y."""
    read = results.read(out)
    read = replace(read, predictions=read.predictions.head(0))  # the answers are written by hand
    if seconds:
        read.trials["seconds"] = read.trials["f"].map(seconds).astype(float)
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


def sentences(*arguments) -> list[str]:
    """What the report says under the table, one paragraph for each factor."""
    section = recommendations_section(*chosen(*arguments))
    assert section is not None
    return section.below


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
    ("seconds", "cheaper", "said"),
    [
        (
            {"x": 6, "y": 30, "z": 20},
            "x",
            "x does as well on test, within 1 point, and takes about a fifth of the time",
        ),
        ({"x": 27.1, "y": 30, "z": 30}, None, ""),  # as fast within the noise
        ({"x": 26, "y": 30, "z": 30}, "x", "and takes 87% of the time (26 s per trial instead of 30 s)."),
        ({"x": 30, "y": 30, "z": 0.8}, "z", "and takes about 1/38 of the time (0.8 s per trial instead of 30 s)."),
    ],
)
def test_an_equal_that_takes_less_time_is_named_with_its_saving_and_the_winner_stays(
    fabricated, seconds, cheaper, said
):
    row = advised(fabricated, ALL_EQUAL, seconds)
    assert row[["recommended", "best", "decision"]].tolist() == ["y", "y", "equally good"]
    assert row["cheaper"] == cheaper if cheaper else pd.isna(row["cheaper"])
    (sentence,) = sentences(fabricated, ALL_EQUAL, seconds)
    assert said in sentence
    assert ("does as well" in sentence) == (cheaper is not None)


def test_a_cheap_level_that_is_beaten_is_not_named(fabricated):
    pairs = [pair("x", "y", "equivalent"), pair("y", "z", "equivalent"), pair("x", "z", "b", -0.02)]
    assert advised(fabricated, pairs, {"x": 1, "y": 30, "z": 20})["cheaper"] == "z"


def test_a_level_that_takes_a_fraction_of_the_time_stands_beside_what_is_not_decided(fabricated):
    pairs = [pair("x", "y", "no evidence", -0.003, 40), pair("y", "z", "a", 0.1), pair("x", "z", "a", 0.1)]
    seconds = {"x": 0.18, "y": 6.5, "z": 20}
    section = recommendations_section(*chosen(fabricated, pairs, seconds))
    assert section is not None
    table = section.tables[0]
    decision = table.rows[0][table.header.index("decision")]
    assert decision == "not decided; chosen on validation; x takes about 1/36 of the time"
    said = "x is not shown to be worse and takes about 1/36 of the time (0.18 s per trial instead of 6.5 s)."
    assert said in section.below[0]
    slower = recommendations_section(*chosen(fabricated, pairs, seconds | {"x": 3.0}))
    assert slower is not None
    assert "not shown to be worse" not in slower.below[0]
    refused = [pair("x", "y", "refused: fewer than 3 seeds (2)"), *pairs[1:]]
    assert "not shown to be worse" not in sentences(fabricated, refused, seconds)[0]


def test_without_evidence_the_winners_level_is_kept_and_the_seeds_are_named(fabricated):
    pairs = [
        pair("x", "y", "no evidence", 0.01, 12),
        pair("y", "z", "no evidence", 0.01, 40),
        pair("x", "z", "no evidence", 0.02, 99),
    ]
    row = advised(fabricated, pairs, {"x": 1, "y": 30, "z": 20})
    assert row[["recommended", "decision", "open", "seeds_needed"]].tolist() == [
        "y",
        "not decided; chosen on validation",
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
    assert row[["recommended", "decision"]].tolist() == ["y", "not decided; chosen on validation"]
    assert row[["gain", "seeds_needed"]].isna().all()


def test_the_winner_stays_where_another_level_beats_it_on_test_and_that_is_said(fabricated):
    pairs = [pair("x", "y", "a", 0.1), pair("y", "z", "equivalent"), pair("x", "z", "a", 0.1)]
    row = advised(fabricated, pairs)
    assert row[["recommended", "best", "decision", "against"]].tolist() == ["y", "x", "beaten on test", "x"]
    (sentence,) = sentences(fabricated, pairs)
    assert sentence.startswith(
        "f: y (beaten on test). x beats it on test. The winner stays, because the test fold must not select: "
    )
    assert "x beats y by 10.0 points" in sentence
    assert why(fabricated, pairs) == "chosen on validation, but x beats it on test; equivalent on test: z"


def test_of_levels_that_beat_the_winners_the_one_far_ahead_is_best(fabricated):
    """Also where that one is itself beaten by a third, as three levels may beat each other in a ring."""
    pairs = [pair("x", "y", "a", 0.1), pair("y", "z", "b", -0.02), pair("x", "z", "b", -0.05)]
    assert advised(fabricated, pairs)["best"] == "x"
    ring = [pair("x", "y", "a", 0.1), pair("y", "z", "a", 0.02), pair("x", "z", "b", -0.05)]
    assert advised(fabricated, ring)[["best", "decision"]].tolist() == ["x", "beaten on test"]


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
    assert "regularizer: l2 (not decided; chosen on validation). " in text
    assert text.index("Recommended setting: backbone large, regularizer l2, augmentation light.") < text.index("<table")
    assert "This exact combination was trained with 5 seeds." in text


def test_a_search_for_the_best_recommends_without_claiming(tmp_path):
    report.build(fabricate(tmp_path, Plan(extra={"goal": "best"}, items=30, trials=4)))
    advised = pd.read_csv(tmp_path / "tables" / "recommendations.csv")
    assert set(advised["decision"]) == {"not decided; chosen on validation"}
    text = (tmp_path / results.REPORT_MARKDOWN).read_text()
    said = "backbone: large (not decided; chosen on validation). Its levels were not compared: the search"
    assert said in text


def test_a_refused_pair_is_given_with_its_reason_and_no_number_of_seeds(tmp_path):
    fabricate(tmp_path, Plan({"f": ["x", "y"]}, {"f": "y"}, items=30, seeds=2, trials=4, epochs=2))
    report.build(tmp_path)
    text = (tmp_path / results.REPORT_MARKDOWN).read_text()
    assert re.search(r"\| f \| [xy] \| not decided; chosen on validation \| – \| not compared \|", text)
    assert "chosen on validation). Its levels were not compared: fewer than 3 seeds (2)." in text


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


@given(st.tuples(VERDICTS, VERDICTS, VERDICTS), COSTS)
@settings_of(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_winners_level_is_recommended_and_the_words_fit_the_evidence(fabricated, verdicts, seconds):
    pairs = [
        pair(a, b, verdict, {"a": 0.05, "b": -0.05}.get(verdict, 0.0))
        for (a, b), verdict in zip((("x", "y"), ("y", "z"), ("x", "z")), verdicts, strict=True)
    ]
    row = advised(fabricated, pairs, seconds)
    turnable = pairs_of(pd.DataFrame(pairs, columns=list(results.ANSWERS_COLUMNS)), "f")
    against = {one["level_b"]: one["verdict"] for one in rivals(turnable, "y")}
    beaten = {level for level in LEVELS for one in rivals(turnable, level) if one["verdict"] == "b"}
    equal = {level for level, verdict in against.items() if verdict == "equivalent"} - beaten
    assert row["recommended"] == "y"
    assert (row["decision"] == "beaten on test") == (row["best"] != "y") == ("b" in against.values())
    assert set(json.loads(row["as_good"])) == equal | {"y"}
    less = {level for level in equal if seconds[level] < 0.9 * seconds["y"]}
    said = why(fabricated, pairs, seconds)
    assert pd.isna(row["cheaper"]) if not less else seconds[row["cheaper"]] == min(seconds[level] for level in less)
    assert ("does as well and takes" in said) == bool(less)
    if isinstance(row["faster"], str):
        assert seconds[row["faster"]] < 0.9 * row["trial_seconds"]
        assert against[row["faster"]] not in ("equivalent", "a", "b")
        assert f"{row['faster']} is faster but not shown to be as good" in said


def test_a_slower_level_that_is_kept_stands_beside_the_faster_with_its_numbers(fabricated):
    pairs = [pair("x", "y", "no evidence", 0.02, 40), pair("y", "z", "a", 0.1), pair("x", "z", "a", 0.1)]
    said = why(fabricated, pairs, {"x": 1, "y": 30, "z": 20})
    # x minus y is 0.02 (0.01 to 0.04)
    assert said.startswith("chosen on validation; beats z on test; x is faster but not shown to be as good: 1 s, ")
    assert said.endswith("on validation, 2.0 points ahead on test (95% CI 1.0 to 4.0)")


def test_a_level_many_times_faster_stands_beside_not_decided(fabricated):
    def decision(seconds: dict[str, float]) -> str:
        pairs = [pair("x", "y", "no evidence", 0.02, 40), pair("y", "z", "a", 0.1), pair("x", "z", "a", 0.1)]
        section = recommendations_section(*chosen(fabricated, pairs, seconds))
        assert section is not None
        return section.tables[0].rows[0][section.tables[0].header.index("decision")]

    said = "not decided; chosen on validation"
    assert decision({"x": 1, "y": 30, "z": 20}) == f"{said}; x takes about 1/30 of the time"
    assert decision({"x": 10, "y": 30, "z": 20}) == f"{said}; x takes about a third of the time"
    assert decision({"x": 10.1, "y": 30, "z": 20}) == said
    assert decision({"x": 90, "y": 30, "z": 1}) == said  # z is beaten
