"""The replays of whole studies on a table, here one that is made up: what is best in it is known."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.benchmarks.truth import DECISIONS, Table, Training, narrowed, replay, summary
from tests.benchmarks.truth_table import STUDY, cells

SEEDS, IMAGES = 10, 200
BEST_RATE = -1.5  # log10 of the learning rate


def made_up(merits: Mapping[str, float]) -> Table:
    """A table whose settings differ in the given levels alone; learning rates count by their distance from the best."""
    random = np.random.default_rng(0)
    difficulty = random.normal(size=IMAGES)
    trainings = {}
    for cell in cells(STUDY):
        merit = 1.0 + sum(merits.get(level, 0.0) for level in cell.factors.values())
        merit -= 0.5 * (np.log10(cell.nuisances["learning_rate"]) - BEST_RATE) ** 2
        by_seed = []
        for right in merit + difficulty + 0.2 * random.normal(size=(SEEDS, IMAGES)) > 0:
            by_seed.append(Training([float(right.mean() - 0.2 / epoch) for epoch in range(1, 5)], right))
        trainings[json.dumps(cell.factors), tuple(cell.nuisances.values())] = by_seed
    return Table(trainings, SEEDS, IMAGES)


@pytest.fixture(scope="module")
def table() -> Table:
    return made_up({"tf_efficientnet_lite1": 1.5})


def test_what_is_plainly_best_is_recommended_and_costs_what_the_plan_says(table: Table, tmp_path: Path) -> None:
    outcome = replay(table, STUDY, 0, tmp_path)
    # Around the winner's setting: itself, two more backbones, two more regularizers and one more augmentation.
    assert outcome["search"] + outcome["refine"] + outcome["confirm"] == outcome["models"]
    assert (outcome["search"], outcome["refine"] % 2, outcome["confirm"] % 5) == (8, 0, 0)
    assert outcome["models"] >= 8 + 6 * 4 + 6 * 5
    assert 0 <= outcome["below the best"] <= STUDY.margin
    assert outcome["decided"] >= 2  # the best backbone against both others
    assert outcome["decided"] + outcome["more seeds"] + outcome["more images"] + outcome["refused"] == 7
    assert outcome["false"] == 0
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_refused_where_ranges_end_before_the_best_value(table: Table, tmp_path: Path) -> None:
    outcomes = [replay(table, narrowed(STUDY), number, tmp_path) for number in range(3)]
    assert any(outcome["decisions: widen"] for outcome in outcomes)
    assert not any(outcome["refused"] for outcome in outcomes)


def test_a_replay_is_drawn_by_its_number(table: Table, tmp_path: Path) -> None:
    first, again, other = (replay(table, STUDY, number, tmp_path) for number in (2, 2, 3))
    assert first == again
    assert first != other


def test_a_summary_by_hand() -> None:
    zeros = ("more seeds", "more images", "false", *(f"decisions: {kind}" for kind in DECISIONS))
    kinds = dict.fromkeys(zeros, 0) | dict.fromkeys(("models", "epochs", "search", "refine", "confirm"), 78)
    rows = [
        kinds | {"decided": 4, "refused": 0, "below the best": 0.0},
        kinds | {"decided": 1, "refused": 3, "below the best": 0.02},
    ]
    shares = {name: mean for name, (mean, _) in summary(pd.DataFrame(rows)).items()}
    assert shares["pairs decided"] == pytest.approx((1 + 0.25) / 2)
    assert shares["pairs refused"] == pytest.approx(0.75 / 2)
    assert shares["recommended setting is worse than the best by more than the margin"] == 0.5
    assert shares["accuracy below the best, in points"] == pytest.approx(1.0)
