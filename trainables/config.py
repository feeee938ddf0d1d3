"""Everything a trial's rows depend on, in one flat frozen record."""

from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any, Literal

from trainables import unfreeze_depth
from trainables.errors import unknown
from trainables.fields import OPTIMIZERS as OPTIMIZERS  # for those who enumerate them
from trainables.fields import TOGETHER, check_value


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
    test_folds: int | None = None  # the same, over what tests: all images do, each once in so many repeats

    # -- the net
    backbone: str  # any timm name, with or without its weights' tag
    weights: Literal["pretrained", "none"] = "pretrained"
    weights_hash: str = ""  # sha256 of the file the pretrained weights came from
    unfreeze: str = unfreeze_depth.DEFAULT  # how deep the backbone trains
    neighbours: int | None = None  # test predictions by so many nearest training images; None: by the head
    distance: str = "euclidean"  # between their features

    # -- the views
    size: int  # side of the square the net sees, in pixels
    region: str = "picture"  # or the annotated box
    stored_side: int  # shorter side of the decoded images that views are cut from
    augmentation: str = "none"
    views: int | None = None  # different training views per image, taken in turn; None: a fresh one in every epoch

    # -- the batches
    sampling: str = "uniform"  # or every class equally often
    mixing: str = "none"  # views blended with those of other images
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
    block_size: int = 64  # images that pass a frozen part or are evaluated together; the last block is padded

    def __post_init__(self) -> None:
        values = self.to_dict()
        for name, value in values.items():
            check_value(name, value)
        if self.split not in (levels := self.split_levels.split(",")):
            raise unknown("split", self.split, levels)
        for _, check in TOGETHER:
            check(values)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def from_dict(values: dict[str, Any]) -> TrialConfig:
    """A config read back from a ledger written by this version."""
    return TrialConfig(**{name: values[name] for name in FIELDS})


FIELDS = tuple(field.name for field in fields(TrialConfig))
DEFAULTS = {field.name: field.default for field in fields(TrialConfig) if field.default is not MISSING}
