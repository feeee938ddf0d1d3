import json
from typing import Any

import pytest

from tests.images import config
from trainables.config import from_dict
from trainables.errors import InputError


def test_a_config_comes_back_from_json() -> None:
    whole = config(regularizer="l2", l2=1e-3, learning_rate=0.1)
    assert from_dict(json.loads(json.dumps(whole.to_dict()))) == whole


def test_a_config_that_lacks_a_field_is_not_completed() -> None:
    values = config().to_dict()
    del values["dropout"]
    with pytest.raises(KeyError, match="dropout"):
        from_dict(values)


def test_a_later_version_may_know_more() -> None:
    assert from_dict(config().to_dict() | {"status": "completed"}) == config()


@pytest.mark.parametrize(
    "unfreeze", ["head", "all", "last stage", "last block", "last layer", "last 2 stages", "last 20 layers"]
)
def test_depths(unfreeze: str) -> None:
    assert config(unfreeze=unfreeze).unfreeze == unfreeze


@pytest.mark.parametrize("unfreeze", ["", "Head", "last", "last 0 blocks", "last 2 stage", "last -1 blocks", "all "])
def test_other_depths_are_refused_with_examples(unfreeze: str) -> None:
    with pytest.raises(InputError, match=r"Unknown unfreeze depth .*use 'head', 'all'"):
        config(unfreeze=unfreeze)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "lion"}, "Unknown optimizer 'lion'; known: adam, adamw, sgd, rmsprop."),
        (
            {"augmentation": "huge"},
            "Unknown augmentation 'huge'; known: none, crop, light, medium, strong, ",
        ),
        ({"schedule": "linear"}, "Unknown schedule 'linear'; known: constant, step, cosine."),
        ({"precision": "float16"}, "Unknown precision 'float16'; known: float32, bfloat16."),
        ({"device": "gpu"}, "Unknown device 'gpu'; known: cpu, cuda."),
        ({"split": "80-10-10"}, "Unknown split '80-10-10'; known: 60-20-20."),
        ({"weights": "pretrained"}, "small_cnn has no pretrained weights: set weights='none'."),
        ({"batch_size": 0}, "`batch_size >= 1` must hold, but got 0."),
        ({"step_every": 0}, "`step_every >= 1` must hold, but got 0."),
        ({"learning_rate": 0.0}, "`learning_rate > 0` must hold, but got 0.0."),
        ({"learning_rate": float("nan")}, "`learning_rate > 0` must hold, but got nan."),
        ({"regularizer": "l2"}, "A regularizer's strength must be set exactly"),
        ({"l2": 1e-3}, "A regularizer's strength must be set exactly"),
        ({"regularizer": "dropout", "dropout": 1.0}, "`dropout` must be a rate, at least 0 and below 1"),
        ({"mixing": "mixup"}, "`mixing_alpha` must be set exactly when mixing"),
        ({"label_smoothing": 1.0}, "`label_smoothing` must be at least 0 and below 1, but got 1.0."),
        ({"train_fraction": 0.0}, "`0 < train_fraction <= 1` must hold, but got 0.0."),
        ({"train_fraction": float("nan")}, "`0 < train_fraction <= 1` must hold, but got nan."),
        ({"frozen_epochs": 3}, "`frozen_epochs` must be below the 3 epochs, but got 3: lower it"),
        ({"clip_norm": 0.0}, "`clip_norm > 0` must hold, but got 0.0."),
        ({"patience": 0}, "`patience >= 1` must hold, but got 0."),
        ({"loss": "hinge"}, "Unknown loss 'hinge'; known: cross_entropy, binary_cross_entropy."),
        ({"metric": "accuracy"}, "Unknown metric 'accuracy'; known: val_accuracy, "),
        ({"regularizer": "l1", "l1": -1.0}, "`l1 >= 0` must hold for the weight of a penalty, but got -1.0."),
    ],
)
def test_what_cannot_be_trained_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as refused:
        config(**changes)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
