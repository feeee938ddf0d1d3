"""Views: what an epoch sees of an image, as a pure function of the key and the image.

A view depends on (study seed, repeat, operation, epoch, item, occurrence in the epoch) and on nothing else, so
batch size, split, order and the number of workers change nothing about it, and two policies that share an
operation share its numbers.
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

# Raise it whenever a view gets other pixels: what is stored of older ones is then left alone.
VERSION = 1
# ITU-R BT.601 luma, as PIL converts to grayscale.
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
# The painted-over rectangle covers this share of the view (Zhong et al. 2017 use 2 to 40 %).
_ERASED_AREA = (0.02, 0.2)


@dataclass(frozen=True)
class InputContract:
    """What a backbone's weights expect of their input: read from the weights' own configuration, never typed."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str
    crop: float  # share of the shorter side that the evaluation's center crop keeps


@dataclass(frozen=True)
class ViewKey:
    """Whose view it is: everything but the image."""

    study_seed: int
    repeat: int
    epoch: int

    def draw(self, operation: str, items: NDArray[np.int64], occurrence: NDArray[np.int64]) -> NDArray[np.float64]:
        stream = key("view", self.study_seed, self.repeat, operation, self.epoch)
        return uniform(stream, items, occurrence)


def training_views(
    pictures: Sequence[NDArray[np.uint8]],
    items: NDArray[np.int64],
    occurrence: NDArray[np.int64],
    where: ViewKey,
    augmentation: str,
    size: int,
    contract: InputContract,
    threads: int = 1,
) -> NDArray[np.uint8]:
    """The views of `pictures` (each h x w x 3), shape (n, size, size, 3); `items` and `occurrence` key them."""
    policy = POLICIES[augmentation]
    if policy is None:
        return evaluation_views(pictures, size, contract, threads)
    draws = {name: where.draw(name, items, occurrence) for name in _OPERATIONS}

    def view(i: int) -> NDArray[np.uint8]:
        return _render(pictures[i], {name: values[i] for name, values in draws.items()}, policy, size, contract)

    return _stacked(view, len(pictures), size, threads)


def evaluation_views(
    pictures: Sequence[NDArray[np.uint8]], size: int, contract: InputContract, threads: int = 1
) -> NDArray[np.uint8]:
    """The center square of each image that the weights' configuration asks for, in one resampling."""

    def view(i: int) -> NDArray[np.uint8]:
        height, width = pictures[i].shape[:2]
        return cut(pictures[i], center_square(height, width, contract.crop), size, contract.interpolation)

    return _stacked(view, len(pictures), size, threads)


def _stacked(view: Callable[[int], NDArray[np.uint8]], count: int, size: int, threads: int) -> NDArray[np.uint8]:
    views = np.empty((count, size, size, 3), dtype=np.uint8)
    if threads == 1:
        for i in range(count):
            views[i] = view(i)
        return views
    with ThreadPoolExecutor(threads) as pool:  # resampling holds no lock
        for i, made in enumerate(pool.map(view, range(count))):
            views[i] = made
    return views


# fmt: off
_OPERATIONS = (
    "area", "ratio", "left", "top", "flip", "angle", "shift x", "shift y", "brightness", "contrast", "saturation",
    "erase", "erase area", "erase left", "erase top",
    *(f"{what} {i}" for i in range(OPERATIONS_AT_MOST) for what in ("operation", "magnitude")),
)
# fmt: on


def _render(
    picture: NDArray[np.uint8], u: dict[str, float], policy: Policy, size: int, contract: InputContract
) -> NDArray[np.uint8]:
    view = cut(picture, _box(picture, u, policy), size, contract.interpolation)
    if policy.flip and u["flip"] < 0.5:
        view = view[:, ::-1]
    if policy.degrees or policy.shift:
        view = _move(view, u, policy, contract)
    for i in range(policy.operations):
        view = _operate(view, u[f"operation {i}"], u[f"magnitude {i}"], policy, contract)
    if policy.colour:
        view = _recolour(view, u, policy.colour)
    if u["erase"] < policy.erase:
        view = _erase(view, u, contract)
    return view


def _box(picture: NDArray[np.uint8], u: dict[str, float], policy: Policy) -> tuple[float, float, float, float]:
    """The cut (left, top, right, bottom) in pixels of the image; fractions are resampled exactly."""
    height, width = picture.shape[:2]
    low, high = policy.area
    area = (low + u["area"] * (high - low)) * height * width
    low, high = np.log(policy.ratio[0]), np.log(policy.ratio[1])
    ratio = np.exp(low + u["ratio"] * (high - low))
    box_width = min(width, np.sqrt(area * ratio))
    box_height = min(height, np.sqrt(area / ratio))
    left, top = u["left"] * (width - box_width), u["top"] * (height - box_height)
    return left, top, left + box_width, top + box_height


def _move(view: NDArray[np.uint8], u: dict[str, float], policy: Policy, contract: InputContract) -> NDArray[np.uint8]:
    """Rotated about the center and shifted; what comes in from outside has the weights' mean color."""
    size = view.shape[0]
    angle = np.deg2rad((2 * u["angle"] - 1) * policy.degrees)
    shift_x, shift_y = (
        (2 * u["shift x"] - 1) * policy.shift * size,
        (2 * u["shift y"] - 1) * policy.shift * size,
    )
    cos, sin, centre = np.cos(angle), np.sin(angle), size / 2
    x, y = centre + shift_x, centre + shift_y  # where the center goes
    matrix = (cos, sin, centre - cos * x - sin * y, -sin, cos, centre + sin * x - cos * y)
    image = Image.fromarray(np.ascontiguousarray(view)).transform(
        (size, size),
        Image.Transform.AFFINE,
        matrix,
        Image.Resampling.BILINEAR,
        fillcolor=_mean_colour(contract),
    )
    return np.asarray(image)


def _operate(
    view: NDArray[np.uint8], which: float, u: float, policy: Policy, contract: InputContract
) -> NDArray[np.uint8]:
    magnitude = 2 * u - 1 if policy.magnitude is None else np.copysign(policy.magnitude, u - 0.5)
    image = Image.fromarray(np.ascontiguousarray(view))
    return np.asarray(operate(image, which, float(magnitude), _mean_colour(contract)))


def _recolour(view: NDArray[np.uint8], u: dict[str, float], strength: float) -> NDArray[np.uint8]:
    brightness, contrast, saturation = (
        np.float32(1 + (2 * u[name] - 1) * strength) for name in ("brightness", "contrast", "saturation")
    )
    x = view.astype(np.float32) * brightness
    grey = (x @ _LUMA)[..., None]
    x = grey + (x - grey) * saturation
    middle = grey.mean(dtype=np.float64).astype(np.float32)
    x = middle + (x - middle) * contrast
    return np.clip(x + 0.5, 0, 255).astype(np.uint8)


def _erase(view: NDArray[np.uint8], u: dict[str, float], contract: InputContract) -> NDArray[np.uint8]:
    size = view.shape[0]
    low, high = _ERASED_AREA
    side = max(1, round(np.sqrt(low + u["erase area"] * (high - low)) * size))
    left, top = (int(u[name] * (size - side + 1)) for name in ("erase left", "erase top"))
    view = view.copy()
    view[top : top + side, left : left + side] = _mean_colour(contract)
    return view


def _mean_colour(contract: InputContract) -> tuple[int, int, int]:
    red, green, blue = (round(255 * value) for value in contract.mean)
    return red, green, blue
