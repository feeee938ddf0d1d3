"""Frozen and warm-up epochs, patience and schedules fit into the epochs of a trial; so do published configurations."""

from typing import Any

import pytest

from study.design.plan import Planned, examples
from study.spec import Published
from tests.declarations import config_of, study
from trainables.errors import InputError

STEPS = {"schedule": "step", "step_every": 2}


def test_a_model_trained_again_keeps_its_phases() -> None:
    asked = study(fixed={"frozen_epochs": 2, "warmup_epochs": 1, "unfreeze": "last stage"})
    retrained = Planned("retrain-1-1", "retrain", {"augmentation": "none"}, {}, epochs=1)
    config = config_of(asked, retrained)
    assert (config.epochs, config.frozen_epochs, config.warmup_epochs) == (4, 2, 1)


def test_fewer_epochs_leave_less_of_what_is_fixed_and_no_level_is_bent() -> None:
    fixed = {"frozen_epochs": 2, "frozen_learning_rate": 0.01, "warmup_epochs": 1, "unfreeze": "last stage"}
    shorter = study(fixed=fixed).at_most(3)
    assert {name: shorter.fixed[name] for name in fixed} == fixed | {"warmup_epochs": 0}
    shortest = study(fixed=fixed).at_most(1)
    assert {name: shortest.fixed[name] for name in fixed} == {
        "frozen_epochs": 0,
        "frozen_learning_rate": None,
        "warmup_epochs": 0,
        "unfreeze": "last stage",
    }
    with pytest.raises(InputError, match="`frozen_epochs` must be below the 3 epochs, but got 3"):
        study(factors={"frozen_epochs": [0, 3]}).at_most(3)


def test_published_configurations_are_cut_and_say_so() -> None:
    row = Published(
        name="two phases",
        config={"epochs": 4, "frozen_epochs": 3, "frozen_learning_rate": 0.01, "unfreeze": "last stage"},
        metric="accuracy",
        fold="test",
        value=0.5,
    )
    asked = study(published=[row])
    (whole,) = asked.as_published(None).published
    assert (whole.config, whole.differs) == (row.config, ())
    cut = asked.as_published(1)
    assert cut.published[0].differs == (
        "epochs 1 instead of 4, by --epochs",
        "frozen_epochs 0 instead of 3, by --epochs",
        "frozen_learning_rate None instead of 0.01, by --epochs",
    )
    config = config_of(cut, examples(cut)[0])
    assert (config.epochs, config.frozen_epochs, config.frozen_learning_rate) == (1, 0, None)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"dropout": 0.5},
            "The published configuration 'row': A regularizer's strength must be set exactly",
        ),
        ({"momentum": 0.8}, "The published configuration 'row': Published momentum 0.8 has no effect"),
        ({"epochs": 2, "frozen_epochs": 2}, "'row': `frozen_epochs` must be below the 2 epochs, but got 2"),
        ({"backbone": "small_cnn", "weights": "pretrained"}, "'row': small_cnn has no pretrained weights"),
        ({"epochs": 0}, "`epochs` must be a whole number above 0, but got 0"),
    ],
)
def test_published_configurations_run_as_published_or_not_at_all(config: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as refused:
        study(published=[Published(name="row", config=config, metric="accuracy", fold="test", value=0.5)])
    assert message in str(refused.value)


def test_every_published_configuration_trains_for_its_own_epochs() -> None:
    rows = [
        Published(name=str(epochs), config=config, metric="accuracy", fold="test", value=0.5)
        for epochs, config in ((9, {"epochs": 9}), (4, {}))
    ]
    asked = study(published=rows).as_published(None)
    assert [config_of(asked, planned).epochs for planned in examples(asked)] == [9, 4]


def test_what_no_epoch_is_left_for_is_named() -> None:
    fixed = {"patience": 4, "optimizer": "sgd"}
    assert study(fixed=fixed).unfit() == ["patience 4 stops no trial within 4 epochs"]
    assert study(fixed=fixed | {"patience": 3}).unfit() == []
    two_phases = {"augmentation": ["none", "light"], "unfreeze": ["all", "last stage"], "frozen_epochs": [0, 2]}
    assert study(factors=two_phases, fixed={"patience": 2}).unfit() == []  # where no epoch is frozen it ends trials
    assert study(fixed=STEPS | {"step_every": 4}).unfit() == [
        "the schedule 'step' never lowers the learning rate in 4 epochs with step_every 4"
    ]
    assert study(fixed={"schedule": "step"}).unfit() != []  # 7, where nothing is said
    assert study(fixed=STEPS).unfit() == []
