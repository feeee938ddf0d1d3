"""The answers' calibration in short: what docs/calibration.md measures with more replays, from fixed seeds."""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats as scipy_stats

from analysis.statistics.inference import SEEDS_FOR_A_CLAIM, Estimate, compare
from tests.benchmarks import replay, replay_kfold, replay_model, replay_seeds, replay_studies
from tests.benchmarks.replay import ACCURACY, Cell, measure
from tests.benchmarks.replay_model import Oracle, Share, World, draw, oracle, world_of

REPLAYS = 200


def cell(seeds: int, items: int, dominates: str) -> Cell:
    return Cell(seeds, items, dominates, world_of(seeds, items, replay.RATIOS[dominates], ACCURACY))


def within(found: Share, low: float, high: float) -> bool:
    """Within the bounds but for three standard errors of the simulation."""
    error = found[1] / 1.96 * 3
    return low - error <= found[0] <= high + error


@pytest.mark.parametrize("dominates", ["seeds", "images"])
@pytest.mark.parametrize(("seeds", "items"), [(3, 150), (5, 150), (10, 150), (5, 1500)])
def test_intervals_hold_the_truth_and_are_no_wider_than_they_must(seeds, items, dominates):
    found = measure(cell(seeds, items, dominates), REPLAYS)
    assert within(found.held, 0.93, 0.975)
    assert within(found.held_effect, 0.93, 0.975)
    assert within(found.familywise, 0.0, 0.05 if seeds >= SEEDS_FOR_A_CLAIM else 0.06)
    assert within(found.width_split, 0.85, 1.15 if seeds >= SEEDS_FOR_A_CLAIM else 1.3)
    assert within(found.power_split, 0.9, 1.1)


def test_the_replay_sees_a_method_that_forgets_the_images(monkeypatch):
    def seeds_alone(a, b, groups) -> Estimate:
        e = compare(a, b, groups)
        return Estimate(e.mean, e.seed_variance, 0.0, e.seeds, e.items)

    monkeypatch.setattr(replay, "compare", seeds_alone)
    assert measure(cell(5, 150, "images"), REPLAYS).held[0] < 0.9


def test_the_replay_sees_a_method_that_forgets_the_seeds(monkeypatch):
    def pictures_alone(a, b, groups) -> Estimate:
        e = compare(a, b, groups)
        return Estimate(e.mean, 0.0, e.item_variance, e.seeds, e.items)

    monkeypatch.setattr(replay, "compare", pictures_alone)
    assert measure(cell(5, 150, "seeds"), REPLAYS).held[0] < 0.75


@pytest.mark.parametrize("correlation", [-0.5, 0.0, 0.3, 0.99])
def test_covariance_of_two_signs(correlation):
    """P(X < 0, Y < 0) = 1/4 + asin(r) / 2 pi (Sheppard 1899)."""
    assert replay_model._covariance(0, 0, correlation) == pytest.approx(
        math.asin(correlation) / (2 * math.pi), abs=1e-6
    )


@pytest.mark.parametrize("dominates", ["seeds", "images"])
def test_the_oracle_knows_how_means_spread(dominates):
    drawn = cell(3, 150, dominates)
    rng = np.random.default_rng(5)
    truth = oracle(drawn.world, 0.85, 0.75, 3, 150)
    means = [np.subtract(*draw(drawn.world, [0.85, 0.75], 3, 150, rng).mean(axis=(1, 2))) for _ in range(2000)]
    assert np.mean(means) == pytest.approx(truth.difference, abs=4 * truth.standard_error / math.sqrt(2000))
    assert np.std(means) == pytest.approx(truth.standard_error, rel=0.06)


def test_power_of_the_oracles():
    some = Oracle(difference=3.0, standard_error=1.0, df=8.0)
    least = scipy_stats.t.ppf(0.975, 8)
    assert some.power_split == pytest.approx(scipy_stats.nct.sf(least, 8, 3.0), abs=1e-3)
    assert Oracle(1.0, 1.0, 1e6).half_width_split == pytest.approx(scipy_stats.norm.ppf(0.975), rel=1e-4)


def test_a_worlds_accuracy_is_what_was_asked_for():
    right = draw(World(seed=0.1, seed_setting=0.1), [0.9, 0.6], 400, 400, np.random.default_rng(3))
    assert right.mean(axis=(1, 2)) == pytest.approx([0.9, 0.6], abs=0.05)


def test_studies_that_add_seeds_keep_their_error_rates_and_find_more():
    equal, worse = (replay_seeds.measure(150, replay.RATIOS["seeds"], effect, 150) for effect in (0.0, 1.0))
    assert within(equal.held, 0.93, 0.97)
    assert within(equal.false, 0.0, 0.05)
    assert 15 < equal.seeds[0] < 40
    assert worse.power is not None
    assert worse.power_five is not None
    assert worse.power[0] > worse.power_five[0] + 0.1


def test_whole_studies_are_replayed(tmp_path: Path):
    measured = replay_studies.measure(tmp_path, 4)
    assert len(measured) == 4
    assert all(0 <= value[0] <= 1 for each in measured.values() for value in each.values())
    worse = measured["one of three levels worse"]
    assert worse["true differences that are claimed"][0] > 0.1
    assert worse["studies that claim the wrong direction"][0] == 0


def test_the_command_writes_every_cell(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    replay.main(["--replays", "2", "--out", str(tmp_path / "tables.md")])
    text = (tmp_path / "tables.md").read_text()
    assert capsys.readouterr().out == text
    assert sum(line.startswith(("| 3 |", "| 5 |", "| 10 |")) for line in text.splitlines()) == 18
    assert sum(kind in text for kind in replay_seeds.EFFECTS) == 3


def test_test_folds_narrow_the_intervals_and_they_hold():
    found = replay_kfold.measure(150, ["alike"], 40)["alike"]
    assert within(found["test folds"].held, 0.93, 1.0)
    assert found["uncorrected"].width < found["test folds"].width < 0.6 * found["one test fold"].width
    assert found["test folds"].width < found["all folds together"].width
