"""Strength of mixing. It exists only where views are mixed."""

from search_spaces.distributions import Range, Space


def alpha() -> Space:
    """Return the alpha of the Beta distribution for every kind of mixing: near 0 hardly mixed, at 1 uniform."""
    return {
        "mixup_alpha": Range(low=0.1, high=1.0, when={"mixing": "mixup"}, sets="mixing_alpha", natural=(1.0,)),
        "cutmix_alpha": Range(low=0.1, high=1.0, when={"mixing": "cutmix"}, sets="mixing_alpha", natural=(1.0,)),
    }
