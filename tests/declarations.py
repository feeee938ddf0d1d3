"""Small studies and the configs of their trials, for tests of what a study declares."""

from dataclasses import replace
from typing import Any

from study.design.plan import Planned
from study.design.settings import resolve
from study.spec import Budget, Study
from tests.courses import BASE
from trainables.config import TrialConfig


def study(**changes: Any) -> Study:
    values: dict[str, Any] = {
        "dataset": "folder",
        "question": "Which?",
        "factors": {"augmentation": ["none", "light"]},
        "nuisances": {},
        "fixed": {},
        "budget": Budget(trials=12, epochs=4, refine=2, seeds=2),
    }
    values |= changes
    there = {"backbone": "resnet18", "size": 16}
    values["fixed"] = {name: value for name, value in there.items() if name not in values["factors"]} | values["fixed"]
    return Study(**values)


def config_of(asked: Study, planned: Planned) -> TrialConfig:
    base = replace(BASE, weights_hashes=dict.fromkeys(("resnet18", "small_cnn", "lenet5"), "1a7e"))
    return resolve(asked, planned, base)
