"""The augmentation policies by name: how far a training view may stray from the evaluation view. Plain data."""

from dataclasses import dataclass

OPERATIONS_AT_MOST = 2


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Bounds of each operation; a view's own numbers are keyed, see views.py."""

    area: tuple[float, float]  # share of the image that is cut out, before it is resized
    ratio: tuple[float, float] = (3 / 4, 4 / 3)  # width to height of the cut, of any image: the view is a square
    flip: bool = True  # mirrored left to right for half of the views
    degrees: float = 0.0  # rotation up to, either way
    shift: float = 0.0  # translation up to, as a share of the side
    colour: float = 0.0  # brightness, contrast and saturation by a factor in 1 -+ this
    erase: float = 0.0  # probability that a rectangle of 2 to 20 % is painted over
    operations: int = 0  # of those in operations.py, drawn one after the other, at most OPERATIONS_AT_MOST
    magnitude: float | None = None  # theirs, either way; None: drawn from all


# None is the evaluation view itself. The cut of "light" to "strong" widens from half to torchvision's classic
# 8 % (Szegedy et al. 2015); operations that two policies share use the same keyed numbers.
POLICIES: dict[str, Policy | None] = {
    "none": None,
    "crop": Policy(area=(0.7, 1.0), ratio=(0.9, 1.1), flip=False),  # for digits, signs: what has a handedness
    "light": Policy(area=(0.5, 1.0)),
    "medium": Policy(area=(0.4, 1.0), degrees=15, shift=0.1, colour=0.2),
    "strong": Policy(area=(0.08, 1.0), degrees=30, shift=0.1, colour=0.4, erase=0.25),
    "geometric": Policy(area=(0.64, 1.0), ratio=(1.0, 1.0), degrees=20, shift=0.1),  # zoom by up to a fifth
    "rotation": Policy(area=(0.64, 1.0), ratio=(1.0, 1.0), degrees=15),
    "colour": Policy(area=(0.64, 1.0), ratio=(1.0, 1.0), colour=0.2),
    "erasing": Policy(area=(0.5, 1.0), erase=0.5),  # Zhong et al. 2017
    "randaugment": Policy(area=(0.5, 1.0), operations=2, magnitude=0.3),  # Cubuk et al. 2020: 2 at 9 of 30
    "trivialaugment": Policy(area=(0.5, 1.0), operations=1),  # Mueller and Hutter 2021
}
