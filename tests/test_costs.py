"""What a study is expected to cost, and fitting it to hours."""

from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from study.estimates.cost_inputs import CostInputs, cost_inputs
from study.estimates.costs import PhaseCost, estimate, fit, wall_seconds
from study.estimates.resources import Resources
from study.estimates.sharing import shareables, worth_storing
from study.schedule.next_trials import CONFIRMED_BEST
from study.spec import Study
from tests.courses import BASE, CONDITIONAL, small_study
from trainables.errors import InputError
from trainables.place import Place
from trainables.rates import Rates

CPU, GPU = (Rates(frozen=rate, trained=rate / 10, view=5e-4, measured=True) for rate in (1.0, 100.0))
BACKBONES = ("small_cnn", "resnet18", "tf_efficientnet_lite0")


PRETRAINED = replace(BASE, weights_hashes=dict.fromkeys(BACKBONES, "1a7e"))


def inputs(train: int = 1000, val: int = 200, workers: int = 2, rates: Rates = CPU, room: float = 1e12) -> CostInputs:
    return CostInputs(
        PRETRAINED, train, val, workers, dict.fromkeys(BACKBONES, rates), bytes_per_value=2, store_bytes=room
    )


INPUTS = inputs()
LARGE = {"trials": 40, "epochs": 20, "refine": 4, "seeds": 5}


def phases(study: Study, inputs: CostInputs = INPUTS) -> dict[str, PhaseCost]:
    return {cost.phase: cost for cost in estimate(study, inputs)}


def test_trials_of_each_phase_by_hand() -> None:
    # Two factors of two levels: the winner's setting and one for each other level.
    found = {name: (cost.trials, cost.epochs) for name, cost in phases(small_study(budget={"epochs": 1})).items()}
    assert found == {"search": (12, 12), "refine": (6, 6), "confirm": (6, 6), "test": (6, 0)}


def test_asha_saves_epochs_of_the_search_only() -> None:
    found = phases(small_study(budget=LARGE))
    assert 40 < found["search"].epochs < 40 * 20
    assert found["search"].epochs >= 8 * 20  # the audited ones run to the end
    assert found["refine"].epochs == 3 * 4 * 20
    assert found["confirm"].epochs == 3 * 5 * 20


def test_goal_best_refines_nothing_and_confirms_the_best_few() -> None:
    found = phases(small_study(goal="best"))
    assert found["refine"].trials == 0
    assert found["confirm"].trials == CONFIRMED_BEST * 2
    assert phases(small_study(goal="best", budget={"trials": 1}))["confirm"].trials == 2


def test_more_images_and_more_work_cost_more() -> None:
    once, twice = phases(small_study()), phases(small_study(), inputs(2000, 400))
    assert all(twice[name].seconds > once[name].seconds for name in once)
    assert phases(small_study(), inputs(rates=GPU))["search"].seconds < once["search"].seconds
    assert phases(small_study(CONDITIONAL))["search"].trials == 12  # conditional factors have a price, too


def test_wall_time_is_shared_by_the_workers() -> None:
    costs = estimate(small_study(), INPUTS)
    assert wall_seconds(costs, 1) - wall_seconds(costs, 2) == pytest.approx(sum(c.seconds for c in costs) / 2)


@settings(max_examples=10)
@given(st.floats(0.001, 200), st.integers(1, 8))
def test_whatever_fits_keeps_to_the_hours_or_is_refused(hours: float, workers: int) -> None:
    study, machine = small_study(budget=LARGE), inputs(workers=workers)
    try:
        fitted = fit(study, machine, hours)
    except InputError:
        fewest = small_study(budget={"trials": 4, "epochs": 3, "refine": 2, "seeds": 1})
        assert wall_seconds(estimate(fewest, machine), workers) > hours * 3600
        return
    assert wall_seconds(estimate(fitted, machine), workers) <= hours * 3600
    assert fitted.budget.trials >= 2 * 2  # two for each level
    assert fitted.budget.seeds in (5, 3, 1)
    assert 3 <= fitted.budget.epochs <= 20
    assert 2 <= fitted.budget.refine <= 4


def hours_of(study: Study) -> float:
    return wall_seconds(estimate(study, INPUTS), INPUTS.workers) / 3600


def test_what_hours_give_up_in_order() -> None:
    study = small_study(budget=LARGE)

    def fitted(share: float, keeps_refine: bool = False) -> tuple[int, int, int]:
        budget = fit(study, INPUTS, hours_of(study) * share, keeps_refine=keeps_refine).budget
        assert budget.trials >= 4
        return budget.seeds, budget.refine, budget.epochs

    assert fitted(1) == (5, 4, 20)
    assert fitted(0.5) == (5, 4, 10)
    assert fitted(0.15) == (5, 4, 3)  # 0.15 of 20
    assert fitted(0.125) == (5, 2, 3)  # five seeds for as long as they fit
    assert fitted(0.1) == (3, 2, 3)
    assert fitted(0.1, keeps_refine=True) == (1, 4, 3)


def test_fewer_trials_come_before_one_epoch_and_one_epoch_before_fewer_seeds() -> None:
    study = small_study(budget=LARGE | {"epochs": 4})
    smallest = replace(study, budget=replace(study.budget, trials=4, refine=2, epochs=2))
    assert fit(study, INPUTS, hours_of(smallest) * 1.001).budget.epochs == 2
    below = fit(study, INPUTS, hours_of(smallest) * 0.999).budget
    assert (below.seeds, below.epochs) == (5, 1)


