"""What the analysis makes of a study whose images tested in turn: rounds for seeds, levels across their folds."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.confirmed.answers import answers
from analysis.confirmed.settings import Setting, settings, winner
from analysis.findings.caveats import caveats_section
from analysis.findings.negative_control import negative_control
from analysis.report import build
from analysis.statistics.inference import compare, crossed_mean
from study.results import Results, ResultsError, read
from tests.fabricated import WINNER, Plan, fabricate, recommend, rewrite, with_study

FOLDS, ROUNDS, ITEMS = 2, 6, 60
TRUTH: dict[tuple[str, object], float] = {("backbone", "small"): 0.6}


def test_the_correction_by_hand() -> None:
    # Two rounds of two folds of two images; fold means 1 and 0 vary by 1/2, of which the images explain nothing.
    values = np.array([[1, 1, 0, 0], [1, 1, 0, 0]])
    folds = np.array([[0, 0, 1, 1], [0, 0, 1, 1]])
    plain, corrected = crossed_mean(values, range(4)), crossed_mean(values, range(4), folds)
    assert plain.item_variance == pytest.approx(1 / 12)  # 4 deviations of a half: 1 * 4/3 / 4^2
    assert corrected.item_variance == pytest.approx(1 / 12 + 1 / 2 / (2 - 1))
    assert (plain.mean, plain.seed_variance) == (corrected.mean, corrected.seed_variance)


def test_what_the_images_of_a_fold_explain_is_not_corrected() -> None:
    values = np.array([[1, 0, 1, 0], [1, 0, 1, 0]])
    folds = np.array([[0, 0, 1, 1], [1, 1, 0, 0]])
    assert crossed_mean(values, range(4), folds) == crossed_mean(values, range(4))


def test_a_fold_of_a_single_group_says_nothing_of_its_model() -> None:
    values = np.array([[1, 1, 0, 0], [1, 1, 0, 0]])
    folds = np.array([[0, 0, 1, 1], [0, 0, 1, 1]])
    assert crossed_mean(values, [0, 0, 1, 1], folds) == crossed_mean(values, [0, 0, 1, 1])


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A fabricated study, every confirmed trial of it divided into two that tested on half of the images each."""
    out = fabricate(tmp_path / "kfold", Plan(items=ITEMS, seeds=ROUNDS, accuracy=TRUTH))
    study = json.loads((out / "study.json").read_text())
    study["budget"]["test_folds"] = FOLDS
    (out / "study.json").write_text(json.dumps(study))
    seeds = read(out).trials.set_index("trial")["seed"]
    rewrite(out, "trials", in_folds)
    rewrite(out, "epochs", lambda epochs: pd.concat([epochs, epochs.assign(trial=epochs["trial"] + "b")]))
    rewrite(out, "predictions", lambda seen: in_turn(seen, seen["trial"].map(seeds)))
    return out


def in_folds(trials: pd.DataFrame) -> pd.DataFrame:
    """A second model of every round, with a rate, and so an arm, of its own."""
    confirm = trials["phase"] == "confirm"
    first, second = trials[confirm], trials[confirm]
    first = first.assign(seed=FOLDS * (first["seed"] - 1) + 1)
    second = second.assign(seed=FOLDS * second["seed"], trial=second["trial"] + "b")
    second = second.assign(arm=second["arm"] + "b", learning_rate=2e-3)
    return pd.concat([trials[~confirm], first, second], ignore_index=True)


