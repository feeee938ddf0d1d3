"""The winner's setting as code to paste: the command that trains it again, and its hyperparameters."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

from analysis.confirmed.settings import Setting, best_trial
from analysis.declared import is_number
from analysis.layout.page import Code
from study.results import BEST_FOLDER, Results

_TRIAL_FILE = "trial.json"  # the shipped trial; study.train reads it

# Hyperparameters in the order in which they are printed, each with its comment.
COMMENTS = {
    "backbone": "",
    "weights": "",
    "unfreeze": "how deep the backbone trains; the rest is frozen, its norms too",
    "neighbours": "k of a kNN classifier on the features",
    "distance": "between features",
    "size": "side of the input, in pixels",
    "region": "",
    "augmentation": "a policy of trainables/augmentation/policies.py",
    "views": "training views per image, used in turn",
    "split": "training, validation and test in percent",
    "train_fraction": "share of the training fold",
    "sampling": "",
    "batch_size": "",
    "micro_batch": "images per forward pass, if a batch does not fit into the memory",
    "mixing": "",
    "mixing_alpha": "",
    "loss": "",
    "label_smoothing": "",
    "optimizer": "",
    "learning_rate": "",
    "momentum": "",
    "weight_decay": "decoupled for adamw, else added to the gradient",
    "layer_decay": "learning-rate factor per block of distance from the head",
    "clip_norm": "maximum gradient norm",
    "schedule": "of the learning rate, over all steps",
    "warmup_epochs": "",
    "step_every": "epochs",
    "step_factor": "",
    "frozen_epochs": "at the start, only the head trains",
    "frozen_learning_rate": "of those epochs",
    "ema_decay": "of the averaged weights, which are evaluated and kept",
    "patience": "epochs without improvement",
    "regularizer": "",
    "dropout": "rate, on the features before the head",
    "drop_connect": "rate, on the weights of the head",
    "drop_path": "rate of the last residual branch",
    "l2": "added to the loss: l2 * sum(w^2)",
    "l2_sp": "added to the loss: l2_sp * sum((w - w_start)^2)",
    "l1": "added to the loss: l1 * sum(|w|)",
    "block_size": "images per forward pass of frozen layers and of evaluation",
}
# Values that change nothing are left out, and so are values that act only with others, as a study file demands it.
NEUTRAL = {
    "region": "picture",
    "train_fraction": 1,
    "sampling": "uniform",
    "mixing": "none",
    "loss": "cross_entropy",
    "label_smoothing": 0,
    "layer_decay": 1,
    "warmup_epochs": 0,
    "frozen_epochs": 0,
    "block_size": 64,
}
ACTS: dict[str, Callable[[Mapping[str, Any]], bool]] = {
    "momentum": lambda values: values.get("optimizer") not in ("adam", "adamw"),
    "step_every": lambda values: values.get("schedule") in (None, "step"),
    "step_factor": lambda values: values.get("schedule") in (None, "step"),
    "distance": lambda values: values.get("neighbours") is not None,
    "views": lambda values: values.get("augmentation") != "none",
    "layer_decay": lambda values: values.get("unfreeze") != "head",
    "frozen_learning_rate": lambda values: values.get("frozen_epochs") != 0,
}
_MARKUP = re.compile(r"[<>\[\]`|$]")

# A column of whole numbers becomes one of fractions where some trials have none.
_WHOLE = ("neighbours", "views", "patience")


def winner_code(results: Results, best: Setting) -> list[Code]:
    """Return the command that trains the winner's setting again, if the study saved a model, and its hyperparameters.

    With test folds, which have their own nuisances, they are those of the model that is best on validation.
    """
    command = Code(
        "Train this setting again, on other images or with other seeds. OUT is the folder of this report; without "
        "--data the images are those of the study.",
        "sh",
        ["python -m study.train OUT --data DIR --seeds 3"],
    )
    values = hyperparameters(results, best)
    lines = ["setting = {", *(_line(name, value) for name, value in values.items()), "}"]
    if is_number(epochs := _value("epochs", _trial(best).get("epochs"))):
        lines.append(f"epochs = {epochs}")
    setting = Code("Its hyperparameters, to paste into a study file, Study(fixed=setting):", "python", lines)
    return [command, setting] if (results.out / BEST_FOLDER / _TRIAL_FILE).is_file() else [setting]


def hyperparameters(results: Results, best: Setting) -> dict[str, Any]:
    """Return the values of the winner's trial that have an effect, by the names of a study file."""
    trial = _trial(best)
    found = {name: _value(name, trial[name]) for name in [*results.factors, *COMMENTS] if name in trial}
    found |= {name: value for name, value in _otherwise(results).items() if found.get(name) is None}
    ordered = [*(name for name in found if name not in COMMENTS), *(name for name in COMMENTS if name in found)]
    return {name: found[name] for name in ordered if _has_effect(name, found)}


def _trial(best: Setting) -> pd.Series:
    return best.trials[best.trials["trial"] == best_trial(best)].iloc[0]


def _otherwise(results: Results) -> dict[str, Any]:
    """Return the value of each conditional factor where it does not exist; its column is empty there."""
    conditional: Any = results.study.get("conditional")
    pairs = conditional.items() if isinstance(conditional, Mapping) else []
    return {name: entry.get("otherwise") for name, entry in pairs if isinstance(entry, Mapping)}


def _has_effect(name: str, values: Mapping[str, Any]) -> bool:
    is_neutral = values[name] is None or values[name] == NEUTRAL.get(name)
    return not is_neutral and (name not in ACTS or ACTS[name](values))


def _value(name: str, cell: Any) -> Any:
    """Return a cell as Python's own number or text; None if it is empty."""
    if types.is_scalar(cell) and pd.isna(cell):
        return None
    value = cell.item() if isinstance(cell, np.generic) else cell
    return int(value) if name in _WHOLE and isinstance(value, float) else value


def _line(name: str, value: Any) -> str:
    comment = COMMENTS.get(name)
    return f"    {_literal(name)}: {_literal(value)}," + (f"  # {comment}" if comment else "")


def _literal(value: Any) -> str:
    """Return Python code for a value. Text from other programs contains no markup, in no page that shows it."""
    return _MARKUP.sub(lambda match: f"\\x{ord(match[0]):02x}", repr(value)) if isinstance(value, str) else repr(value)
