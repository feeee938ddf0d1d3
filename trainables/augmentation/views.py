"""Views: the augmented versions of images, as pure functions of the image and a key.

The key is (study seed, repeat, operation, epoch, item, occurrence in the epoch). Batch size, split, order and the
number of workers do not change a view. Policies that share an operation also share its random numbers.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainables.augmentation.operations import operate
from trainables.augmentation.policies import OPERATIONS_AT_MOST, POLICIES, Policy
from trainables.keyed import key, uniform
from trainables.preprocess import center_square, cut

# Increase it whenever the pixels of a view change: older stored views are then ignored.
VERSION = 1
# ITU-R BT.601 luma, as PIL converts to grayscale.
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
# The erased square covers this share of the view (Zhong et al. 2017 use 2 to 40%).
_ERASED_AREA = (0.02, 0.2)


@dataclass(frozen=True)
class InputContract:
    """The input that a backbone's weights expect, read from their own configuration.

    The field names are part of the keys of stored activations.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str
    crop: float  # side of the evaluation's center crop, as a share of the image's shorter side


@dataclass(frozen=True)
class ViewKey:
    """The key of a view, without the image."""

    study_seed: int
    repeat: int
    epoch: int

    def draw(self, operation: str, items: NDArray[np.int64], occurrence: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return a uniform number in [0, 1) for every view, shape (n,)."""
        stream = key("view", self.study_seed, self.repeat, operation, self.epoch)
        return uniform(stream, items, occurrence)


def training_views(
    images: Sequence[NDArray[np.uint8]],
    items: NDArray[np.int64],
    occurrence: NDArray[np.int64],
    where: ViewKey,
    augmentation: str,
    size: int,
    contract: InputContract,
    threads: int = 1,
) -> NDArray[np.uint8]:
    """Return views (n, size, size, 3) of images (each (h, w, 3)), keyed by `items` (n,) and `occurrence` (n,)."""
    policy = POLICIES[augmentation]
    if policy is None:
        return evaluation_views(images, size, contract, threads)
    draws = {name: where.draw(name, items, occurrence) for name in _OPERATIONS}

    def view(i: int) -> NDArray[np.uint8]:
        return _render(images[i], {name: values[i] for name, values in draws.items()}, policy, size, contract)

    return _stacked(view, len(images), size, threads)


def evaluation_views(
    images: Sequence[NDArray[np.uint8]], size: int, contract: InputContract, threads: int = 1
) -> NDArray[np.uint8]:
    """Return the center crops (n, size, size, 3) that the weights expect, each in a single resampling."""

    def view(i: int) -> NDArray[np.uint8]:
        height, width = images[i].shape[:2]
        return cut(images[i], center_square(height, width, contract.crop), size, contract.interpolation)

    return _stacked(view, len(images), size, threads)


def _stacked(view: Callable[[int], NDArray[np.uint8]], count: int, size: int, threads: int) -> NDArray[np.uint8]:
    views = np.empty((count, size, size, 3), dtype=np.uint8)
    if threads == 1:
        for i in range(count):
            views[i] = view(i)
        return views
    with ThreadPoolExecutor(threads) as pool:  # resampling releases the GIL
        for i, pixels in enumerate(pool.map(view, range(count))):
            views[i] = pixels
    return views


# fmt: off
_OPERATIONS = (
    "area", "ratio", "left", "top", "flip", "angle", "shift x", "shift y", "brightness", "contrast", "saturation",
    "erase", "erase area", "erase left", "erase top",
    *(f"{part} {i}" for i in range(OPERATIONS_AT_MOST) for part in ("operation", "magnitude")),
)
# fmt: on


def _render(
    image: NDArray[np.uint8], u: dict[str, float], policy: Policy, size: int, contract: InputContract
) -> NDArray[np.uint8]:
    view = cut(image, _box(image, u, policy), size, contract.interpolation)
    if policy.flip and u["flip"] < 0.5:
        view = view[:, ::-1]
    if policy.degrees or policy.shift:
        view = _move(view, u, policy, contract)
    for i in range(policy.operations):
        view = _operate(view, u[f"operation {i}"], u[f"magnitude {i}"], policy, contract)
    if policy.colour:
        view = _recolor(view, u, policy.colour)
    if u["erase"] < policy.erase:
        view = _erase(view, u, contract)
    return view


def _box(image: NDArray[np.uint8], u: dict[str, float], policy: Policy) -> tuple[float, float, float, float]:
    """Return the crop (left, top, right, bottom) in pixels of the image; fractions of pixels are not rounded."""
    height, width = image.shape[:2]
    low, high = policy.area
    area = (low + u["area"] * (high - low)) * height * width
    low, high = np.log(policy.ratio[0]), np.log(policy.ratio[1])
    ratio = np.exp(low + u["ratio"] * (high - low))
    box_width = min(width, np.sqrt(area * ratio))
    box_height = min(height, np.sqrt(area / ratio))
    left, top = u["left"] * (width - box_width), u["top"] * (height - box_height)
    return left, top, left + box_width, top + box_height


def _move(view: NDArray[np.uint8], u: dict[str, float], policy: Policy, contract: InputContract) -> NDArray[np.uint8]:
    """Rotate about the center and shift; pixels from outside of the image get the mean color of the weights."""
    size = view.shape[0]
    angle = np.deg2rad((2 * u["angle"] - 1) * policy.degrees)
    shift_x, shift_y = (
        (2 * u["shift x"] - 1) * policy.shift * size,
        (2 * u["shift y"] - 1) * policy.shift * size,
    )
    cos, sin, center = np.cos(angle), np.sin(angle), size / 2
    x, y = center + shift_x, center + shift_y  # where the center goes
    matrix = (cos, sin, center - cos * x - sin * y, -sin, cos, center + sin * x - cos * y)
    image = Image.fromarray(np.ascontiguousarray(view)).transform(
        (size, size),
        Image.Transform.AFFINE,
        matrix,
        Image.Resampling.BILINEAR,
        fillcolor=_mean_color(contract),
    )
    return np.asarray(image)


def _operate(
    view: NDArray[np.uint8], u_operation: float, u_magnitude: float, policy: Policy, contract: InputContract
) -> NDArray[np.uint8]:
    signed = 2 * u_magnitude - 1
    magnitude = signed if policy.magnitude is None else np.copysign(policy.magnitude, u_magnitude - 0.5)
    image = Image.fromarray(np.ascontiguousarray(view))
    return np.asarray(operate(image, u_operation, float(magnitude), _mean_color(contract)))


def _recolor(view: NDArray[np.uint8], u: dict[str, float], strength: float) -> NDArray[np.uint8]:
    brightness, contrast, saturation = (
        np.float32(1 + (2 * u[name] - 1) * strength) for name in ("brightness", "contrast", "saturation")
    )
    x = view.astype(np.float32) * brightness
    gray = (x @ _LUMA)[..., None]
    x = gray + (x - gray) * saturation
    middle = gray.mean(dtype=np.float64).astype(np.float32)
    x = middle + (x - middle) * contrast
    return np.clip(x + 0.5, 0, 255).astype(np.uint8)


def _erase(view: NDArray[np.uint8], u: dict[str, float], contract: InputContract) -> NDArray[np.uint8]:
    size = view.shape[0]
    low, high = _ERASED_AREA
    side = max(1, round(np.sqrt(low + u["erase area"] * (high - low)) * size))
    left, top = (int(u[name] * (size - side + 1)) for name in ("erase left", "erase top"))
    view = view.copy()
    view[top : top + side, left : left + side] = _mean_color(contract)
    return view


def _mean_color(contract: InputContract) -> tuple[int, int, int]:
    red, green, blue = (round(255 * value) for value in contract.mean)
    return red, green, blue