def in_turn(seen: pd.DataFrame, seed: pd.Series) -> pd.DataFrame:
    """Which half an image tests in changes from round to round; both models validate on the same."""
    second = (seen["item"] // 4 + seen["item"] * seed.astype(int) // 3) % 2 == 1
    test = seen["fold"] == "test"
    other = seen[second | ~test].assign(trial=seen["trial"] + "b")
    return pd.concat([seen[~(second & test)], other], ignore_index=True)


def levels(results: Results) -> dict[str, Setting]:
    return {pair[1]: setting for setting in settings(results) for pair in setting.stands_for}


def test_a_level_is_one_setting_whatever_rates_its_folds_have(out: Path) -> None:
    results = read(out)
    found = levels(results)
    assert set(found) == {"small", "large", "none", "dropout", "l2", "light"}
    for setting in found.values():
        assert setting.seeds == list(range(1, ROUNDS + 1))
        assert setting.correct.shape == (ROUNDS, ITEMS)
        assert setting.tested
        assert [len(models) for models in setting.rounds] == [FOLDS] * ROUNDS
        assert setting.trials["arm"].nunique() == FOLDS
        assert setting.folds is not None
        assert set(np.unique(setting.folds)) == {0, 1}
    cell = results.predictions.merge(results.trials[["trial", "seed"]]).query("fold == 'test'").iloc[7]
    (setting,) = [one for one in found.values() if cell["trial"] in set(one.trials["trial"])][:1]
    number, fold = divmod(int(cell["seed"]) - 1, FOLDS)
    column = setting.correct.columns.get_loc(cell["item"])
    assert setting.correct.iloc[number, column] == (cell["label"] == cell["predicted"])
    assert setting.folds is not None
    assert setting.folds[number, column] == fold


def test_levels_are_compared_over_rounds_and_all_images(out: Path) -> None:
    results = read(out)
    answered = answers(results)
    assert set(answered["seeds"]) == {ROUNDS}
    assert set(answered["items"]) == {ITEMS}
    asked = answered.query("level_a == 'small' and level_b == 'large'")
    assert asked["verdict"].tolist() == ["b"]
    a, b = levels(results)["small"], levels(results)["large"]
    expected = compare(a.correct, b.correct, np.arange(ITEMS), a.folds)
    low, high = expected.interval()
    row = asked.iloc[0]
    assert (row["difference"], row["low"], row["high"]) == pytest.approx((expected.mean, low, high))
    plain = compare(a.correct, b.correct, np.arange(ITEMS)).interval()
    assert high - low >= plain[1] - plain[0]


def test_the_recommended_setting_is_named_by_its_levels(out: Path) -> None:
    """The arm that the decision gives is that of no trial, because each fold has its own."""
    chosen = WINNER | {"backbone": "small"}
    before = winner(settings(read(out)))
    assert before is not None
    assert before.levels == WINNER
    with_study(out, decisions=[recommend(chosen)])
    best = winner(settings(read(out)))
    assert best is not None
    assert best.levels == chosen
    assert best.rounds[0][0] != before.rounds[0][0]


@pytest.mark.parametrize(("best_on_average", "refused"), [(1e-2, False), (9e-2, True)])
def test_a_range_is_judged_by_the_point_that_did_best_on_average(
    out: Path, best_on_average: float, refused: bool
) -> None:
    """Every fold of large was confirmed near the end, as its own best; another point may be best over all folds."""

    def edit(trials: pd.DataFrame) -> pd.DataFrame:
        refined, large = trials["phase"] == "refine", trials["backbone"] == "large"
        rate = trials["learning_rate"].mask((trials["phase"] == "confirm") & large, 9e-2)
        best = refined & large & (trials["learning_rate"] == 1e-2)
        rate = rate.mask(best, best_on_average)
        accuracy = trials["val_accuracy"].mask(best, 0.99)
        arm = trials["arm"].mask(refined, trials["arm"] + rate.astype(str))
        return trials.assign(learning_rate=rate, val_accuracy=accuracy, arm=arm)

    rewrite(out, "trials", edit)
    verdict = answers(read(out)).query("level_a == 'small' and level_b == 'large'")["verdict"].iloc[0]
    assert verdict.startswith("refused: large did best at nearly the highest learning_rate") == refused


def test_a_round_that_lacks_a_model_does_not_count(out: Path) -> None:
    best = winner(settings(read(out)))
    assert best is not None
    gone = best.rounds[2][1]
    rewrite(out, "trials", lambda trials: trials[trials["trial"] != gone])
    one = next(one for one in settings(read(out)) if one.levels == best.levels)
    assert one.seeds == [1, 2, 4, 5, 6]
    assert one.tested
    assert len(one.trials) == 5 * FOLDS
    verdicts = answers(read(out))["verdict"]
    assert verdicts.str.fullmatch(r"refused: unequal seeds \(.*\b1 2 4 5 6\b.*\)").any()
    build(out)


def test_two_models_of_a_round_that_test_one_image_are_refused_in_one_line(out: Path) -> None:
    def again(seen: pd.DataFrame) -> pd.DataFrame:
        pair = settings(read(out))[0].rounds[0]
        extra = seen[(seen["trial"] == pair[0]) & (seen["fold"] == "test")].head(1)
        return pd.concat([seen, extra.assign(trial=pair[1])], ignore_index=True)

    rewrite(out, "predictions", again)
    with pytest.raises(ResultsError, match=r"^predictions.parquet: two models of round 1 .* test item \d+; [^\n]*$"):
        settings(read(out))


def test_the_halves_of_the_winners_rounds_are_its_control(out: Path) -> None:
    results = read(out)
    control = negative_control(results, settings(results))
    assert control is not None
    assert (control["seeds_a"], control["seeds_b"]) == ([1, 2, 3], [4, 5, 6])


def test_the_report_says_how_it_was_tested_and_leaves_out_what_makes_no_sense(out: Path) -> None:
    build(out)
    report = (out / "report.md").read_text()
    for said in ("divided into 2 test folds", "Selection is nested", "Nadeau and Bengio", "6 seeds of 2 models each"):
        assert said in report
    assert "## Ensembles" not in report
    assert "Budget(test\\_folds=5)" not in report
    metrics = pd.read_csv(out / "tables" / "metrics.csv")
    right = settings(read(out))
    best = winner(right)
    assert best is not None
    winners = metrics[(metrics["fold"] == "test")].iloc[0]
    assert (winners["seeds"], winners["accuracy"]) == (ROUNDS, pytest.approx(best.correct.to_numpy().mean()))
    assert winners["temperature"] > 0
    classes = pd.read_csv(out / "tables" / "classes.csv")
    assert classes["support"].sum() == ITEMS


@pytest.mark.parametrize(("items", "named"), [(60, True), (1000, False)])
def test_a_small_test_fold_is_told_the_way_out(tmp_path: Path, items: int, named: bool) -> None:
    results = read(fabricate(tmp_path, Plan(items=items, trials=6, epochs=2, seeds=1)))
    assert any("--test-folds 5 tests" in point for point in caveats_section(results, []).points) == named
