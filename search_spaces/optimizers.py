"""Ranges of learning rates, per optimizer.

A learning rate is almost always a nuisance: it must be tuned for every level that is compared. If the optimizer is a
factor itself, every optimizer has its own range under its own name, because the learning rates of Adam and SGD are
different hyperparameters (Deep Learning Tuning Playbook).
"""

from search_spaces.distributions import Range, Space


def adaptive(low: float = 1e-4, high: float = 3e-2) -> Space:
    """Return the range for Adam, AdamW or RMSprop.

    The upper end suits a new linear head. Whole pretrained nets need 1e-4 to 1e-3, so the range covers both.
    """
    return {"learning_rate": Range(low=low, high=high, log=True)}


def momentum_sgd(low: float = 1e-3, high: float = 0.5) -> Space:
    """Return the range for SGD with momentum 0.9.

    In terms of lr / (1 - momentum) this is 0.01 to 5. Li et al. 2020 found the best value at 0.001 to 0.5, depending on
    the dataset, and a new head needs more.
    """
    return {"learning_rate": Range(low=low, high=high, log=True)}


def by_optimizer(*names: str) -> Space:
    """Return the ranges for a study with the factor `optimizer`, each under its own level.

    Args:
        names: the optimizers of the study, by default all.
    """
    ranges = {name: adaptive() for name in ("adam", "adamw", "rmsprop")} | {"sgd": momentum_sgd()}
    return {
        f"{name}_learning_rate": Range(
            low=space["learning_rate"].low,
            high=space["learning_rate"].high,
            log=True,
            when={"optimizer": name},
            sets="learning_rate",
        )
        for name, space in ranges.items()
        if not names or name in names
    }
