"""Which backbone, how deep, dropout or L2, which views, which split, on 120 dog breeds?

    python -m study.run dogs --data data/dogs              # by the cost table: 17 hours on one recent GPU
    python -m study.run dogs --data data/dogs --download   # fetch Stanford Dogs (0.8 GB) first

Found: nothing yet. The dogs are ImageNet pictures, so every score also measures what pretraining remembers.
"""

from search_spaces import optimizers, regularizers
from study.spec import Budget, Study

STUDY = Study(
    dataset="stanford_dogs",
    question="Which backbone, how deep, dropout or L2, which augmentation and which split, on 120 dog breeds?",
    factors={
        "backbone": ["mobilenetv2_100", "efficientnet_b0", "resnet50", "densenet121"],
        "unfreeze": ["head", "last stage", "last 20 layers", "all"],
        "regularizer": ["none", "dropout", "l2"],
        "augmentation": ["none", "light", "strong"],
        "split": ["80-10-10", "70-15-15", "60-30-10"],
    },
    nuisances=optimizers.adaptive(1e-5, 1e-2) | regularizers.strength_of("dropout", "l2"),
    fixed={"size": 224, "batch_size": 64},
    budget=Budget(trials=96, epochs=30, refine=8, seeds=5),
)
