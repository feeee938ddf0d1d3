import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from analysis.confirmed.outputs import outputs
from analysis.confirmed.settings import settings
from analysis.findings.metrics import metrics_section, metrics_table
from analysis.layout.page import Section
from analysis.layout.text import percent
from analysis.statistics import calibration
from study import results, writing
from tests.fabricated import Plan, fabricate
from trainables.metrics import fit_temperature, log_loss, log_softmax

# Nine in ten is claimed, three in four are right: dividing the logits by two claims three in four.
CLAIMED, TRUE = 0.9, 0.75
LABELS = np.array([0, 0, 0, 1])
LOG_P = np.log(np.array([[CLAIMED, 1 - CLAIMED]] * 4))
RAW = -(TRUE * math.log(CLAIMED) + (1 - TRUE) * math.log(1 - CLAIMED))
SCALED = -(TRUE * math.log(TRUE) + (1 - TRUE) * math.log(1 - TRUE))


def test_the_temperature_by_hand() -> None:
    t = fit_temperature(LOG_P, LABELS)
    assert t == pytest.approx(2, rel=1e-3)  # log(0.9 / 0.1) / T = log(0.75 / 0.25)
    assert log_loss(LABELS, calibration.tempered(LOG_P, t)) == pytest.approx(SCALED)


def test_a_planted_temperature_is_found() -> None:
    rng = np.random.default_rng(5)
    logits = 2 * rng.normal(size=(20_000, 5))
    p = np.exp(log_softmax(logits))
    labels = (rng.uniform(size=(20_000, 1)) > p.cumsum(axis=1)[:, :-1]).sum(axis=1)
    assert fit_temperature(log_softmax(3 * logits), labels) == pytest.approx(3, rel=0.05)


def test_calibration_error_and_brier_by_hand() -> None:
    confidence, right = np.exp(LOG_P.max(axis=1)), LABELS == 0
    everything = calibration.equal_width(confidence)
    assert calibration.calibration_error(confidence, right, everything) == pytest.approx(CLAIMED - TRUE)
    assert calibration.brier(LABELS, LOG_P) == pytest.approx(TRUE * 0.02 + (1 - TRUE) * 1.62)
    two = np.array([0, 0, 1, 1])  # (1.8 - 2) / 4 and (1.8 - 1) / 4
    assert calibration.calibration_error(confidence, right, two) == pytest.approx(0.05 + 0.2)


def test_bins() -> None:
    assert calibration.equal_width(np.array([0.0, 1 / 15, 0.07, 0.5, 1.0])).tolist() == [0, 0, 1, 7, 14]
    rng = np.random.default_rng(1)
    index = calibration.equal_mass(confidence := rng.uniform(size=45))
    assert np.bincount(index).tolist() == [3] * 15
    assert confidence[index == 0].max() < confidence[index == 14].min()


def test_reliability_holds_bins_with_images_alone() -> None:
    bins = calibration.reliability(np.array([0.95, 0.95, 0.5]), np.array([True, False, True]))
    assert bins[["pictures", "confidence", "right"]].to_numpy().tolist() == [[1, 0.5, 1], [2, 0.95, 0.5]]


def study(tmp_path: Path, right: Callable[[NDArray[np.int64]], NDArray[np.bool_]]) -> results.Results:
    """A study of two classes whose models claim 0.9 throughout; `right(item)` says where they are right."""
    fabricate(tmp_path, Plan({"f": ["x", "y"]}, {"f": "y"}, classes=("ant", "bee"), items=40, seeds=3, trials=4))
    path = tmp_path / results.PREDICTIONS_FILE
    frame = pd.read_parquet(path)
    predicted = np.where(right(frame["item"].to_numpy()), frame["label"], 1 - frame["label"])
    logits = [np.float16(math.log(9) * np.eye(2)[one]) for one in predicted]
    writing.write_table(frame.assign(predicted=predicted, logits=logits), path)
    return results.read(tmp_path, logits=True)


def test_what_the_loss_is_made_of_by_hand(tmp_path: Path) -> None:
    read = study(tmp_path, lambda item: item % 4 != 0)
    found = settings(read)
    table = metrics_table(found, outputs(read))
    assert table["fold"].tolist() == ["test", "test", "val", "val"]
    row = table.iloc[0]
    assert row["setting"].endswith("(the winner)")
    assert row["accuracy"] == TRUE
    assert row["log_loss"] == pytest.approx(RAW, abs=1e-3)
    assert row["temperature"] == pytest.approx(2, abs=0.01)
    assert row["log_loss_scaled"] == pytest.approx(SCALED, abs=1e-3)
    # The 15 bins hold 3, 3 and 2 images of every 8 in the order of the items, of which the first and the fifth are
    # wrong: right minus claimed is 2 - 3 * 0.9, 2 - 3 * 0.9 and 2 - 2 * 0.9 at T = 1, with 0.75 for 0.9 at T = 2.
    assert row["ece"] == pytest.approx((0.7 + 0.7 + 0.2) / 8, abs=1e-3)
    assert row["ece_scaled"] == pytest.approx((0.25 + 0.25 + 0.5) / 8, abs=1e-3)
    assert row["brier"] == pytest.approx(TRUE * 0.02 + (1 - TRUE) * 1.62, abs=1e-3)
    assert table["temperature"].iloc[2:].isna().all(), "a temperature is fitted on validation and judged on test"
    said = section(read).paragraphs[0]
    assert "cross-entropy on test is 0.655 (chance, ln 2: 0.693)." in said
    assert (
        f"Of this, 0.092 ({percent(0.1406)}) is overconfidence: temperature scaling with T = 2.00 lowers it to 0.562."
        in said
    )
    assert "Training adds a weight penalty of 0.010;" in said
    assert "would show 0.665." in said


def section(read: results.Results) -> Section:
    shown = metrics_section(read, settings(read), outputs(read), "")
    assert shown is not None
    return shown


def test_a_validation_without_errors_fits_no_temperature(tmp_path: Path) -> None:
    read = study(tmp_path, lambda item: (item % 4 != 0) | (item >= 40))  # validation follows the 40 test images
    row = metrics_table(settings(read), outputs(read)).iloc[0]
    assert row["temperature"] == 1
    assert row["log_loss_scaled"] == row["log_loss"]
    assert "No temperature was fitted" in section(read).paragraphs[0]


def test_models_surer_than_they_should_be_are_found(tmp_path: Path) -> None:
    plan = Plan(items=400, seeds=3, trials=6, base=0.7)
    even, sure = (
        results.read(fabricate(tmp_path / str(s), replace(plan, sharpness=s)), logits=True) for s in (1.0, 3.0)
    )
    rows = [metrics_table(settings(read), outputs(read)).iloc[0] for read in (even, sure)]
    assert rows[1]["temperature"] == pytest.approx(3 * rows[0]["temperature"], rel=0.02)
    assert rows[1]["log_loss_scaled"] == pytest.approx(rows[0]["log_loss_scaled"], rel=0.01)
    assert rows[1]["accuracy"] == rows[0]["accuracy"]
