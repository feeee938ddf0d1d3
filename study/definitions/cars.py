"""Transfer or from scratch, unfreeze depth, dropout, augmentation, and the box or the whole image, on 196 cars.

    python -m study.run cars --data data/cars              # cars_train/, cars_test/, devkit/, or their archives
    python -m study.run cars --data data/cars --published  # the nine experiments of a student project, as published

The official download is gone; the error message says which files to put where. Findings: none yet.
"""

from search_spaces import optimizers, regularizers
from search_spaces.distributions import Conditional
from study.spec import Budget, Published, Study

_TRANSFER = ("resnet50", "densenet121")
_TRAINING = {"optimizer": "adam", "learning_rate": 1e-3, "size": 224}
_STEPS = {"schedule": "step", "step_every": 7, "step_factor": 0.1}
_FINE_TUNED = {
    **_TRAINING,
    **_STEPS,
    "backbone": "resnet50",
    "unfreeze": "all",
    "batch_size": 32,
    "epochs": 10,
    "augmentation": "rotation",
    "regularizer": "dropout",
    "dropout": 0.5,
}
_EMBEDDED = {**_TRAINING, "batch_size": 64, "epochs": 10, "region": "box", "augmentation": "rotation"}
_SCRATCH = {**_TRAINING, "unfreeze": "all", "batch_size": 64, "schedule": "constant", "region": "box"}


def _published(
    name: str,
    value: float,
    config: dict,
    *differs: str,
    f1: float,
    precision: float | None = None,
    loss: float | None = None,
) -> Published:
    """Return a published configuration of the source.

    All nine were measured on the official test fold: their accuracies are multiples of 1 / 8,041. The source's recall
    equals its accuracy in every row, so its means over classes are weighted by class size.
    """
    also = {"weighted_f1": f1, "weighted_precision": precision, "log_loss": loss}
    return Published(
        name=name,
        config=config,
        metric="accuracy",
        fold="test",
        value=value,
        n=8041,
        also={metric: number for metric, number in also.items() if number is not None},
        differs=(*differs, "the epoch is selected on a validation fold, which the source does not mention"),
    )


STUDY = Study(
    dataset="stanford_cars",
    question="Transfer or scratch, how deep to unfreeze, dropout or L2, which augmentation, box or image, on 196 cars?",
    factors={
        "backbone": ["norm_cnn", *_TRANSFER],
        "unfreeze": Conditional(levels=["head", "last stage", "all"], when={"backbone": _TRANSFER}, otherwise="all"),
        "regularizer": ["none", "dropout", "l2"],
        "augmentation": ["none", "rotation", "colour"],
        "region": ["picture", "box"],
    },
    nuisances=optimizers.adaptive(1e-5, 1e-2) | regularizers.strength_of("dropout", "l2"),
    fixed={"size": 224, "batch_size": 64, "split": "80-10-10"},
    budget=Budget(trials=90, epochs=40, refine=8, seeds=5),
    published=[
        _published(
            "1.1 ResNet-50, frozen",
            0.4237,
            {**_TRAINING, **_STEPS, "backbone": "resnet50", "unfreeze": "head", "batch_size": 32, "epochs": 10},
            f1=0.4196,
            precision=0.4291,
            loss=2.3724,
        ),
        _published(
            "1.2 ResNet-50, frozen, augmented",
            0.47,
            {
                **_TRAINING,
                **_STEPS,
                "backbone": "resnet50",
                "unfreeze": "head",
                "batch_size": 32,
                "epochs": 10,
                "augmentation": "rotation",
            },
            f1=0.47,
            precision=0.5,
            loss=2.0,
        ),
        _published(
            "1.3 ResNet-50, fine-tuned, augmented, dropout",
            0.7378,
            _FINE_TUNED,
            f1=0.7363,
            precision=0.7818,
            loss=0.9012,
        ),
        _published(
            "2.1 ResNet-50, 3 nearest neighbors",
            0.7493,
            {**_FINE_TUNED, "region": "box", "batch_size": 64, "neighbours": 3, "distance": "euclidean"},
            f1=0.7523,
            precision=0.7738,
        ),
        _published(
            "2.2 ResNet-50, 10 nearest neighbors",
            0.7677,
            {**_FINE_TUNED, "region": "box", "batch_size": 64, "neighbours": 10, "distance": "euclidean"},
            f1=0.7677,
            precision=0.7881,
        ),
        _published(
            "2.3 DenseNet121, 7 nearest neighbors by cosine",
            0.7341,
            {
                **_EMBEDDED,
                "backbone": "densenet121",
                "unfreeze": "all",
                "frozen_epochs": 3,
                "neighbours": 7,
                "distance": "cosine",
            },
            "progressive unfreezing means the head first, then all layers",
            f1=0.7349,
            precision=0.7533,
        ),
        _published(
            "3.1 three blocks from scratch",
            0.0888,
            {**_SCRATCH, "backbone": "plain_cnn", "epochs": 10},
            "widths and epochs are ours",
            f1=0.0852,
            precision=0.098,
            loss=4.6955,
        ),
        _published(
            "3.2 four blocks with norms and dropout",
            0.0816,
            {**_SCRATCH, "backbone": "norm_cnn", "epochs": 10, "regularizer": "dropout", "dropout": 0.5},
            "widths and epochs are ours",
            f1=0.0623,
            precision=0.0717,
            loss=4.5436,
        ),
        _published(
            "3.3 the same, augmented, 40 epochs",
            0.7226,
            {
                **_SCRATCH,
                "backbone": "norm_cnn",
                "epochs": 40,
                "regularizer": "dropout",
                "dropout": 0.5,
                "augmentation": "colour",
            },
            "widths are ours",
            f1=0.7217,
            precision=0.7299,
            loss=1.1026,
        ),
    ],
)
