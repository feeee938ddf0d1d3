"""Transfer or a small net, unfreeze depth, one or two training phases, and augmentation, on cats and dogs.

    python -m study.run cats_vs_dogs --data data/cats_vs_dogs              # train/cat.0.jpg ... or PetImages/Cat ...
    python -m study.run cats_vs_dogs --data data/cats_vs_dogs --download   # fetch PetImages (0.8 GB) first
    python -m study.run cats_vs_dogs --data data/cats_vs_dogs --published  # two student projects, as published

Findings: none yet.
"""

from search_spaces import optimizers, regularizers
from search_spaces.distributions import Conditional
from study.spec import Budget, Published, Study

_TRANSFER = ("mobilenetv2_100", "resnet50")

STUDY = Study(
    dataset="cats_vs_dogs",
    question="Transfer or a small net, how deep to unfreeze, head first or not, which augmentation, on cats and dogs?",
    factors={
        "backbone": ["three_block_cnn", *_TRANSFER],
        "unfreeze": Conditional(
            levels=["head", "last stage", "last 54 layers", "all"], when={"backbone": _TRANSFER}, otherwise="all"
        ),
        "frozen_epochs": Conditional(levels=[0, 3], when={"backbone": _TRANSFER}, otherwise=0),
        "regularizer": ["none", "dropout", "l2"],
        "augmentation": ["none", "light", "geometric"],
    },
    nuisances=optimizers.adaptive(1e-5, 1e-2) | regularizers.strength_of("dropout", "l2"),
    fixed={"size": 128, "batch_size": 64, "split": "70-15-15"},
    budget=Budget(trials=60, epochs=12, refine=8, seeds=5),
    published=[
        Published(
            name="MobileNetV2, 8 epochs frozen, then 5 with the layers after the 100th",
            config={
                "backbone": "mobilenetv2_100",
                "size": 128,
                "loss": "binary_cross_entropy",
                "optimizer": "rmsprop",
                "learning_rate": 1e-4,
                "schedule": "constant",
                "batch_size": 32,
                "frozen_epochs": 8,
                "epochs": 13,
                "unfreeze": "last 54 layers",
            },
            metric="accuracy",
            fold="validation",
            value=0.973,
            differs=(
                "batch size and split are ours",
                "the last 54 layers are timm's; the source counts Keras' layers",
                "images are normalized as the weights expect; the source scales them differently",
            ),
        ),
        Published(
            name="a three-block CNN from scratch",
            config={
                "backbone": "three_block_cnn",
                "unfreeze": "all",
                "size": 224,
                "optimizer": "adam",
                "learning_rate": 1e-3,
                "schedule": "constant",
                "batch_size": 32,
                "epochs": 10,
                "augmentation": "geometric",
                "regularizer": "dropout",
                "dropout": 0.5,
            },
            metric="accuracy",
            fold="test",
            value=0.8109,
            n=3750,
            differs=("widths, rate, batch size and epochs are ours",),
        ),
        Published(
            name="ResNet50, frozen at 1e-4, then its top at 1e-5",
            config={
                "backbone": "resnet50",
                "unfreeze": "last stage",
                "size": 224,
                "optimizer": "adam",
                "frozen_learning_rate": 1e-4,
                "learning_rate": 1e-5,
                "schedule": "constant",
                "batch_size": 32,
                "frozen_epochs": 5,
                "epochs": 10,
                "augmentation": "geometric",
            },
            metric="accuracy",
            fold="test",
            value=0.9907,
            n=3750,
            differs=("epochs of the phases, batch size and what counts as the top are ours",),
        ),
    ],
)
