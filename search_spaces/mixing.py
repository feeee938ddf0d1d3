"""The strength of mixup and CutMix. It exists only in trials that mix views."""

from search_spaces.distributions import Range, Space


def alpha() -> Space:
    """Return the alpha of the Beta distribution for every kind of mixing. Near 0 hardly mixes; 1 is uniform."""
    return {
        "mixup_alpha": Range(low=0.1, high=1.0, when={"mixing": "mixup"}, sets="mixing_alpha", natural=(1.0,)),
        "cutmix_alpha": Range(low=0.1, high=1.0, when={"mixing": "cutmix"}, sets="mixing_alpha", natural=(1.0,)),
    }
