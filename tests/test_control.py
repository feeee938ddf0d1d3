import pandas as pd
import pytest

from analysis.confirmed.answers import answers
from analysis.confirmed.settings import settings
from analysis.findings.negative_control import control_section, control_sentence, negative_control
from study import results, writing
from tests.fabricated import Plan, fabricate
from tests.test_answers import LARGE, SMALL


def studied(tmp_path, plan: Plan, **edits) -> results.Results:
    out = fabricate(tmp_path / "study", plan)
    for stem, edit in edits.items():
        path = out / f"{stem}.parquet"
        writing.write_table(edit(pd.read_parquet(path)), path)
    return results.read(out)


def small(**more) -> Plan:
    return Plan(factors=SMALL, winner=LARGE, items=200, trials=4, accuracy={("backbone", "small"): 0.6}, **more)


def lucky(*seeds: int):
    """The winner's models of these seeds are right on every image."""

    def edit(t: pd.DataFrame) -> pd.DataFrame:
        trials = [f"confirm-{5 + seed:03d}" for seed in seeds]  # the settings' trials follow each other, six each
        return t.assign(predicted=t["predicted"].mask(t["trial"].isin(trials), t["label"]))

    return edit


def test_the_winner_does_not_differ_from_itself(tmp_path):
    study = studied(tmp_path, small(seeds=6))
    control = negative_control(study, settings(study))
    assert control is not None
    assert (control["seeds_a"], control["seeds_b"]) == ([1, 2, 3], [4, 5, 6])
    assert (control["verdict"], control["passed"]) == ("too few seeds", True)
    assert control["low"] < 0 < control["high"]
    assert "no difference was found" in control_sentence(study, settings(study))


def test_an_odd_seed_is_left_out(tmp_path):
    study = studied(tmp_path, small(seeds=7))
    control = negative_control(study, settings(study))
    assert control is not None
    assert (control["seeds_a"], control["seeds_b"]) == ([1, 2, 3], [4, 5, 6])


def test_a_difference_where_none_can_be_is_named(tmp_path):
    study = studied(tmp_path, small(seeds=6), predictions=lucky(1, 2, 3))
    control = negative_control(study, settings(study))
    assert control is not None
    assert (control["verdict"], control["passed"]) == ("a", False)
    section = control_section(study, settings(study))
    assert section is not None
    assert "a difference was found where there is none" in section.paragraphs[0]


def test_five_seeds_have_no_control_and_say_so(tmp_path):
    study = studied(tmp_path, small())
    assert negative_control(study, settings(study)) is None
    assert "takes 6 seeds, 3 against 3; it has 5" in control_sentence(study, settings(study))


def test_nothing_is_said_before_the_test_fold_is_opened(tmp_path):
    study = studied(tmp_path, small(seeds=6), predictions=lambda t: t.head(0))
    assert negative_control(study, settings(study)) is None
    assert control_section(study, settings(study)) is None


def with_control(tmp_path, first: int) -> results.Results:
    """The winner's seeds from `first` on are a second confirmation of it; the other setting has none."""
    out = fabricate(tmp_path / "study", small(seeds=10))
    trials, seen = (pd.read_parquet(out / name) for name in (results.TRIALS_FILE, results.PREDICTIONS_FILE))
    late = trials[(trials["phase"] == "confirm") & (trials["seed"] >= first)]
    again = seen[seen["fold"] == "test"].merge(late.loc[late["backbone"] == "large", ["trial", "arm", "seed"]])
    writing.write_table(again[list(results.CONTROL_COLUMNS)], out / results.CONTROL_FILE)
    for frame, name in ((trials, results.TRIALS_FILE), (seen, results.PREDICTIONS_FILE)):
        writing.write_table(frame[~frame["trial"].isin(late["trial"])], out / name)
    return results.read(out)


def test_a_second_confirmation_is_the_control_and_no_part_of_the_answers(tmp_path):
    study = with_control(tmp_path, 6)
    control = negative_control(study, settings(study))
    assert control is not None
    assert (control["seeds_a"], control["seeds_b"]) == ([1, 2, 3, 4, 5], [6, 7, 8, 9, 10])
    assert control["passed"]
    answered = answers(study)
    assert answered["verdict"].tolist() == ["b"]
    assert answered["seeds"].tolist() == [5]


@pytest.mark.parametrize("first", [3, 9])
def test_too_short_a_second_confirmation_is_no_control(tmp_path, first):
    study = with_control(tmp_path, first)
    assert negative_control(study, settings(study)) is None
