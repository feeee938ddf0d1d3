"""What other viewers are given, read back as they read it."""

import json
from pathlib import Path

import optuna
import pandas as pd
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from analysis import export_csv, export_deepcave, export_optuna
from analysis.hyperparameters import Choice, Interval, space, values
from study import results, writing
from study.results import Results
from tests.fabricated import Plan, fabricate
from tests.test_architecture import loaded_by

NUISANCES = {
    "learning_rate": {"low": 1e-4, "high": 1e-1, "log": True, "when": None},
    "l2": {"low": 1e-6, "high": 1e-2, "log": True, "when": {"regularizer": "l2"}},
}
METRIC = "metric:val_accuracy [0; 1] (maximize)"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A strength that exists under its level alone, a rate beyond the declared range, levels that look like numbers."""
    plan = Plan(
        factors={"depth": [96, "none"], "regularizer": ["none", "l2"]},
        winner={"depth": 96, "regularizer": "l2"},
        extra={"nuisances": NUISANCES},
    )
    folder = fabricate(tmp_path_factory.mktemp("exported") / "out", plan)
    trials = pd.read_parquet(folder / results.TRIALS_FILE)
    trials["l2"] = trials["regularizer"].map({"l2": 1e-4})
    trials.loc[:1, "learning_rate"] = [0.5, 1e-3]
    trials.loc[1, "depth"] = None
    writing.write_table(trials, folder / results.TRIALS_FILE)
    return folder


@pytest.fixture(scope="module")
def read(out: Path) -> Results:
    return results.read(out)


def row_of(read: Results, trial: str) -> dict:
    return read.trials[read.trials["trial"] == trial].iloc[0].to_dict()


def test_the_space_holds_every_value_and_a_trial_only_what_exists_in_it(read: Results) -> None:
    found = space(read)
    assert found["depth"] == Choice(("96", "none"))
    assert found["learning_rate"] == Interval(1e-4, 0.5, True)
    assert found["l2"] == Interval(1e-6, 1e-2, True)
    assert values(found, row_of(read, "search-000")) == {"depth": "96", "regularizer": "none", "learning_rate": 0.5}
    second = {"regularizer": "l2", "learning_rate": 1e-3, "l2": 1e-4}
    assert values(found, row_of(read, "search-001")) == second


def test_optuna_finds_every_trial_of_each_phase(out: Path, read: Results) -> None:
    assert export_optuna.main([str(out)]) == 0
    storage = JournalStorage(JournalFileBackend(str(out / export_optuna.FILE)))
    for phase in ("search", "refine", "confirm"):
        study = optuna.load_study(study_name=f"fabricated: {phase}", storage=storage)
        mine = read.trials[read.trials["phase"] == phase]
        assert [trial.user_attrs["trial"] for trial in study.trials] == mine["trial"].tolist()
        assert {trial.user_attrs["phase"] for trial in study.trials} == {phase}
    study = optuna.load_study(study_name="fabricated: search", storage=storage)
    best = read.trials[read.trials["phase"] == "search"].query("status == 'completed'")["val_accuracy"].max()
    assert study.best_value == pytest.approx(best)
    assert study.metric_names == ["val_accuracy"]


def test_optuna_hears_how_a_trial_ended_and_what_it_reached(read: Results) -> None:
    frozen = {trial.user_attrs["trial"]: trial for trial in export_optuna.frozen_trials(read, "search")}
    failed, stopped, first = frozen["search-005"], frozen["search-001"], frozen["search-000"]
    assert (failed.state, failed.value) == (TrialState.FAIL, None)
    assert failed.user_attrs["error"].startswith("ValueError")
    assert stopped.state == TrialState.PRUNED
    assert sorted(stopped.intermediate_values) == [1, 2, 3]
    curve = read.epochs[read.epochs["trial"] == "search-000"].set_index("epoch")["val_accuracy"].to_dict()
    assert first.intermediate_values == curve
    assert first.duration is not None
    assert first.duration.total_seconds() == row_of(read, "search-000")["seconds"]


def test_optuna_is_told_when_less_is_better(tmp_path: Path) -> None:
    folder = fabricate(tmp_path / "out", Plan(trials=4, extra={"metric": "val_log_loss"}))
    trials = pd.read_parquet(folder / results.TRIALS_FILE)
    writing.write_table(trials.assign(val_metric=1 - trials["val_accuracy"]), folder / results.TRIALS_FILE)
    assert export_optuna.main([str(folder)]) == 0
    storage = JournalStorage(JournalFileBackend(str(folder / export_optuna.FILE)))
    study = optuna.load_study(study_name="fabricated: search", storage=storage)
    assert study.best_value == pytest.approx(1 - trials[trials["phase"] == "search"]["val_accuracy"].max())


def test_deepcave_gets_a_row_for_each_budget_a_trial_reached(out: Path, read: Results) -> None:
    assert export_deepcave.main([str(out)]) == 0
    rows = pd.read_csv(out / "deepcave" / "search" / "trials.csv")
    assert set(rows["budget"]) == {3, 9}  # stopped after 3 of 9 epochs
    mine = rows[rows["trial"] == "search-000"].set_index("budget")[METRIC]
    curve = read.epochs[read.epochs["trial"] == "search-000"].set_index("epoch")["val_accuracy"]
    assert mine.to_dict() == pytest.approx({3: curve[curve.index <= 3].max(), 9: curve.max()})
    assert rows[rows["trial"] == "search-001"]["budget"].tolist() == [3]
    failed = rows[rows["trial"] == "search-005"].iloc[0]
    assert (failed["status"], pd.isna(failed[METRIC])) == ("crashed", True)


def test_deepcave_gets_a_space_in_which_every_row_lies(out: Path) -> None:
    for folder in export_deepcave.export(results.read(out), out / "deepcave"):
        rows = pd.read_csv(folder / "trials.csv")
        for one in pd.read_csv(folder / "configspace.csv").to_dict("records"):
            if one["type"] == "categorical":
                items = {one[name] for name in one if str(name).startswith("item_")}
                assert set(rows[one["name"]]) <= items
            else:
                assert rows[one["name"]].between(one["lower"], one["upper"]).all()
    # 96 would come back as a number, beside text as another text: so it says its factor.
    assert set(pd.read_csv(out / "deepcave" / "search" / "trials.csv")["depth"]) == {
        "depth 96",
        "depth none",
        "depth absent",
    }


def test_csv_holds_both_tables_and_runs_nothing_in_a_spreadsheet(tmp_path: Path) -> None:
    plan = Plan(factors={"=cmd()": ["a", "=b"]}, winner={"=cmd()": "a"})
    out = fabricate(tmp_path / "out", plan)
    assert export_csv.main([str(out), str(tmp_path / "csv")]) == 0
    read = results.read(out)
    trials, epochs = (pd.read_csv(tmp_path / "csv" / f"{name}.csv") for name in ("trials", "epochs"))
    assert trials["trial"].tolist() == read.trials["trial"].tolist()
    assert set(trials["'=cmd()"]) == {"a", "'=b"}
    assert epochs["val_accuracy"].tolist() == pytest.approx(read.epochs["val_accuracy"].tolist())


@pytest.mark.parametrize("export", [export_csv, export_deepcave, export_optuna])
def test_a_folder_that_is_no_study_is_one_line(export: object, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert export.main([str(tmp_path / "none")]) == 2  # type: ignore[attr-defined]
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "No folder" in said


@pytest.mark.parametrize("export", [export_csv, export_deepcave, export_optuna])
def test_a_study_without_nuisances_or_epochs_is_exported(export: object, tmp_path: Path) -> None:
    out = fabricate(tmp_path / "out", Plan(trials=3, extra={"nuisances": None}))
    (out / results.EPOCHS_FILE).unlink()
    (out / results.PREDICTIONS_FILE).unlink()
    assert export.main([str(out)]) == 0  # type: ignore[attr-defined]


def test_an_export_loads_neither_torch_nor_ray(tmp_path: Path) -> None:
    code = "import analysis.export_csv, analysis.export_deepcave, analysis.export_optuna"
    assert loaded_by(code, tmp_path) == {"optuna"}


def test_the_journal_is_lines_of_json(out: Path) -> None:
    assert export_optuna.main([str(out)]) == 0
    lines = (out / export_optuna.FILE).read_text().splitlines()
    assert all(isinstance(json.loads(line), dict) for line in lines)
