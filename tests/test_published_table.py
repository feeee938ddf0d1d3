from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from analysis import report
from analysis.confirmed.outputs import outputs
from analysis.findings.caveats import caveats_section
from analysis.findings.published import published, published_section
from analysis.statistics import inference
from study import results, writing
from tests.fabricated import Plan, fabricate, rewrite

ROWS: list[dict[str, object]] = [
    {
        "name": "ResNet-18, frozen",
        "config": {"backbone": "resnet18", "unfreeze": "head"},
        "metric": "accuracy",
        "fold": "validation",
        "value": 0.6478,
        "n": 2044,
        "source": "a project",
        "differs": ["chosen on the fold it reports", "another split"],
    },
    {"name": "ResNet-34", "metric": "accuracy", "fold": "validation", "value": 0.6699, "n": None},
    {"name": "ensemble", "metric": "log-loss", "fold": "leaderboard", "value": 0.305, "differs": []},
    {"name": "not tried", "metric": "accuracy", "fold": "test", "value": 0.9907, "n": 3750},
]
RUN = {"ResNet-18, frozen": (0.8, 1), "ResNet-34": (0.9, 3), "ensemble": (0.9, 3)}
PLAN = Plan({"f": ["x", "y"]}, {"f": "y"}, items=60, seeds=3, trials=4, published=RUN, extra={"published": ROWS})


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fabricate(tmp_path_factory.mktemp("published"), PLAN)


@pytest.fixture(scope="module")
def frame(out: Path) -> pd.DataFrame:
    read = results.read(out, logits=True)
    return published(read, outputs(read)).set_index("name")


def row_of(frame: pd.DataFrame, name: str) -> pd.Series:
    rows = frame[frame.index == name]
    assert len(rows) == 1
    return rows.iloc[0]


def correct(out: Path, name: str) -> NDArray[np.float64]:
    trials = pd.read_parquet(out / results.TRIALS_FILE)
    seen = pd.read_parquet(out / results.PREDICTIONS_FILE)
    seen = seen[seen["trial"].isin(trials[trials["published"] == name]["trial"]) & (seen["fold"] == "test")]
    right = seen.assign(right=(seen["label"] == seen["predicted"]).astype(float))
    return right.pivot(index="trial", columns="item", values="right").to_numpy(float)


def test_one_seed_has_wilsons_interval(out: Path, frame: pd.DataFrame) -> None:
    row, right = row_of(frame, "ResNet-18, frozen"), correct(out, "ResNet-18, frozen")
    assert right.shape == (1, 60)
    assert row[["low", "high"]].tolist() == pytest.approx(inference.wilson(right.sum(), 60))
    assert row["difference"] == pytest.approx(right.mean() - 0.6478)
    assert row[["published_low", "published_high"]].tolist() == pytest.approx(inference.wilson(0.6478 * 2044, 2044))
    assert row["differs"] == "chosen on the fold it reports; another split"


def test_what_differs_is_read_from_the_trials_themselves(tmp_path: Path) -> None:
    """What the trials have otherwise than a row's configuration, before what is declared to differ."""
    config = {"size": 224, "epochs": 30, "weights": "pretrained", "f": "y", "depth": 3}
    row = ROWS[1] | {"config": config, "differs": ["another split"]}
    plan = replace(PLAN, extra={"published": [row], "fixed": {"size": 128, "batch_size": 64}})
    fabricate(tmp_path, plan)
    rewrite(tmp_path, "trials", lambda t: t[t["phase"] == "published"].assign(epochs=1, weights="none"))
    read = results.read(tmp_path, logits=True)
    (differs,) = published(read, outputs(read))["differs"]
    assert differs == "epochs 1 instead of 30; weights none instead of pretrained; another split"
    held = next(one for one in caveats_section(read, []).points if "fixed values" in one)
    assert held == "All results hold for these fixed values: size 224, batch_size 64, epochs 1, weights none."
    rewrite(tmp_path, "trials", lambda t: t.assign(size=[224, *[64] * (len(t) - 1)]))
    held = next(one for one in caveats_section(results.read(tmp_path), []).points if "fixed values" in one)
    assert held.endswith("Declared as fixed but varied: size 224, 64.")


def test_several_seeds_are_a_mean_with_its_interval(out: Path, frame: pd.DataFrame) -> None:
    row, right = row_of(frame, "ResNet-34"), correct(out, "ResNet-34")
    assert (row["seeds"], row["test_n"]) == (3, 60)
    assert row["measured"] == pytest.approx(right.mean())
    assert row[["low", "high"]].tolist() == pytest.approx(inference.accuracy_interval(right, np.arange(60)))
    assert np.isnan(row["published_low"])


def test_a_loss_is_measured_as_one(out: Path, frame: pd.DataFrame) -> None:
    trials = pd.read_parquet(out / results.TRIALS_FILE)
    seen = pd.read_parquet(out / results.PREDICTIONS_FILE)
    seen = seen[seen["trial"].isin(trials[trials["published"] == "ensemble"]["trial"]) & (seen["fold"] == "test")]
    row = row_of(frame, "ensemble")
    assert row["measured"] == pytest.approx(seen["cross_entropy"].mean(), abs=1e-3)
    assert row["low"] < row["measured"] < row["high"]


def test_what_was_not_run_says_so(frame: pd.DataFrame) -> None:
    row = row_of(frame, "not tried")
    assert row["state"] == "not run"
    assert np.isnan(row["measured"])


def test_published_trials_are_no_candidates_for_the_winner(out: Path) -> None:
    report.build(out)
    text = (out / results.REPORT_MARKDOWN).read_text()
    assert "3 of 4 published numbers were reproduced" in text
    assert "| not tried | accuracy | 99.1% (98.7 to 99.3) | test, n\u00a0=\u00a03,750 | – | not run |" in text
    assert "Recommended setting: f y." in text
    assert (out / results.TABLES_FOLDER / "published.csv").exists()


def test_a_search_shows_what_there_is_to_compare_with(tmp_path: Path) -> None:
    fabricate(tmp_path, replace(PLAN, published={}))
    path = tmp_path / results.TRIALS_FILE
    writing.write_table(pd.read_parquet(path).assign(published=None), path)
    read = results.read(tmp_path, logits=True)
    section = published_section(read, outputs(read), "")
    assert section is not None
    assert section.paragraphs[0].startswith("None of the 4 published numbers ")
    assert set(section.tables[0].frame["state"]) == {"not run"}


def test_an_older_study_has_no_section(tmp_path: Path) -> None:
    plan = replace(PLAN, published={})
    read = results.read(fabricate(tmp_path, plan), logits=True)
    assert published_section(read, outputs(read), "") is None


def test_published_trials_alone_make_a_report(tmp_path: Path) -> None:
    fabricate(tmp_path, PLAN)
    path = tmp_path / results.TRIALS_FILE
    writing.write_table(pd.read_parquet(path).query("phase == 'published'"), path)
    report.build(tmp_path)
    text = (tmp_path / results.REPORT_MARKDOWN).read_text()
    assert "Only published configurations were run, without a search" in text
    assert "\n## Published results\n" in text
    assert "\n## f\n" not in text
    assert (tmp_path / "figures" / "learning-00-resnet-18-frozen.svg").exists()


def test_a_row_without_a_value_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = replace(PLAN, extra={"published": [{"name": "x"}]})
    assert report.main([str(fabricate(tmp_path, plan))]) == 2
    said = capsys.readouterr().err
    assert "must be an object with at least a name and a value" in said
    assert said.count("\n") == 1
