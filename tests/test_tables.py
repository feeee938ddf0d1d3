import numpy as np
import pandas as pd
import pytest

from analysis.confirmed import images, tables
from analysis.confirmed.settings import name, settings
from analysis.findings.generalization import band, curves, generalization
from analysis.layout.text import duration, number, percent, plain, points, slug
from study import results, writing
from tests.fabricated import Plan, fabricate, rewrite


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    return results.read(fabricate(tmp_path_factory.mktemp("tables"), Plan(accuracy={("backbone", "small"): 0.7})))


def test_comparison_by_hand(tmp_path):
    """Two levels, four search trials; one of the worse level was stopped after epoch 1."""
    plan = Plan(factors={"f": ["x", "y"]}, winner={"f": "y"}, trials=4, epochs=2, seeds=3, items=40)
    fabricate(tmp_path, plan)
    seen = {"search-000": [0.1, 0.5], "search-001": [0.2, 0.6], "search-002": [0.3], "search-003": [0.9, 0.8]}
    rows = [(trial, k + 1, value) for trial, values in seen.items() for k, value in enumerate(values)]
    epochs = pd.DataFrame(rows, columns=["trial", "epoch", "val_accuracy"]).reindex(
        columns=list(results.EPOCHS_COLUMNS)
    )
    writing.write_table(epochs, tmp_path / results.EPOCHS_FILE)
    ran = {trial: len(values) for trial, values in seen.items()}
    rewrite(tmp_path, "trials", lambda t: t.assign(epochs_run=t["trial"].map(ran).fillna(2)))
    read = results.read(tmp_path)
    assert tables.common_rung(read, "f") == 2
    table = tables.comparison(read, settings(read), "f").set_index("level")
    assert table["trials"].tolist() == [2, 2]
    assert table["search_best"].tolist() == [0.5, 0.9]
    assert table["search_median"].tolist() == pytest.approx([0.4, 0.75])
    assert table["epochs"].tolist() == [3, 4]
    assert table["winner"].sum() == 1


def test_levels_are_read_at_the_deepest_epoch_that_all_reached(tmp_path):
    fabricate(tmp_path, Plan(factors={"f": ["x", "y"]}, winner={"f": "y"}, trials=2, epochs=3, seeds=3, items=40))
    rows = [("search-000", 1, 0.5), ("search-001", 1, 0.4), ("search-001", 2, 0.9), ("search-001", 3, 0.8)]
    epochs = pd.DataFrame(rows, columns=["trial", "epoch", "val_accuracy"])
    epochs = epochs.reindex(columns=list(results.EPOCHS_COLUMNS))
    writing.write_table(epochs, tmp_path / results.EPOCHS_FILE)
    rewrite(tmp_path, "trials", lambda t: t.assign(epochs_run=t["trial"].map({"search-000": 1}).fillna(3)))
    read = results.read(tmp_path)
    assert tables.common_rung(read, "f") == 1
    assert tables.comparison(read, settings(read), "f")["search_best"].tolist() == [0.5, 0.4]


def test_refined_best_counts_settings_in_the_winners_company_alone(tmp_path):
    fabricate(tmp_path, Plan(trials=6, seeds=3, items=40))

    def lift(t: pd.DataFrame) -> pd.DataFrame:
        stranger = (t["phase"] == "refine") & (t["augmentation"] == "none")
        return t.assign(val_accuracy=t["val_accuracy"].mask(stranger, 0.99))

    rewrite(tmp_path, "trials", lift)
    read = results.read(tmp_path)
    assert tables.comparison(read, settings(read), "backbone")["refine_best"].max() < 0.95
    assert tables.comparison(read, settings(read), "augmentation")["refine_best"].max() == 0.99


def test_curves_carry_the_winner_first_and_bands_hold_the_mean(read):
    found = settings(read)
    drawn = curves(read, found)
    assert drawn[0].title == "the winner"
    assert sorted(curve.title for curve in drawn[1:]) == [
        "augmentation = none",
        "backbone = small",
        "regularizer = dropout",
        "regularizer = none",
    ]
    by_epoch = band(read, drawn[0])["val_accuracy"]
    assert (by_epoch["min"] <= by_epoch["mean"]).all()
    assert (by_epoch["mean"] <= by_epoch["max"]).all()
    assert len(by_epoch) == 9


