"""Everything a trial's rows depend on, in one flat frozen record."""

import re
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from trainables.augmentation.policies import POLICIES
from trainables.errors import InputError
from trainables.metrics import METRICS

# Each a field that is set exactly under its regularizer: rates below 1, and weights of a penalty.
RATES = ("dropout", "drop_connect", "drop_path")
PENALTIES = ("l2", "l2_sp", "l1")
STRENGTHS = (*RATES, *PENALTIES)
REGULARIZERS = ("none", *STRENGTHS)
OPTIMIZERS = ("adam", "adamw", "sgd", "rmsprop")
SCHEDULES = ("constant", "step", "cosine")
LOSSES = ("cross_entropy", "binary_cross_entropy")
MIXINGS = ("none", "mixup", "cutmix")
SAMPLINGS = ("uniform", "class_balanced")
DISTANCES = ("euclidean", "cosine")
REGIONS = ("picture", "box")
TRAINS_ON = ("train", "train+val")
PRECISIONS = ("float32", "bfloat16")
# Nets that exist to be trained from random numbers: there are no pretrained weights of them.
FROM_SCRATCH = ("small_cnn", "lenet5", "three_block_cnn", "plain_cnn", "norm_cnn")
UNFREEZE = re.compile(r"head|all|last (?:stage|block|layer)|last [1-9]\d* (?:stages|blocks|layers)")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialConfig:
    """One trial. Equal configs give equal rows on one machine, `seconds` and `images_per_second` aside."""

    # -- the data
    manifest: str  # hash of the manifest: the version of the data
    split: str  # train-val-test in percent, one of split_levels
    split_levels: str  # every level of the study, comma separated: together they fix the common folds
    official_split: bool  # whether the dataset's own test fold is used
    train_fraction: float = 1.0  # share of the level's training set; smaller ones lie within larger ones
    study_seed: int
    trains_on: str = "train"  # or train+val, of a model to ship: its last epoch is kept, nothing is left to choose by
    seed: int = 0  # the repeat: 0 in the search, 1 to S in the confirmation
    folds: int | None = None  # the confirmation's repeats are those of a repeated k-fold
    test_folds: int | None = None  # the same, over what tests: all pictures do, each once in so many repeats

    # -- the net
    backbone: str  # any timm name, with or without its weights' tag
    weights: Literal["pretrained", "none"] = "pretrained"
    weights_hash: str = ""  # sha256 of the file the pretrained weights came from
    unfreeze: str = "head"  # "head", "last [N] stage|block|layer[s]" or "all"
    neighbours: int | None = None  # test predictions by so many nearest training pictures; None: by the head
    distance: str = "euclidean"  # between their features

    # -- the views
    size: int  # side of the square the net sees, in pixels
    region: str = "picture"  # or the annotated box
    stored_side: int  # shorter side of the decoded pictures that views are cut from
    augmentation: str = "none"
    views: int | None = None  # different training views per picture, taken in turn; None: a fresh one in every epoch

    # -- the batches
    sampling: str = "uniform"  # or every class equally often
    mixing: str = "none"  # views blended with those of other pictures
    mixing_alpha: float | None = None  # of the Beta distribution that shares are drawn from; set exactly when mixing

    # -- the loss
    loss: str = "cross_entropy"  # binary_cross_entropy: one output, for two classes
    label_smoothing: float = 0.0
    metric: str = "val_accuracy"  # chooses the best epoch

    # -- the training
    epochs: int
    steps_per_epoch: int  # equal for all splits and training fractions, or size and steps would be confounded
    batch_size: int
    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    momentum: float = 0.9  # of sgd and rmsprop
    weight_decay: float = 0.0  # decoupled for adamw, as a gradient for the others
    clip_norm: float | None = None  # the gradient is scaled down to this norm
    schedule: str = "cosine"
    warmup_epochs: int = 0  # in which the rate rises from 0, before the schedule begins
    step_every: int = 7  # epochs between the drops of the schedule "step"
    step_factor: float = 0.1
    layer_decay: float = 1.0  # factor on the learning rate for each block further from the head
    frozen_epochs: int = 0  # at first, in which the head alone trains
    frozen_learning_rate: float | None = None  # of those epochs; None: the same rate
    ema_decay: float | None = None  # of the moving average of the weights that is evaluated and kept
    patience: int | None = None  # epochs without a better one before the trial ends
    regularizer: str = "none"
    dropout: float | None = None  # rate of the features before the head
    drop_connect: float | None = None  # rate of the head's weights
    drop_path: float | None = None  # rate of the last residual branch; those before it have less (stochastic depth)
    l2: float | None = None  # lambda * sum(w^2)
    l2_sp: float | None = None  # the same about the weights at the start
    l1: float | None = None  # lambda * sum(|w|)

    # -- the arithmetic: what changes bits is chosen here, never inferred from what happens to be free
    device: Literal["cpu", "cuda"] = "cpu"
    workers: int = 1  # processes that train it together, each on its share of every batch
    threads: int = 1  # of each
    # Evaluation is float32 always, and so are heads and losses: what is selected and tested is what ships.
    precision: str = "float32"  # of what trains of the backbone, while it trains
    frozen_precision: str = "float32"  # of what is frozen, on training views that are augmented
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
        _one_of("sampling", self.sampling, SAMPLINGS)
        _one_of("mixing", self.mixing, MIXINGS)
        _one_of("loss", self.loss, LOSSES)
        _one_of("distance", self.distance, DISTANCES)
        _one_of("region", self.region, REGIONS)
        _one_of("trains_on", self.trains_on, TRAINS_ON)
        _one_of("metric", self.metric, METRICS)
        _one_of("split", self.split, tuple(self.split_levels.split(",")))
        if self.weights == "pretrained" and self.backbone in FROM_SCRATCH:
            raise InputError(f"{self.backbone} has no pretrained weights: its trials take weights='none'.")
        if not UNFREEZE.fullmatch(self.unfreeze):
            raise InputError(
                f"Unknown unfreeze depth {self.unfreeze!r}: use 'head', 'all', 'last stage', 'last 2 stages', "
                "'last 3 blocks' or 'last 20 layers'."
            )
        for name in _COUNTS:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"`{name} >= 1` must hold, but got {value}.")
        for name in ("learning_rate", "frozen_learning_rate", "clip_norm", "mixing_alpha"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"`{name} > 0` must hold, but got {value}.")
        if self.batch_size % self.workers:
            raise InputError(
                f"`batch_size` must be a multiple of the {self.workers} workers of a trial, but got {self.batch_size}: "
                "change --workers-per-trial, or the study's batch_size."
            )
        if not 0 < self.train_fraction <= 1:
            raise InputError(f"`0 < train_fraction <= 1` must hold, but got {self.train_fraction}.")
        for name, low, high in (("label_smoothing", 0, 1), ("ema_decay", 0, 1)):
            value = getattr(self, name)
            if value is not None and not low <= value < high:
                raise InputError(f"`{name}` must be at least {low} and below {high}, but got {value}.")
        for name in ("warmup_epochs", "frozen_epochs"):
            if not 0 <= getattr(self, name) < self.epochs:
                raise InputError(f"`{name}` must be below the {self.epochs} epochs, but got {getattr(self, name)}.")
        if (self.mixing_alpha is not None) != (self.mixing != "none"):
            raise InputError(
                f"`mixing_alpha` exists exactly when mixing, but got ({self.mixing=}, {self.mixing_alpha=})."
            )
        for name in STRENGTHS:
            self._check_strength(name)

    def _check_strength(self, name: str) -> None:
        value = getattr(self, name)
        if (value is not None) != (self.regularizer == name):
            raise InputError(
                f"A strength exists exactly under its regularizer, but got ({self.regularizer=}, {name}={value})."
            )
        if value is not None and not (0 <= value < 1 if name in RATES else value >= 0):
            raise InputError(f"`{name}` must be a rate below 1 or a positive weight, but got {value}.")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def from_dict(values: dict[str, Any]) -> TrialConfig:
    """A config read back from a ledger written by this version."""
    return TrialConfig(**{name: values[name] for name in FIELDS})


# fmt: off
_COUNTS = (
    "views", "patience", "neighbours", "size", "stored_side", "epochs", "steps_per_epoch", "batch_size",
    "step_every", "workers", "threads", "block_size",
)
# fmt: on
FIELDS = tuple(field.name for field in fields(TrialConfig))


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InputError(f"Unknown {name} {value!r}; known: {', '.join(known)}.")
