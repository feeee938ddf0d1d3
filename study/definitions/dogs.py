"""Backbone, unfreeze depth, dropout or L2, augmentation, sampling, optimizer and split, on 120 dog breeds.

    python -m study.run dogs --data data/dogs              # estimate: 12 hours on one recent GPU
    python -m study.run dogs --data data/dogs --download   # fetch Stanford Dogs (0.8 GB) first
    python -m study.run dogs --data data/dogs --published  # the configurations of a student project, as published

The dogs are ImageNet images, so every score also measures what pretraining has memorized. Findings: none yet.
"""

from search_spaces import optimizers, regularizers
from study.spec import Budget, Published, Study

# The source names no optimizer, learning rate or batch size, and changed the split between runs.
_OURS = ("optimizer, rate, batch size and weights are ours", "measured on the test fold, not on validation")
_RECIPE = {"optimizer": "adam", "learning_rate": 1e-3, "epochs": 16, "patience": 3, "split": "70-15-15"}

STUDY = Study(
    dataset="stanford_dogs",
    question="Which backbone, how deep to unfreeze, dropout or L2, which augmentation and split, on 120 dog breeds?",
    factors={
        "backbone": ["mobilenetv2_100", "efficientnet_b0", "resnet50", "densenet121"],
        "unfreeze": ["head", "last stage", "last 20 layers", "all"],
        "regularizer": ["none", "dropout", "l2"],
        "augmentation": ["none", "light", "strong"],
        "sampling": ["uniform", "class_balanced"],
        "optimizer": ["adamw", "sgd"],
        "split": ["80-10-10", "70-15-15", "60-30-10"],
    },
    nuisances=optimizers.by_optimizer("adamw", "sgd") | regularizers.strength_of("dropout", "l2"),
    fixed={"size": 224, "batch_size": 64},
    budget=Budget(trials=96, epochs=30, refine=8, seeds=5),
    published=[
        Published(
            name="MobileNetV2, frozen",
            config=_RECIPE | {"backbone": "mobilenetv2_100", "unfreeze": "head", "augmentation": "medium"},
            metric="accuracy",
            fold="validation",
            value=0.09,
            differs=_OURS,
        ),
        Published(
            name="EfficientNetB0, frozen",
            config=_RECIPE | {"backbone": "efficientnet_b0", "unfreeze": "head", "augmentation": "medium"},
            metric="accuracy",
            fold="validation",
            value=0.36,
            differs=_OURS,
        ),
        Published(
            name="ResNet50, frozen",
            config=_RECIPE | {"backbone": "resnet50", "unfreeze": "head", "augmentation": "medium"},
            metric="accuracy",
            fold="validation",
            value=0.41,
            differs=_OURS,
        ),
        Published(
            name="DenseNet121, last 20 layers, L2 0.001",
            config=_RECIPE
            | {
                "backbone": "densenet121",
                "unfreeze": "last 20 layers",
                "augmentation": "medium",
                "regularizer": "l2",
                "l2": 1e-3,
                "sampling": "class_balanced",
            },
            metric="accuracy",
            fold="validation",
            value=0.60,
            also={"log_loss": 2.5},
            differs=(*_OURS, "the source's loss is above 2.5 and probably includes the penalty; ours does not"),
        ),
    ],
)