def test_generalization_gap_is_train_minus_validation_at_the_best_epoch(read):
    found = settings(read)
    table = generalization(read, found).set_index("setting")
    gap = float(table["gap"]["backbone = small"])
    setting = next(one for one in found if name(one, found) == "backbone = small")
    at_best = read.epochs[read.epochs["trial"].isin(setting.trials["trial"]) & (read.epochs["epoch"] == 8)]
    assert gap == pytest.approx((at_best["train_accuracy"] - at_best["val_accuracy"]).mean())


def test_baselines_come_from_the_training_pool(tmp_path):
    fabricate(tmp_path, Plan(classes=("ant", "bee"), items=10, trials=4, seeds=3))
    edit = lambda t: t.assign(label=((t["fold"] == "pool") | t["item"].isin([7, 8, 9])).astype(int))  # noqa: E731
    rewrite(tmp_path, "manifest", edit)  # bees alone in the pool, three of them among ten on test
    read = results.read(tmp_path)
    assert images.baselines(read) == (0.5, pytest.approx(0.3))


def test_dropped_files_and_duplicates_are_counted(read):
    assert images.dropped(read).to_numpy().tolist() == [["truncated file", 2], ["not an image", 1]]
    twice = images.duplicates(read)
    assert twice[["files", "labels", "folds"]].to_numpy().tolist() == [[2, 2, 1]]
    assert images.folds(read).to_numpy().tolist() == [["pool", 400], ["test", 200], ["val", 100]]


def test_trials_and_failures_are_counted(read):
    counts = tables.overview(read).set_index(["phase", "status"])["trials"]
    assert counts["search", "failed"] == 1
    assert counts["confirm", "completed"] == 25
    assert counts.sum() == len(read.trials)
    assert tables.failures(read).to_numpy().tolist() == [["ValueError: loss is not finite", 1]]


def test_how_numbers_and_names_are_said():
    assert [number(x) for x in (3, 1234567.0, 0.12345, np.nan)] == ["3", "1,234,567", "0.123", "–"]
    assert [percent(x) for x in (0.9126, np.nan)] == ["91.3%", "–"]
    assert [points(x) for x in (0.012, -0.012)] == ["1.2", "−1.2"]
    assert [duration(x) for x in (4.0, 600, 7200, None)] == ["4 s", "10 min", "2.0 h", "–"]
    assert plain("a\nb\x07\u202e\ud800c") == "a b c"
    assert slug("A  b/../c") == "a-b-c"


def test_the_pareto_front_by_hand(tmp_path):
    fabricate(tmp_path, Plan(factors={"f": ["x", "y"]}, winner={"f": "y"}, trials=5, epochs=1, seeds=3, items=40))
    seconds, accuracies = [4.0, 1.0, 2.0, 3.0, 3.0], [0.9, 0.5, 0.4, 0.7, 0.6]

    def measured(t: pd.DataFrame) -> pd.DataFrame:
        search = t["phase"] == "search"
        t.loc[search, "seconds"], t.loc[search, "val_accuracy"] = seconds, accuracies
        return t

    rewrite(tmp_path, "trials", measured)
    front = tables.pareto(results.read(tmp_path))
    assert front["seconds"].tolist() == [1.0, 3.0, 4.0]
    assert front["val_accuracy"].tolist() == [0.5, 0.7, 0.9]


def test_the_time_of_a_levels_trial_is_a_median(tmp_path):
    fabricate(tmp_path, Plan(factors={"f": ["x", "y"]}, winner={"f": "y"}, trials=4, epochs=1, seeds=3, items=40))

    def timed(t: pd.DataFrame) -> pd.DataFrame:
        mine = (t["f"] == "x") & (t["status"] == "completed")
        t.loc[mine, "seconds"] = 1.0
        t.loc[mine.idxmax(), "seconds"] = 100.0  # who came first computed what the others read
        return t

    rewrite(tmp_path, "trials", timed)
    read = results.read(tmp_path)
    assert tables.comparison(read, settings(read), "f").set_index("level")["trial_seconds"]["x"] == 1.0
