"""What a study declares runs under its own name, or the study is refused before anything starts."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from search_spaces import optimizers
from search_spaces.distributions import Conditional, Range, holds
from study.design.plan import Planned, examples, search_plan
from study.spec import Budget, Study
from tests.declarations import config_of, study
from trainables.errors import InputError
from trainables.fields import EXISTS

LEVELS: dict[str, list[Any]] = {
    "backbone": ["resnet18", "small_cnn", "lenet5"],
    "weights": ["pretrained", "none"],
    "unfreeze": ["head", "last stage", "all"],
    "regularizer": ["none", "dropout", "l2", "drop_path"],
    "dropout": [0.2, 0.5, None],
    "l2": [1e-3, 1e-2],
    "mixing": ["none", "mixup", "cutmix"],
    "mixing_alpha": [0.2, 1.0],
    "optimizer": ["adam", "adamw", "sgd"],
    "learning_rate": [1e-3, 1e-2],
    "momentum": [0.0, 0.9],
    "schedule": ["cosine", "step", "constant"],
    "step_every": [1, 2],
    "frozen_epochs": [0, 1, 3],
    "warmup_epochs": [0, 1, 2, 4],
    "frozen_learning_rate": [1e-3, 1e-4],
    "neighbours": [None, 3],
    "distance": ["euclidean", "cosine"],
    "augmentation": ["none", "light"],
    "views": [None, 2],
    "layer_decay": [1.0, 0.7],
    "batch_size": [8, 16],
    "size": [16, 32],
    "patience": [None, 1, 3],
    "split": ["60-20-20", "80-10-10"],
}
RANGES = {
    "learning_rate": (1e-4, 1e-1),
    "momentum": (0.1, 0.9),
    "dropout": (0.1, 0.8),
    "l2": (1e-5, 1e-2),
    "mixing_alpha": (0.1, 1.0),
    "layer_decay": (0.5, 0.9),
    "weight_decay": (1e-5, 1e-2),
}


@st.composite
def conditions(draw: st.DrawFn, factors: Mapping[str, Any]) -> dict[str, Any]:
    """Of one factor named before, one or two of its levels; or none."""
    if not factors or draw(st.integers(0, 2)) == 0:
        return {}
    name = draw(st.sampled_from(sorted(factors)))
    levels = factors[name].levels if isinstance(factors[name], Conditional) else factors[name]
    accepted: list[Any] = draw(st.lists(st.sampled_from(levels), min_size=1, max_size=2, unique=True))
    return {name: tuple(accepted) if len(accepted) > 1 else accepted[0]}


@st.composite
def parts(draw: st.DrawFn) -> dict[str, Any]:
    """What a study file may say, sense or not; often it names a thing twice, and that is refused."""
    factors: dict[str, Any] = {}
    for name in draw(st.lists(st.sampled_from(list(LEVELS)), min_size=1, max_size=4, unique=True)):
        levels = draw(st.lists(st.sampled_from(LEVELS[name]), min_size=2, max_size=3, unique=True))
        when = draw(conditions(factors))
        otherwise = draw(st.sampled_from([*LEVELS[name], None] if name in EXISTS else LEVELS[name]))
        factors[name] = Conditional(levels=levels, when=when, otherwise=otherwise) if when else levels
    nuisances = {}
    for number, name in enumerate(draw(st.lists(st.sampled_from(list(RANGES)), max_size=2))):
        low, high = RANGES[name]
        alias = name if draw(st.booleans()) else f"{name}_{number}"
        sets = None if alias == name else name
        nuisances[alias] = Range(low=low, high=high, when=draw(conditions(factors)), sets=sets)
    names = draw(st.lists(st.sampled_from(list(LEVELS)), max_size=3, unique=True))
    fixed = {name: draw(st.sampled_from(LEVELS[name])) for name in names}
    for name, value in (("backbone", "resnet18"), ("size", 16)):
        if name not in factors:
            fixed.setdefault(name, value)
    return {"factors": factors, "nuisances": nuisances, "fixed": fixed}


def check_arrived(asked: Study, planned: Planned) -> None:
    """Every level, drawn value, `otherwise` and fixed value stands in the config; None is one that does not exist."""
    config = config_of(asked, planned)
    for name, level in planned.factors.items():
        assert getattr(config, name) == level
    for name, value in planned.nuisances.items():
        assert getattr(config, asked.nuisances[name].sets or name) == value
    for name, factor in asked.factors.items():
        exists = name not in EXISTS or EXISTS[name].met(getattr(config, EXISTS[name].field))
        if not holds(factor.when, planned.factors):
            assert name not in planned.factors
            assert getattr(config, name) == (factor.otherwise if exists else None)
    for name, value in asked.fixed.items():
        exists = name not in EXISTS or EXISTS[name].met(getattr(config, EXISTS[name].field))
        assert getattr(config, name) == (value if exists else None)


@settings(max_examples=200)
@given(parts())
def test_every_declared_value_arrives_or_the_study_is_refused(drawn: dict[str, Any]) -> None:
    try:
        asked = study(**drawn)
    except InputError:
        event("refused")
        return
    event("runs")
    plan = search_plan(asked, 12, 0)
    for planned in [*plan, *examples(asked, *asked.factors)]:
        check_arrived(asked, planned)
    for name in asked.fixed:
        exists = name not in EXISTS or any(
            EXISTS[name].met(getattr(config_of(asked, planned), EXISTS[name].field))
            for planned in examples(asked, EXISTS[name].field)
        )
        assert exists or asked.fixed[name] is None, "a strength that no trial has"


SGD = {"optimizer": ["adamw", "sgd"]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"fixed": {"dropout": 0.5}},
            "Fixed dropout 0.5 has no effect, because `dropout` is used only with regularizer='dropout'",
        ),
        (
            {"fixed": {"regularizer": "dropout"}},
            "(regularizer='dropout', dropout=None): give `dropout` a value or a range",
        ),
        ({"fixed": {"mixing_alpha": 0.2}}, "Fixed mixing_alpha 0.2 has no effect"),
        ({"fixed": {"mixing": "mixup"}}, "`mixing_alpha` must be set exactly when mixing"),
        ({"fixed": {"momentum": 0.8}}, "is used only with optimizer='sgd' or 'rmsprop'"),
        ({"fixed": {"step_every": 2}}, "is used only with schedule='step'"),
        ({"fixed": {"step_factor": 0.5}}, "is used only with schedule='step'"),
        ({"fixed": {"frozen_learning_rate": 0.1}}, "is used only with `frozen_epochs` above 0"),
        ({"fixed": {"distance": "cosine"}}, "is used only with `neighbours`"),
        ({"factors": {"batch_size": [8, 16]}, "fixed": {"views": 2}}, "an augmentation other than 'none'"),
        ({"fixed": {"layer_decay": 0.7}}, "is used only with an `unfreeze` deeper than the head"),
        ({"fixed": {"regularizer": "drop_path", "drop_path": 0.1}}, "Fixed drop_path 0.1 has no effect"),
        ({"factors": {"momentum": [0.5, 0.9]}}, "Factor 'momentum' has no effect"),
        ({"nuisances": {"momentum": Range(low=0.5, high=0.9)}}, "Nuisance 'momentum' has no effect"),
        (
            {"factors": {"regularizer": ["none", "dropout"], "dropout": [0.2, 0.5]}},
            "but got (regularizer='none', dropout=0.2)",
        ),
        (
            {"factors": {"regularizer": ["none", "dropout"]}, "nuisances": {"dropout": Range(low=0.1, high=0.5)}},
            "regularizer='none'",
        ),
        (
            {"factors": {"backbone": ["resnet18", "small_cnn"]}, "fixed": {"weights": "pretrained"}},
            "small_cnn has no pretrained",
        ),
        ({"fixed": {"warmup_epochs": 4}}, "`warmup_epochs` must be below the 4 epochs, but got 4"),
        ({"factors": {"frozen_epochs": [0, 4]}}, "`frozen_epochs` must be below the 4 epochs, but got 4"),
        ({"fixed": {"frozen_epochs": 2, "warmup_epochs": 2}}, "each phase (2 frozen, then 2), but got 2"),
        ({"fixed": {"epochs": 2}}, "'epochs' cannot be a fixed hyperparameter"),
        ({"fixed": {"workers": 2}}, "'workers' cannot be a fixed hyperparameter"),
        (
            {"factors": {"learning_rate": [0.1, 0.01]}, "nuisances": optimizers.adaptive()},
            "'learning_rate' is two of them",
        ),
        (
            {"factors": SGD | {"learning_rate": [0.1, 0.01]}, "nuisances": optimizers.by_optimizer("adamw", "sgd")},
            "'learning_rate' is two of them (nuisance 'sgd_learning_rate' sets it)",
        ),
        (
            {"factors": SGD, "fixed": {"learning_rate": 0.1}, "nuisances": optimizers.by_optimizer("sgd")},
            "'learning_rate' is two of them (nuisance 'sgd_learning_rate' sets it)",
        ),
        (
            {"factors": SGD, "nuisances": optimizers.adaptive() | optimizers.by_optimizer("sgd")},
            "'learning_rate' and 'sgd_learning_rate' both set it under optimizer=sgd",
        ),
        (
            {"factors": SGD, "nuisances": optimizers.by_optimizer("sgd")},
            "'learning_rate' is tuned by 'sgd_learning_rate', but by no range under optimizer=adamw, so it",
        ),
        (
            {"nuisances": {"momentum": Range(low=1e-3, high=0.1, sets="learning_rate")}},
            "Nuisance 'momentum' sets 'learning_rate', but has the name of another hyperparameter",
        ),
        (
            {
                "factors": SGD
                | {"schedule": Conditional(levels=["step", "cosine"], when={"optimizer": "sgd"}, otherwise="cosine")},
                "nuisances": {
                    "rate": Range(
                        low=0.1, high=0.5, when={"optimizer": "adamw", "schedule": "step"}, sets="weight_decay"
                    )
                },
            },
            "Nuisance 'rate' exists under no combination of levels",
        ),
    ],
)
def test_what_would_run_as_something_else_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as refused:
        study(**changes)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def values(asked: Study, name: str, *of: str) -> dict[tuple[Any, ...], set[Any]]:
    """The values of a field by those of others, in the configs of a plan."""
    found: dict[tuple[Any, ...], set[Any]] = {}
    for planned in search_plan(asked, 24, 0):
        config = config_of(asked, planned)
        found.setdefault(tuple(getattr(config, each) for each in of), set()).add(getattr(config, name))
    return found


def test_a_strength_runs_where_its_regularizer_is() -> None:
    asked = study(factors={"regularizer": ["none", "dropout"]}, fixed={"dropout": 0.5})
    assert values(asked, "dropout", "regularizer") == {("none",): {None}, ("dropout",): {0.5}}


def test_ranges_of_their_own_levels_meet_nowhere() -> None:
    ranges = {
        "adamw_rate": Range(low=1e-4, high=1e-3, when={"optimizer": "adamw"}, sets="learning_rate"),
        "sgd_rate": Range(low=0.01, high=0.1, when={"optimizer": "sgd"}, sets="learning_rate"),
        "momentum": Range(low=0.8, high=0.85, when={"optimizer": "sgd"}),  # Adam has none, and needs none
    }
    asked = study(factors=SGD, nuisances=ranges)
    rates = values(asked, "learning_rate", "optimizer")
    assert max(rates["adamw",]) <= 1e-3 < 0.01 <= min(rates["sgd",])
    assert values(asked, "momentum", "optimizer")["adamw",] == {0.9}


def test_a_random_net_trains_whole_unless_its_depth_is_asked_for() -> None:
    assert values(study(fixed={"weights": "none"}), "unfreeze") == {(): {"all"}}
    assert values(study(), "unfreeze") == {(): {"head"}}
    assert values(study(fixed={"weights": "none", "unfreeze": "head"}), "unfreeze") == {(): {"head"}}
    mixed = study(factors={"backbone": ["resnet18", "small_cnn"]})
    assert values(mixed, "unfreeze", "backbone") == {("resnet18",): {"head"}, ("small_cnn",): {"all"}}
    starts = study(factors={"weights": ["pretrained", "none"]})
    assert values(starts, "unfreeze", "weights") == {("pretrained",): {"head"}, ("none",): {"all"}}
    depths = study(
        factors={
            "weights": ["pretrained", "none"],
            "unfreeze": Conditional(levels=["head", "last stage"], when={"weights": "none"}, otherwise="all"),
        }
    )
    assert values(depths, "unfreeze", "weights") == {("pretrained",): {"all"}, ("none",): {"head", "last stage"}}


def test_examples_reach_what_few_trials_do_not() -> None:
    asked = study(
        factors={
            "backbone": ["resnet18", "small_cnn", "lenet5"],
            "weights": Conditional(levels=["pretrained", "none"], when={"backbone": "resnet18"}, otherwise="none"),
            "augmentation": ["none", "light"],
        },
        budget=Budget(trials=1, epochs=4),
    )
    found = [config_of(asked, planned) for planned in examples(asked, "backbone", "weights")]
    assert [(config.backbone, config.weights) for config in found] == [
        ("resnet18", "pretrained"),
        ("resnet18", "none"),
        ("small_cnn", "none"),
        ("lenet5", "none"),
    ]
