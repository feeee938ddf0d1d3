"""How strongly views are mixed. A strength exists only where there is mixing."""

from search_spaces.distributions import Range, Space


def alpha() -> Space:
    """Of the Beta distribution of shares, for each kind of mixing: near 0 hardly mixed, at 1 uniform."""
    return {
        "mixup_alpha": Range(low=0.1, high=1.0, when={"mixing": "mixup"}, sets="mixing_alpha", natural=(1.0,)),
        "cutmix_alpha": Range(low=0.1, high=1.0, when={"mixing": "cutmix"}, sets="mixing_alpha", natural=(1.0,)),
    }
