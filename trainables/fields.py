"""The rules of the fields of a trial's config, alone and in combination. Study files are checked by the same rules."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from trainables import unfreeze_depth
from trainables.augmentation.policies import POLICIES
from trainables.data.splits import parse_ratio
from trainables.errors import InputError, unknown
from trainables.metrics import METRICS

Values = Mapping[str, Any]

# Each regularizer has a field of its own name for its strength: a rate below 1, or the weight of a penalty.
RATES = ("dropout", "drop_connect", "drop_path")
PENALTIES = ("l2", "l2_sp", "l1")
STRENGTHS = (*RATES, *PENALTIES)
OPTIMIZERS = ("adam", "adamw", "sgd", "rmsprop")
# Nets to train from scratch, which have no pretrained weights.
FROM_SCRATCH = ("small_cnn", "lenet5", "three_block_cnn", "plain_cnn", "norm_cnn")

CHOICES: dict[str, tuple[str, ...]] = {
    "regularizer": ("none", *STRENGTHS),
    "optimizer": OPTIMIZERS,
    "schedule": ("constant", "step", "cosine"),
    "augmentation": tuple(POLICIES),
    "precision": ("float32", "bfloat16"),
    "frozen_precision": ("float32", "bfloat16"),
    "weights": ("pretrained", "none"),
    "device": ("cpu", "cuda"),
    "sampling": ("uniform", "class_balanced"),
    "mixing": ("none", "mixup", "cutmix"),
    "loss": ("cross_entropy", "binary_cross_entropy"),
    "distance": ("euclidean", "cosine"),
    "region": ("picture", "box"),
    "trains_on": ("train", "train+val"),
    "metric": METRICS,
}

# The minimum of every integer field.
# fmt: off
WHOLE = dict.fromkeys(
    ("views", "patience", "neighbours", "size", "stored_side", "epochs", "steps_per_epoch", "batch_size", "micro_batch",
     "step_every", "workers", "threads", "block_size"), 1
) | dict.fromkeys(("warmup_epochs", "frozen_epochs"), 0)
# fmt: on


@dataclass(frozen=True)
class Rule:
    """A condition on the value of a field."""

    holds: Callable[[Any], bool]
    words: str  # the condition as text, with {} for the name of the field


_ABOVE_0 = Rule(lambda value: value > 0, "`{} > 0` must hold")
_FROM_0 = Rule(lambda value: value >= 0, "`{} >= 0` must hold")
_SHARE = Rule(lambda value: 0 < value <= 1, "`0 < {} <= 1` must hold")
_BELOW_1 = Rule(lambda value: 0 <= value < 1, "`{}` must be at least 0 and below 1")
NUMBERS: dict[str, Rule] = {
    **dict.fromkeys(("learning_rate", "frozen_learning_rate", "clip_norm", "mixing_alpha"), _ABOVE_0),
    **dict.fromkeys(("train_fraction", "layer_decay", "step_factor"), _SHARE),
    **dict.fromkeys(("label_smoothing", "momentum", "ema_decay"), _BELOW_1),
    "weight_decay": _FROM_0,
    **dict.fromkeys(RATES, Rule(_BELOW_1.holds, "`{}` must be a rate, at least 0 and below 1")),
    **dict.fromkeys(PENALTIES, Rule(_FROM_0.holds, "`{} >= 0` must hold for the weight of a penalty")),
}


@dataclass(frozen=True)
class Needs:
    """The condition on another field under which this one has an effect."""

    field: str
    met: Callable[[Any], bool]
    words: str


def _needs(field: str, *levels: str) -> Needs:
    return Needs(field, lambda value: value in levels, f"{field}={' or '.join(map(repr, levels))}")


# These fields are set exactly if the condition holds, else they are None.
EXISTS: dict[str, Needs] = {name: _needs("regularizer", name) for name in STRENGTHS}
EXISTS["mixing_alpha"] = _needs("mixing", "mixup", "cutmix")
_DEEPER = Needs("unfreeze", lambda depth: depth != "head", "an `unfreeze` deeper than the head")
# These fields have no effect unless the condition holds.
ACTS: dict[str, Needs] = {
    "momentum": _needs("optimizer", "sgd", "rmsprop"),
    "step_every": _needs("schedule", "step"),
    "step_factor": _needs("schedule", "step"),
    "frozen_learning_rate": Needs("frozen_epochs", lambda epochs: epochs > 0, "`frozen_epochs` above 0"),
    "distance": Needs("neighbours", lambda count: count is not None, "`neighbours`"),
    "views": Needs("augmentation", lambda policy: policy != "none", "an augmentation other than 'none'"),
    "layer_decay": _DEEPER,
    "drop_path": _DEEPER,
}


def check_value(name: str, value: Any) -> None:
    """Check the value of one field; None always passes.

    Raises:
        InputError: The value breaks the field's rule.
    """
    if value is None:
        return
    if name in CHOICES and value not in CHOICES[name]:
        raise unknown(name, value, CHOICES[name])
    if name in WHOLE and value < WHOLE[name]:
        raise InputError(f"`{name} >= {WHOLE[name]}` must hold, but got {value}.")
    if name in NUMBERS:
        if not NUMBERS[name].holds(value):
            raise InputError(f"{NUMBERS[name].words.format(name)}, but got {value}.")
        if not math.isfinite(value):
            raise InputError(f"`{name}` must be a finite number, but got {value}.")
    if name == "unfreeze":
        unfreeze_depth.parse(value)
    if name == "split":
        parse_ratio(value)


def _check_existence(name: str, values: Values) -> None:
    needs, value = EXISTS[name], values[name]
    if (value is not None) != needs.met(values[needs.field]):
        rule = "A regularizer's strength must be set exactly when that regularizer is used"
        if name not in STRENGTHS:
            rule = f"`{name}` must be set exactly when {needs.words}"
        way = f"give `{name}` a value or a range" if value is None else f"leave `{name}` out"
        raise InputError(f"{rule}, but got ({needs.field}={values[needs.field]!r}, {name}={value!r}): {way}.")


def _check_start(values: Values) -> None:
    if values["weights"] == "pretrained" and values["backbone"] in FROM_SCRATCH:
        raise InputError(f"{values['backbone']} has no pretrained weights: set weights='none'.")


def check_share(values: Values) -> None:
    """Check that a batch can be divided equally among the workers of a trial, and their shares into micro-batches.

    Raises:
        InputError: `batch_size` is not a multiple of `workers`, or a worker's share not of `micro_batch`.
    """
    if values["batch_size"] % values["workers"]:
        raise InputError(
            f"`batch_size` must be a multiple of the {values['workers']} workers per trial, but got "
            f"{values['batch_size']}: change --workers-per-trial or the study's batch_size."
        )
    share = values["batch_size"] // values["workers"]
    if values["micro_batch"] is not None and share % values["micro_batch"]:
        raise InputError(
            f"`micro_batch` must divide the {share} images of a batch on one worker, but got {values['micro_batch']}: "
            "change it, or the study's batch_size."
        )


def _check_phases(values: Values) -> None:
    """Check that there are enough epochs for both phases, and in each phase for its warm-up."""
    epochs, frozen, warmup = values["epochs"], values["frozen_epochs"], values["warmup_epochs"]
    for name in ("warmup_epochs", "frozen_epochs"):
        if values[name] >= epochs:
            raise InputError(
                f"`{name}` must be below the {epochs} epochs, but got {values[name]}: lower it, or raise `epochs`."
            )
    if frozen and warmup >= min(frozen, epochs - frozen):
        raise InputError(
            f"`warmup_epochs` must be below the epochs of each phase ({frozen} frozen, then {epochs - frozen}), but "
            f"got {warmup}: every phase has its own warm-up."
        )


# Fields that must fit together, with a check of a mapping of all fields.
TOGETHER: tuple[tuple[tuple[str, ...], Callable[[Values], None]], ...] = (
    (("backbone", "weights"), _check_start),
    (("batch_size", "workers", "micro_batch"), check_share),
    (("epochs", "warmup_epochs", "frozen_epochs"), _check_phases),
    *(((name, needs.field), partial(_check_existence, name)) for name, needs in EXISTS.items()),
)
