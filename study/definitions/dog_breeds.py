"""From scratch or transfer, unfreeze depth, regularizer, and layer-wise learning rates, on Kaggle's 120 dog breeds.

    python -m study.run dog_breeds --data data/dog_breeds              # labels.csv and train/, or their zip files
    python -m study.run dog_breeds --data data/dog_breeds --published  # a student project's nets, as published

Kaggle needs a login, so download its files by hand. The dogs are ImageNet images, so every score also measures what
pretraining has memorized. Findings: none yet.
"""

from search_spaces import optimizers, regularizers
from search_spaces.distributions import Conditional
from study.spec import Budget, Published, Study

_TRANSFER = ("resnet18", "resnet34", "inception_v3", "densenet121", "vgg16")
_OURS = (
    "optimizer, rate, batch size and epochs are ours",
    "the source reports the best validation accuracy; we measure on test",
)
_RECIPE = {"optimizer": "adam", "learning_rate": 1e-3, "epochs": 10, "augmentation": "medium"}

STUDY = Study(
    dataset="dog_breeds",
    question="Which net, how deep to unfreeze, which regularizer, one learning rate or layer-wise, on 120 dog breeds?",
    factors={
        "backbone": ["lenet5", *_TRANSFER],
        "unfreeze": Conditional(levels=["head", "last stage", "all"], when={"backbone": _TRANSFER}, otherwise="all"),
        "regularizer": ["none", "dropout", "drop_connect", "l2", "l1"],
        # One learning rate for all layers, or smaller ones further from the head: an alternative to freezing.
        "layer_decay": [1.0, 0.65],
        "augmentation": ["none", "light", "medium"],
    },
    nuisances=optimizers.adaptive(1e-5, 1e-2) | regularizers.strength_of("dropout", "drop_connect", "l2", "l1"),
    fixed={"size": 224, "batch_size": 64, "split": "70-15-15"},
    budget=Budget(trials=90, epochs=20, refine=8, seeds=5),
    metric="val_log_loss",  # Kaggle's
    published=[
        Published(
            name="LeNet-5 from scratch",
            config=_RECIPE | {"backbone": "lenet5", "unfreeze": "all", "size": 32},
            metric="accuracy",
            fold="validation",
            value=0.0446,
            differs=_OURS,
        ),
        Published(
            name="ResNet-18, transfer",
            config=_RECIPE | {"backbone": "resnet18", "unfreeze": "head"},
            metric="accuracy",
            fold="validation",
            value=0.6478,
            differs=_OURS,
        ),
        Published(
            name="ResNet-34, transfer",
            config=_RECIPE | {"backbone": "resnet34", "unfreeze": "head"},
            metric="accuracy",
            fold="validation",
            value=0.6699,
            differs=_OURS,
        ),
    ],
)
