"""The augmentation policies by name: how far a training view may stray from the evaluation view. Plain data."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Bounds of each operation; a view's own numbers are keyed, see views.py."""

    area: tuple[float, float]  # share of the picture that is cut out, before it is resized
    ratio: tuple[float, float] = (3 / 4, 4 / 3)  # width to height of the cut, of any picture: the view is a square
    flip: bool = True  # mirrored left to right for half of the views
    degrees: float = 0.0  # rotation up to, either way
    shift: float = 0.0  # translation up to, as a share of the side
    colour: float = 0.0  # brightness, contrast and saturation by a factor in 1 -+ this
    erase: float = 0.0  # probability that a rectangle of 2 to 20 % is painted over


# None is the evaluation view itself. The cut of "light" to "strong" widens from half to torchvision's classic
# 8 % (Szegedy et al. 2015); operations that two policies share use the same keyed numbers.
POLICIES: dict[str, Policy | None] = {
    "none": None,
    "crop": Policy(area=(0.7, 1.0), ratio=(0.9, 1.1), flip=False),  # for digits, signs: what has a handedness
    "light": Policy(area=(0.5, 1.0)),
    "medium": Policy(area=(0.4, 1.0), degrees=15, shift=0.1, colour=0.2),
    "strong": Policy(area=(0.08, 1.0), degrees=30, shift=0.1, colour=0.4, erase=0.25),
}
