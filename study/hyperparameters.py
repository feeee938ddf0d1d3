"""What a study may ask about or fix, by name, and what a value in its file must be."""

from dataclasses import fields
from typing import Any

from trainables.config import FIELDS, TrialConfig
from trainables.errors import InputError, unknown
from trainables.fields import WHOLE, check_value

# Of a trial's config, what no study may ask about or fix.
# fmt: off
_MACHINERY = (
    "manifest", "split_levels", "official_split", "study_seed", "seed", "folds", "test_folds", "trains_on",
    "weights_hash", "stored_side", "epochs", "steps_per_epoch", "device", "workers", "threads", "precision",
    "frozen_precision", "channels_last", "metric",
)
# fmt: on
STUDIED = tuple(name for name in FIELDS if name not in _MACHINERY)
_TYPES = {each.name: each.type for each in fields(TrialConfig)}


def check_field(kind: str, name: str) -> None:
    if name in _MACHINERY:
        way = "give the budget so many" if name == "epochs" else "leave it out"
        raise InputError(f"{name!r} is no {kind}, as the budget, the data or the machine decide on it: {way}.")
    if name not in STUDIED:
        raise unknown(kind, name, STUDIED)


def check_level(name: str, level: Any) -> None:
    """A value as the study's file gives it: of any type, so far."""
    if level is None and _TYPES[name] in (float | None, int | None):
        return  # the strength of another regularizer, fresh views
    if name in WHOLE:
        fits = type(level) is int and level >= WHOLE[name]
        kind = "a whole number above 0" if WHOLE[name] else "a whole number of at least 0"
    elif is_number(name):
        fits, kind = type(level) in (int, float), "a number"
    else:
        fits, kind = isinstance(level, str), "a text"
    if not fits:
        raise InputError(f"`{name}` must be {kind}, but got {level!r}.")
    check_value(name, level)


def is_number(name: str) -> bool:
    return _TYPES[name] in (int, int | None, float, float | None)
