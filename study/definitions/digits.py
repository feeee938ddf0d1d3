"""Does transfer from ImageNet beat a small net from scratch, on tiny handwritten digits?

python -m study.run digits   # 2 min 47 s on 2 CPU cores; needs the extra `weights`, which make installs

Found: it does not (91.9 against 91.8 %, no evidence of a difference); unfreezing the last stage gains 8.6 points
over the head alone (95 % interval 5.9 to 11.4); L2 changes nothing (equivalent).
"""

from search_spaces import optimizers, regularizers
from search_spaces.distributions import Conditional
from study.spec import Budget, Study

STUDY = Study(
    dataset="digits",
    question="ImageNet or a small net from scratch, how deep, dropout or L2, on 1,797 handwritten digits?",
    factors={
        "backbone": ["tf_efficientnet_lite0", "small_cnn"],
        # A net that starts from random numbers has nothing to freeze.
        "unfreeze": Conditional(
            levels=["head", "last stage"], when={"backbone": "tf_efficientnet_lite0"}, otherwise="all"
        ),
        "regularizer": ["none", "dropout", "l2"],
        "augmentation": ["none", "crop"],  # no flip: a mirrored 2 is no 2
    },
    nuisances=optimizers.adaptive(3e-4, 1.0) | regularizers.strength_of("dropout", "l2"),
    fixed={"size": 32, "batch_size": 64, "split": "60-20-20"},
    budget=Budget(trials=12, epochs=5, refine=8, seeds=5),
)
