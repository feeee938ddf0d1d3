"""What a study can and cannot answer, said before it starts, by the rules of the report."""

from dataclasses import replace
from typing import NamedTuple

import pandas as pd

from study.estimates.cost_inputs import CostInputs
from study.estimates.costs import estimate, wall_seconds
from study.estimates.resolution import DISAGREEMENT, planned_resolution
from study.results import MIN_SEEDS, SEEDS_FOR_A_CLAIM, metrics
from study.spec import Study
from study.writing import count
from trainables.data.splits import divide
from trainables.errors import InputError

# A test fold is small if it resolves only differences of more than this many margins.
_COARSE = 5
_TEST_FOLDS = 5  # suggested for a small test fold


class AllTested(NamedTuple):
    """The same study with test folds, in which every image is tested."""

    difference: float  # in accuracy, that it resolves
    seconds: float  # that it takes


def budget_line(study: Study) -> str:
    """Return the trials, epochs and seeds of a study that searches."""
    budget = study.budget
    parts = [count(budget.trials, "search trial"), f"at most {count(budget.epochs, 'epoch')}"]
    parts += [f"{count(budget.refine, 'refinement trial')} per level"] if study.goal == "factors" else []
    folds = f" of {budget.test_folds} test folds" if budget.test_folds else ""
    return ", ".join([*parts, f"{count(budget.seeds, 'seed')}{folds}"])


def claims_line(study: Study) -> str:
    """Return what the report will refuse to say about the levels; empty if it refuses nothing by its rules."""
    seeds = study.budget.seeds
    if study.goal == "best":
        return 'No levels will be compared: goal="best" looks for the best setting, not for a fair comparison.'
    if study.goal == "published" or seeds >= SEEDS_FOR_A_CLAIM:
        return ""
    if seeds < MIN_SEEDS:
        return (
            f"With {count(seeds, 'seed')} nothing will be compared: a comparison takes {MIN_SEEDS} seeds, and a claim "
            f"{SEEDS_FOR_A_CLAIM}."
        )
    return f"With {count(seeds, 'seed')} nothing will be claimed: a claim takes {SEEDS_FOR_A_CLAIM} seeds."


def metric_line(metric: str, study: Study) -> str:
    """Return the metric that selects epochs and settings, and why it does if the study names none.

    Args:
        metric: the one in use, such as val_accuracy.
    """
    why = "" if study.metric or metric == "val_accuracy" else ", because class sizes differ"
    best = "lowest" if metrics.signed(metric, 1.0) < 0 else "highest"
    return f"selected by: the {best} {metric} on the common validation images{why}; differences are in test accuracy"


def resolution_line(manifest: pd.DataFrame, study: Study) -> str:
    """Return the difference in accuracy that the planned seeds and test images resolve."""
    budget = study.budget
    expected = planned_resolution(manifest, budget)
    seeds = f"rounds of {budget.test_folds} models" if budget.test_folds else "seeds"
    return (
        f"{budget.seeds} {seeds} and {expected['items']} test images resolve differences of about "
        f"{_points(expected['difference'])} points "
        f"(80% power; assumes that levels disagree on {DISAGREEMENT:.0%} of the images)"
    )


def is_compared(study: Study) -> bool:
    """Return whether the report will compare levels."""
    return study.goal == "factors" and study.budget.seeds >= MIN_SEEDS


def all_tested(manifest: pd.DataFrame, study: Study, inputs: CostInputs, seed: int, test: bool) -> AllTested | None:
    """Return the resolution and the cost with test folds, if the test fold is small; None if they are impossible.

    Args:
        manifest: a table with folds.
        test: whether the user has test images of their own.
    """
    budget = study.budget
    if not is_compared(study) or study.retrain or test or budget.folds or budget.test_folds:
        return None
    if planned_resolution(manifest, budget)["difference"] <= _COARSE * study.margin:
        return None
    divided = replace(study, budget=replace(budget, test_folds=_TEST_FOLDS))
    try:
        divide(manifest, study.split_levels(), seed, official=False, test_folds=_TEST_FOLDS)
    except InputError:  # a class has too few images
        return None
    resolved = planned_resolution(manifest, divided.budget)["difference"]
    return AllTested(resolved, wall_seconds(estimate(divided, inputs), inputs.workers))


def small_test_line(manifest: pd.DataFrame, study: Study, tested: AllTested, takes: str) -> str:
    """Return how much better and how much longer it is to test on all images.

    Args:
        takes: the time, and the money if it is known, of the study with test folds.
    """
    fold = planned_resolution(manifest, study.budget)
    return (
        f"small test fold: {_points(fold['difference'])} points are more than {_COARSE} times the margin of "
        f"{_points(study.margin)}. --test-folds {_TEST_FOLDS} tests on all {int(manifest['keep'].sum())} images: it "
        f"resolves about {_points(tested.difference)} points and takes about {takes}"
    )


def _points(difference: float) -> str:
    return f"{100 * difference:.1f}"
