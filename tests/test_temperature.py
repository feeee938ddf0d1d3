import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.confirmed.outputs import outputs
from analysis.findings.metrics import _scaled
from study import results
from study.persistence.trial_files import predictions_file
from study.products.export import write_temperature
from study.products.outputs import write_tables
from study.results import PREDICTIONS_FILE
from study.writing import write_table
from tests.finished import TRIAL, finish
from trainables.metrics import TEMPERATURES, cross_entropy, fit_temperature


def test_a_net_that_is_too_sure_of_two_classes() -> None:
    # The second class is right in 3 of 4, so its best probability is 3/4: a logit of ln 3. It was said with 2 ln 3.
    logits = np.tile([0.0, 2 * np.log(3)], (4, 1))
    labels = np.array([1, 1, 0, 1])
    assert fit_temperature(logits, labels) == pytest.approx(2, rel=1e-3)
    assert cross_entropy(logits / 2, labels) == pytest.approx(-(3 * np.log(3 / 4) + np.log(1 / 4)) / 4)


def test_a_net_that_is_not_sure_enough_gets_a_temperature_below_one() -> None:
    logits = np.tile([np.log(3) / 4, 0.0], (4, 1))
    assert fit_temperature(logits, np.array([0, 0, 0, 1])) == pytest.approx(1 / 4, rel=1e-3)


def test_a_shift_of_a_images_logits_changes_nothing() -> None:
    random = np.random.default_rng(0)
    logits, labels = random.normal(size=(50, 4)) * 3, random.integers(0, 4, 50)
    shifted = logits + random.normal(size=(50, 1)) * 10
    assert fit_temperature(shifted, labels) == pytest.approx(fit_temperature(logits, labels), rel=1e-3)


def test_without_an_error_there_is_nothing_to_learn_from() -> None:
    assert fit_temperature(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 1])) == 1.0


def test_whatever_the_logits_are_the_temperature_is_a_number_within_bounds() -> None:
    low, high = TEMPERATURES
    for scale in (1e-6, 1.0, 65504.0):
        logits = scale * np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        assert low <= fit_temperature(logits, np.array([0, 1, 1])) <= high


def test_the_report_names_the_temperature_that_ships(tmp_path: Path) -> None:
    # Confident mistakes on every second image: the best temperature lies beyond 20.
    study = finish(tmp_path)
    file = predictions_file(study.out, TRIAL)
    seen = pd.read_parquet(file)
    logits = [
        np.float16(60 * np.eye(3)[label if item % 2 else 2 - label])
        for item, label in seen[["item", "label"]].to_numpy()
    ]
    seen = seen.assign(logits=logits, predicted=[int(each.argmax()) for each in logits])
    write_table(seen, file)
    write_temperature(file, study.out / "best" / "temperature.json")
    shipped = json.loads((study.out / "best" / "temperature.json").read_text())["temperature"]
    write_table(seen, study.out / PREDICTIONS_FILE)
    write_tables(study.course)
    read = results.read(study.out, logits=True)
    _, reported = _scaled(outputs(read), TRIAL)
    assert shipped > 20
    assert reported == pytest.approx(shipped, rel=1e-3)
