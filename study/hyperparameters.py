"""The hyperparameters that a study may compare, tune or fix, and the checks of their values."""

from dataclasses import fields
from typing import Any

from trainables.config import FIELDS, TrialConfig
from trainables.errors import InputError, unknown
from trainables.fields import WHOLE, check_value

# Fields of a trial's config that no study may set.
# fmt: off
_MACHINERY = (
    "manifest", "split_levels", "official_split", "study_seed", "seed", "folds", "test_folds", "trains_on",
    "weights_hash", "stored_side", "epochs", "steps_per_epoch", "device", "workers", "threads", "precision",
    "frozen_precision", "channels_last", "metric",
)
# fmt: on
STUDIED = tuple(name for name in FIELDS if name not in _MACHINERY)
_TYPES = {field.name: field.type for field in fields(TrialConfig)}


def check_field(kind: str, name: str) -> None:
    """Refuse a name that a study may not use.

    Args:
        kind: what the study uses it as, such as "factor".

    Raises:
        InputError: the name is unknown, or the budget, the data or the machine determines its value.
    """
    if name in _MACHINERY:
        fix = "set it in the budget" if name == "epochs" else "leave it out"
        raise InputError(
            f"{name!r} cannot be a {kind}, because the budget, the data or the machine determines it: {fix}."
        )
    if name not in STUDIED:
        raise unknown(kind, name, STUDIED)


def check_level(name: str, level: Any) -> None:
    """Refuse a value of the wrong type or out of range. A study file may contain anything.

    Raises:
        InputError: the rule and the value.
    """
    if level is None and _TYPES[name] in (float | None, int | None):
        return  # such as the strength of another regularizer
    if name in WHOLE:
        fits = type(level) is int and level >= WHOLE[name]
        kind = "a whole number above 0" if WHOLE[name] else "a whole number of at least 0"
    elif is_number(name):
        fits, kind = type(level) in (int, float), "a number"
    else:
        fits, kind = isinstance(level, str), "a string"
    if not fits:
        raise InputError(f"`{name}` must be {kind}, but got {level!r}.")
    check_value(name, level)


def is_number(name: str) -> bool:
    return _TYPES[name] in (int, int | None, float, float | None)