def test_hours_that_have_passed_are_gone() -> None:
    study = small_study(budget=LARGE)
    half = hours_of(study) / 2
    assert fit(study, INPUTS, 2 * half, taken=half) == fit(study, INPUTS, half)
    with pytest.raises(InputError, match="is too little"):
        fit(study, INPUTS, half, taken=half)


def test_hours_give_a_study_of_few_seeds_enough_for_a_claim() -> None:
    study = small_study(budget=LARGE | {"seeds": 2})
    assert fit(study, INPUTS, 10 * hours_of(study)).budget.seeds == 5
    folds = replace(study, budget=replace(study.budget, seeds=4, folds=2))
    assert fit(folds, INPUTS, 10 * hours_of(study)).budget.seeds == 4  # a multiple of its folds


def test_the_search_fills_the_hours() -> None:
    study = small_study(budget=LARGE)
    for share in (1, 0.5, 0.2):
        fitted = fit(study, INPUTS, hours_of(study) * share)
        more = replace(fitted, budget=replace(fitted.budget, trials=fitted.budget.trials + 1))
        assert hours_of(fitted) <= hours_of(study) * share < hours_of(more)


def test_more_hours_never_buy_less() -> None:
    study = small_study(budget=LARGE)
    budgets = [fit(study, INPUTS, hours_of(study) * share).budget for share in (0.15, 0.2, 0.25, 0.5, 0.8, 5)]
    bought = [(budget.seeds, budget.refine, budget.epochs, budget.trials) for budget in budgets]
    assert bought == sorted(bought)
    assert asdict(budgets[-1]) == LARGE | {
        "trials": 160,
        "grace": 1,
        "reduction": 3,
        "folds": None,
        "test_folds": None,
        "most_seeds": 5,  # seeds that are added later have no place in a limit
    }


def test_too_little_names_what_is_needed() -> None:
    with pytest.raises(InputError, match=r"--hours 1e-05 is too little: .* needs about 0\.\d+") as caught:
        fit(small_study(budget=LARGE), INPUTS, 1e-5)
    needed = float(str(caught.value).rstrip(".").split()[-1])
    assert fit(small_study(budget=LARGE), INPUTS, needed * 1.1).budget.seeds == 1


def test_what_is_stored_is_paid_for_once() -> None:
    study = small_study(
        {"regularizer": ["none", "dropout"]}, fixed={"backbone": "resnet18", "unfreeze": "head", "size": 224}
    )
    alone, shared = phases(study, inputs(room=0)), phases(study)
    # ResNet-18 is 1.814e9 multiply-adds at 224 px. Shared, each of 1,400 images passes it once in its one view.
    frozen = 5e-4 + 1.814 / 1.0
    epochs = alone["search"].epochs
    assert worth_storing(study, INPUTS) == {("resnet18", "head")}
    assert worth_storing(study, inputs(room=0)) == frozenset()
    saved = alone["search"].seconds - shared["search"].seconds
    assert saved == pytest.approx((epochs - 1) * 1400 * frozen, rel=0.001)


def test_what_is_read_slower_than_computed_is_computed() -> None:
    fast = Rates(frozen=20_000.0, trained=10_000.0, view=1e-6, measured=True)
    factors = {"regularizer": ["none", "dropout"], "unfreeze": ["head", "last 2 stages", "all"]}
    study = small_study(factors, fixed={"backbone": "resnet18", "size": 16})
    large = replace(study, fixed=dict(study.fixed) | {"size": 224})
    kept = {each.depth: each.kept for each in shareables(large, inputs(rates=fast))}
    assert kept == {"head": True, "last 2 stages": False, "all": False}
    assert all(each.kept for each in shareables(large, INPUTS))


def test_the_store_takes_what_saves_most_per_byte_first() -> None:
    factors = {"regularizer": ["none", "dropout"], "unfreeze": ["head", "last stage", "all"]}
    study = small_study(factors, fixed={"backbone": "resnet18", "size": 16})
    found = {each.depth: each for each in shareables(study, INPUTS)}
    # 16 px: 512 pooled features, 256 at 1 x 1 before the last stage, both of four bytes, as no view is augmented;
    # views of 768 bytes.
    assert {depth: each.bytes for depth, each in found.items()} == {
        "head": 1400 * 512 * 4, "last stage": 1400 * 256 * 4, "all": 1400 * 768,
    }  # fmt: skip
    room = found["head"].bytes + found["last stage"].bytes + 1
    assert {each.depth for each in shareables(study, inputs(room=room)) if each.kept} == {"head", "last stage"}
    assert not [each for each in shareables(study, inputs(room=10)) if each.kept]


def test_a_study_of_too_few_trials_for_its_levels_has_a_price() -> None:
    study = small_study({"backbone": list(BACKBONES), "regularizer": ["none", "dropout"]}, {"trials": 1})
    machine = Resources(cpus=1, gpus=0, concurrent=1)
    manifest = pd.DataFrame({"fold": ["val"] * 9})
    priced = cost_inputs(
        study, manifest, replace(BASE, weights="none"), machine, Place(Path(), Path(), Path("nowhere")), sharing=True
    )
    assert set(priced.rates) == set(BACKBONES)
    assert all(cost.seconds > 0 for cost in estimate(study, priced))
