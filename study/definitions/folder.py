"""Backbone, unfreeze depth, dropout or L2, and augmentation, on your own images in one folder per class.

python -m study.run folder --data DIR --dry-run  # prints the cost on these images and this machine
python -m study.run folder --data DIR
python -m study.run --new folder mine.py         # a copy to edit
"""

from search_spaces import optimizers, regularizers
from search_spaces.distributions import Conditional
from study.spec import Budget, Study

STUDY = Study(
    dataset="folder",
    question="Which backbone, how deep to unfreeze, dropout or L2, and which augmentation suit these images?",
    factors={
        "backbone": ["tf_efficientnet_lite0", "small_cnn"],
        # A net that is trained from scratch has no pretrained layers to freeze.
        "unfreeze": Conditional(
            levels=["head", "last stage", "all"], when={"backbone": "tf_efficientnet_lite0"}, otherwise="all"
        ),
        "regularizer": ["none", "dropout", "l2"],
        "augmentation": ["none", "light"],
    },
    nuisances=optimizers.adaptive(3e-4, 1e-2) | regularizers.strength_of("dropout", "l2"),
    fixed={"size": 96, "batch_size": 32, "split": "70-15-15"},
    budget=Budget(trials=18, epochs=6, refine=4, seeds=5),
)
