"""The parts of the doubt, by hand; what more seeds and images would buy; what cannot be resolved."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t

from analysis.confirmed.settings import Setting, settings, winner
from analysis.findings import uncertainty
from analysis.statistics.inference import Estimate, smallest_effect
from study import results, writing
from tests.fabricated import Plan, fabricate

PLAN = Plan({"f": ["x", "y"]}, {"f": "y"}, {("f", "x"): 0.6}, items=150, trials=4, spread=0.03)


def read(out: Path) -> tuple[results.Results, list[Setting], Setting]:
    study = results.read(out)
    found = settings(study)
    best = winner(found)
    assert best is not None
    return study, found, best


def resolved(out: Path) -> uncertainty.Resolution:
    study, found, _ = read(out)
    resolution = uncertainty.resolution(study, found)
    assert resolution is not None
    return resolution


def test_more_seeds_and_images_by_hand() -> None:
    estimate = Estimate(0.9, seed_variance=1e-4, item_variance=4e-4, seeds=4, items=500)
    table = uncertainty.precision(estimate).set_index("what")
    more = {"as measured": (4, 500), "one more seed": (5, 500), "twice the seeds": (8, 500)}
    for what, (seeds, items) in (more | {"500 more test images": (4, 1000)}).items():
        by_seeds, by_items = 1e-4 * 4 / seeds, 4e-4 * 500 / items
        likely = (1 + np.sqrt(2 / (seeds - 1))) * by_seeds  # one standard error larger
        df = (seeds - 1) * ((likely + by_items) / likely) ** 2
        expected = t.ppf(0.975, df) * np.sqrt(by_seeds + by_items)
        row = table.loc[[what], ["seeds", "items", "half_width"]].to_numpy(float)
        assert row.tolist() == [[seeds, items, pytest.approx(expected)]]
    assert table["narrower"].tolist() == [False, True, True, True]


def test_more_images_never_seem_to_harm() -> None:
    """Where seeds dominate, fewer degrees of freedom widen the interval by more than images narrow it."""
    estimate = Estimate(0.9, seed_variance=4e-4, item_variance=4e-5, seeds=3, items=300)
    low, high = uncertainty.with_more(estimate, items=500).interval()
    table = uncertainty.precision(estimate).set_index("what")["half_width"]
    assert (high - low) / 2 > table["as measured"] == table["500 more test images"] > table["one more seed"]
    assert uncertainty.precision(estimate)["narrower"].tolist() == [False, True, True, False]


@given(st.floats(0, 1e-2), st.floats(0, 1e-2), st.floats(0, 1e-2), st.integers(3, 40), st.integers(2, 5000))
def test_what_is_called_narrower_has_a_smaller_number(
    by_seeds: float, by_items: float, least: float, seeds: int, items: int
) -> None:
    estimate = Estimate(0.9, by_seeds, by_items, seeds, items, least)
    table = uncertainty.precision(estimate)
    said = (100 * table["half_width"]).map("{:.2f}".format).astype(float)
    assert (said[table["narrower"]] < said[0]).all()


def test_what_it_would_take_is_consistent_with_the_seeds_needed() -> None:
    # At 80% power the interval's t plus that of the power: with many seeds 1.960 + 0.842 normal quantiles.
    many = Estimate(0.0, seed_variance=1e-4, item_variance=0.0, seeds=100_000, items=10)
    assert smallest_effect(many) == pytest.approx(2.802e-2, rel=1e-3)
    assert smallest_effect(Estimate(0.0, 0.0, 1e-4, 5, 10)) == pytest.approx(2.802e-2, rel=1e-3)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=9))
def test_the_best_of_n_is_the_bootstrap_without_its_simulation(values: list[float]) -> None:
    mean, deviation = uncertainty.best_of(values, values)
    drawn = np.random.default_rng(0).choice(values, size=(20_000, len(values))).max(axis=1)
    assert mean == pytest.approx(drawn.mean(), abs=0.02)
    assert deviation == pytest.approx(drawn.std(), abs=0.02)


def test_the_best_is_chosen_by_the_metric_and_valued_in_accuracy() -> None:
    # Of two: the worse ranked is the best of two draws with probability 1/4.
    assert uncertainty.best_of([2, 1], [0.5, 0.9])[0] == pytest.approx(0.75 * 0.5 + 0.25 * 0.9)
    assert np.isnan(uncertainty.best_of([1], [0.5])).all()


def test_the_sources_of_a_fabricated_study(tmp_path: Path) -> None:
    study, _, best = read(fabricate(tmp_path, PLAN))
    table = uncertainty.sources(study, best).set_index("source")
    by_seed = best.correct.to_numpy().mean(axis=1)
    assert table["standard_deviation"][uncertainty.REPEAT] == pytest.approx(by_seed.std(ddof=1))
    assert table["share"].sum() == pytest.approx(1)
    assert table["share"].notna().tolist() == [True, True, False, False]
    assert table["n"].tolist() == [5, 150, 5, 2]
    val = best.trials["val_accuracy"].var(ddof=1)
    left = max(val - by_seed.var(ddof=1), 0) ** 0.5
    assert table["standard_deviation"][uncertainty.VALIDATED] == pytest.approx(left)


def test_few_seeds_or_an_unopened_test_fold_have_no_parts(tmp_path: Path) -> None:
    study, _, best = read(fabricate(tmp_path / "two", replace(PLAN, seeds=2)))
    assert uncertainty.estimated(study, best) is None
    assert uncertainty.sources(study, best).empty
    fabricate(tmp_path / "closed", PLAN)
    (tmp_path / "closed" / results.PREDICTIONS_FILE).unlink()
    study, found, best = read(tmp_path / "closed")
    assert uncertainty.estimated(study, best) is None
    assert uncertainty.resolution(study, found) is None


def test_one_group_of_images_has_no_parts(tmp_path: Path) -> None:
    fabricate(tmp_path, PLAN)
    file = tmp_path / results.MANIFEST_FILE
    writing.write_table(pd.read_parquet(file).assign(group=1), file)
    study, found, best = read(tmp_path)
    assert uncertainty.estimated(study, best) is None
    assert uncertainty.resolution(study, found) is None


def test_resolution_shrinks_with_images_and_seeds(tmp_path: Path) -> None:
    sharp = replace(PLAN, spread=0.001)
    coarse = resolved(fabricate(tmp_path / "few", sharp))
    fine = resolved(fabricate(tmp_path / "many", replace(sharp, items=2400)))
    assert (coarse.pairs, coarse.seeds, coarse.items) == (1, 5, 150)
    assert coarse.median == coarse.least == coarse.most
    assert 0 < fine.median < coarse.median / 2


def test_whether_the_validation_images_were_renewed(tmp_path: Path) -> None:
    study, _, best = read(fabricate(tmp_path, PLAN))
    assert not uncertainty.renewed(study, best)
    seen = study.predictions
    left_out = (seen["trial"] == best.trials["trial"][0]) & (seen["fold"] == "val") & (seen["item"] % 2 == 0)
    assert uncertainty.renewed(replace(study, predictions=seen[~left_out]), best)
