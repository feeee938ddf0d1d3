"""The config of a trial: everything that its rows depend on, in one flat frozen record."""

from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any, Literal

from trainables import unfreeze_depth
from trainables.errors import unknown
from trainables.fields import OPTIMIZERS as OPTIMIZERS  # re-exported
from trainables.fields import TOGETHER, check_value


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialConfig:
    """The config of one trial.

    On one machine equal configs give equal rows, except for `seconds` and `images_per_second`.

    Raises:
        InputError: A value breaks its field's rule, or two fields do not fit together.
    """

    # -- the data
    manifest: str  # hash of the manifest: the version of the data
    split: str  # train-val-test in percent, one of split_levels
    split_levels: str  # all levels of the study, comma separated; together they determine the common folds
    official_split: bool  # whether the dataset's own test fold is used
    train_fraction: float = 1.0  # share of the training fold; smaller shares are subsets of larger ones
    study_seed: int
    trains_on: str = "train"  # or train+val, for a model to ship: without validation images, the last epoch is kept
    seed: int = 0  # the repeat: 0 in the search, 1 to S in the confirmation
    folds: int | None = None  # k of a repeated k-fold cross-validation in the confirmation
    test_folds: int | None = None  # k of a repeated k-fold over the test fold: every image tests once in k repeats

    # -- the net
    backbone: str  # any timm name, with or without the tag of its weights
    weights: Literal["pretrained", "none"] = "pretrained"
    weights_hash: str = ""  # sha256 of the pretrained weights file
    unfreeze: str = unfreeze_depth.DEFAULT  # how deep the backbone trains
    neighbours: int | None = None  # k of a kNN classifier on the features; None: the head predicts
    distance: str = "euclidean"  # between features

    # -- the views
    size: int  # side of the square input, in pixels
    region: str = "picture"  # or the annotated box
    stored_side: int  # shorter side of the decoded images that views are cropped from, in pixels
    augmentation: str = "none"
    views: int | None = None  # number of training views per image, used in turn; None: a new view in every epoch

    # -- the batches
    sampling: str = "uniform"  # or class_balanced
    mixing: str = "none"  # or mixup, cutmix
    mixing_alpha: float | None = None  # alpha of the Beta distribution of the mixing ratio; None without mixing

    # -- the loss
    loss: str = "cross_entropy"  # or binary_cross_entropy: one output, for two classes
    label_smoothing: float = 0.0
    metric: str = "val_accuracy"  # selects the best epoch

    # -- the training
    epochs: int
    steps_per_epoch: int  # equal for all splits and training fractions, so that data size and steps are not confounded
    batch_size: int
    # images per forward pass, whose gradients add up to those of the batch, so that it fits into a small memory; batch
    # norms see this many; None: the whole batch, or a worker's share of it
    micro_batch: int | None = None
    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    momentum: float = 0.9  # of sgd and rmsprop
    weight_decay: float = 0.0  # decoupled for adamw; added to the gradient for the others
    clip_norm: float | None = None  # maximum gradient norm
    schedule: str = "cosine"
    warmup_epochs: int = 0  # the learning rate rises linearly from 0 before the schedule begins
    step_every: int = 7  # epochs between drops of the "step" schedule
    step_factor: float = 0.1
    layer_decay: float = 1.0  # learning-rate factor per block of distance from the head
    frozen_epochs: int = 0  # epochs at the start in which only the head trains
    frozen_learning_rate: float | None = None  # learning rate of those epochs; None: `learning_rate`
    ema_decay: float | None = None  # of the moving average of the weights, which is then evaluated and kept
    patience: int | None = None  # epochs without improvement before the trial ends
    regularizer: str = "none"
    dropout: float | None = None  # rate of dropped features before the head
    drop_connect: float | None = None  # rate of dropped weights in the head
    drop_path: float | None = None  # stochastic depth: rate of the last residual branch; earlier rates are smaller
    l2: float | None = None  # lambda * sum(w^2)
    l2_sp: float | None = None  # lambda * sum((w - w_start)^2)
    l1: float | None = None  # lambda * sum(|w|)

    # -- the arithmetic: everything that changes bits is set here, and never inferred from the machine
    device: Literal["cpu", "cuda"] = "cpu"
    workers: int = 1  # data-parallel processes, each with its share of every batch
    threads: int = 1  # per process
    # Evaluation, heads and losses are always float32: the selected and tested model is the one that ships.
    precision: str = "float32"  # of the trainable part of the backbone during training
    frozen_precision: str = "float32"  # of the frozen part on augmented training views
    channels_last: bool = True
    block_size: int = 64  # images per forward pass of frozen parts and of evaluation; the last block is padded

    def __post_init__(self) -> None:
        values = self.to_dict()
        for name, value in values.items():
            check_value(name, value)
        if self.split not in (levels := self.split_levels.split(",")):
            raise unknown("split", self.split, levels)
        for _, check in TOGETHER:
            check(values)

    def to_dict(self) -> dict[str, Any]:
        """Return all fields by name."""
        return asdict(self)


def from_dict(values: dict[str, Any]) -> TrialConfig:
    """Return the config from a mapping with all of its fields; other keys are ignored.

    Raises:
        InputError: A value breaks its field's rule, or two fields do not fit together.
    """
    return TrialConfig(**{name: values[name] for name in FIELDS})


FIELDS = tuple(field.name for field in fields(TrialConfig))
DEFAULTS = {field.name: field.default for field in fields(TrialConfig) if field.default is not MISSING}
