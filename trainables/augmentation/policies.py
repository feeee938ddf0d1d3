"""The augmentation policies by name. They bound how much a training view differs from the evaluation view."""

from dataclasses import dataclass

OPERATIONS_AT_MOST = 2


@dataclass(frozen=True, kw_only=True)
class Policy:
    """The bounds of every operation; each view draws its own parameters, see views.py.

    The field names are part of the keys of stored activations.
    """

    area: tuple[float, float]  # area of the crop as a share of the image
    ratio: tuple[float, float] = (3 / 4, 4 / 3)  # aspect ratio of the crop, which is resized to a square
    flip: bool = True  # half of the views are flipped horizontally
    degrees: float = 0.0  # maximum rotation in either direction
    shift: float = 0.0  # maximum translation, as a share of the side
    colour: float = 0.0  # maximum change of brightness, contrast and saturation: their factors are within 1 ± this
    erase: float = 0.0  # probability of erasing a square of 2 to 20% of the area
    operations: int = 0  # number of operations from operations.py, at most OPERATIONS_AT_MOST
    magnitude: float | None = None  # their magnitude, in either direction; None: uniform


# None is the evaluation view itself. From "light" to "strong", the smallest crop shrinks from half of the image to
# torchvision's 8% (Szegedy et al. 2015). Operations that two policies share use the same keyed numbers.
POLICIES: dict[str, Policy | None] = {
    "none": None,
    "crop": Policy(
        area=(0.7, 1.0), ratio=(0.9, 1.1), flip=False
    ),  # for digits, signs and other images that must not be flipped
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
