"""Everything a trial's rows depend on, in one flat frozen record."""

import re
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from trainables.errors import InputError
from trainables.policies import POLICIES

REGULARIZERS = ("none", "dropout", "l2", "l1")
OPTIMIZERS = ("adam", "adamw", "sgd", "rmsprop")
SCHEDULES = ("constant", "step", "cosine")
STRENGTHS = ("dropout", "l2", "l1")  # each a field that is set exactly under its regularizer
PRECISIONS = ("float32", "bfloat16")
# Nets that exist to be trained from random numbers: there are no pretrained weights of them.
FROM_SCRATCH = ("small_cnn",)
UNFREEZE = re.compile(r"head|all|last (?:stage|block|layer)|last [1-9]\d* (?:stages|blocks|layers)")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialConfig:
    """One trial. Equal configs give equal rows on one machine, `seconds` and `images_per_second` aside."""

    # -- the data
    manifest: str  # hash of the manifest: the version of the data
    split: str  # train-val-test in percent, one of split_levels
    split_levels: str  # every level of the study, comma separated: together they fix the common folds
    official_split: bool  # whether the dataset's own test fold is used
    study_seed: int
    seed: int = 0  # the repeat: 0 in the search, 1 to S in the confirmation

    # -- the net
    backbone: str  # any timm name, with or without its weights' tag
    weights: Literal["pretrained", "none"] = "pretrained"
    weights_hash: str = ""  # sha256 of the file the pretrained weights came from
    unfreeze: str = "head"  # "head", "last [N] stage|block|layer[s]" or "all"

    # -- the views
    size: int  # side of the square the net sees, in pixels
    stored_side: int  # shorter side of the decoded pictures that views are cut from
    augmentation: str = "none"
    views: int | None = None  # different training views per picture, taken in turn; None: a fresh one in every epoch

    # -- the training
    epochs: int
    steps_per_epoch: int  # equal for all levels of the split, or size and steps would be confounded
    batch_size: int
    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    momentum: float = 0.9  # of sgd and rmsprop
    weight_decay: float = 0.0  # decoupled for adamw, as a gradient for the others
    schedule: str = "cosine"
    step_every: int = 7  # epochs between the drops of the schedule "step"
    step_factor: float = 0.1
    layer_decay: float = 1.0  # factor on the learning rate for each block further from the head
    regularizer: str = "none"
    dropout: float | None = None
    l2: float | None = None
    l1: float | None = None

    # -- the arithmetic: what changes bits is chosen here, never inferred from what happens to be free
    device: Literal["cpu", "cuda"] = "cpu"
    threads: int = 1
    precision: str = "float32"  # of what trains of the backbone; heads and losses are float32 always
    frozen_precision: str = "float32"  # of what is frozen
    channels_last: bool = True
    block_size: int = 64  # pictures that pass a frozen part or are evaluated together; the last block is padded

    def __post_init__(self) -> None:
        _one_of("regularizer", self.regularizer, REGULARIZERS)
        _one_of("optimizer", self.optimizer, OPTIMIZERS)
        _one_of("schedule", self.schedule, SCHEDULES)
        _one_of("augmentation", self.augmentation, tuple(POLICIES))
        _one_of("precision", self.precision, PRECISIONS)
        _one_of("frozen_precision", self.frozen_precision, PRECISIONS)
        _one_of("weights", self.weights, ("pretrained", "none"))
        _one_of("device", self.device, ("cpu", "cuda"))
        _one_of("split", self.split, tuple(self.split_levels.split(",")))
        if self.weights == "pretrained" and self.backbone in FROM_SCRATCH:
            raise InputError(f"{self.backbone} has no pretrained weights: its trials take weights='none'.")
        if not UNFREEZE.fullmatch(self.unfreeze):
            raise InputError(
                f"Unknown unfreeze depth {self.unfreeze!r}: use 'head', 'all', 'last stage', 'last 2 stages', "
                "'last 3 blocks' or 'last 20 layers'."
            )
        for name in (
            *(["views"] if self.views is not None else []),
            "size",
            "stored_side",
            "epochs",
            "steps_per_epoch",
            "batch_size",
            "step_every",
            "threads",
            "block_size",
        ):
            if getattr(self, name) < 1:
                raise InputError(f"`{name} >= 1` must hold, but got {getattr(self, name)}.")
        if not self.learning_rate > 0:
            raise InputError(f"`learning_rate > 0` must hold, but got {self.learning_rate}.")
        for name in STRENGTHS:
            self._check_strength(name)

    def _check_strength(self, name: str) -> None:
        value = getattr(self, name)
        if (value is not None) != (self.regularizer == name):
            raise InputError(
                f"A strength exists exactly under its regularizer, but got ({self.regularizer=}, {name}={value})."
            )
        if value is not None and not (0 <= value < 1 if name == "dropout" else value >= 0):
            raise InputError(f"`{name}` must be a rate below 1 or a positive weight, but got {value}.")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def from_dict(values: dict[str, Any]) -> TrialConfig:
    """A config read back from a ledger written by this version."""
    return TrialConfig(**{name: values[name] for name in FIELDS})


FIELDS = tuple(field.name for field in fields(TrialConfig))


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InputError(f"Unknown {name} {value!r}; known: {', '.join(known)}.")
