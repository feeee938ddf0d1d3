"""The strengths of regularizers. A strength exists only under its own regularizer."""

from search_spaces.distributions import Range, Space


def strength() -> Space:
    """Return the strengths of all regularizers, each under its own level.

    The lower ends are natural: a weaker regularizer is close to the level "none", which a study compares anyway.
    """
    return {
        # The rate of units dropped before the classifier; 0 is the level "none".
        "dropout": Range(low=0.1, high=0.9, when={"regularizer": "dropout"}, natural=(0.1,)),
        # lambda of lambda * sum(w^2), Keras' definition without the factor 1/2.
        "l2": Range(low=1e-6, high=1e-1, log=True, when={"regularizer": "l2"}, natural=(1e-6,)),
        # lambda of lambda * sum(|w|).
        "l1": Range(low=1e-7, high=1e-3, log=True, when={"regularizer": "l1"}, natural=(1e-7,)),
        # lambda of lambda * sum((w - w0)^2), where w0 are the initial weights; Li et al. 2018 search the same decades.
        "l2_sp": Range(low=1e-4, high=1e-1, log=True, when={"regularizer": "l2_sp"}, natural=(1e-4,)),
        # The rate of the head's weights dropped in each step.
        "drop_connect": Range(low=0.1, high=0.8, when={"regularizer": "drop_connect"}, natural=(0.1,)),
        # The rate of the last residual branch; EfficientNet uses 0.2.
        "drop_path": Range(low=0.05, high=0.5, when={"regularizer": "drop_path"}, natural=(0.05,)),
    }


def strength_of(*names: str) -> Space:
    """Return the strengths of the named regularizers."""
    return {name: space for name, space in strength().items() if name in names}
