"""Studies with a known truth: who is right on which image, drawn; and what an oracle would say of the draw.

A model names an image rightly where a latent number is above zero. That number is the sum of the setting's merit,
the luck of the seed (one part common to all settings, one part each setting's own), the image's difficulty (again
common and own), and what is left. Seeds and images are crossed random effects, on the probit scale.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats

Share = tuple[float, float]  # a mean over replays, and its simulation error: 1.96 standard errors

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)


@dataclass(frozen=True)
class World:
    """Variances on the latent scale; those of the images and of what is left sum to one."""

    seed: float = 0.0  # common to all settings that share a seed, such as the luck of the partition
    seed_setting: float = 0.0
    item: float = 0.5
    item_setting: float = 0.2
    rest: float = 0.3
    tails: float = np.inf  # degrees of freedom of the seeds' luck: 3 has runs that collapse

    @property
    def total(self) -> float:
        return self.seed + self.seed_setting + self.item + self.item_setting + self.rest

    def merit(self, accuracy: float) -> float:
        """Where a setting of this accuracy stands, in standard deviations of the latent number."""
        return float(stats.norm.ppf(accuracy))


def draw(world: World, accuracies: list[float], seeds: int, items: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Correctness (settings, seeds, items) of settings with these true accuracies."""
    models, images = draw_models(world, accuracies, seeds, rng), draw_images(world, len(accuracies), items, rng)
    return correct(world, models, images, rng)


def draw_models(world: World, accuracies: list[float], seeds: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """The latent merit of every model, with the luck of its seed: (settings, seeds)."""
    merits = np.sqrt(world.total) * np.array([world.merit(accuracy) for accuracy in accuracies])
    luck = np.sqrt(world.seed) * _luck(world, rng, (1, seeds))
    luck = luck + np.sqrt(world.seed_setting) * _luck(world, rng, (len(accuracies), seeds))
    return (merits[:, None] + luck).astype(np.float32)


def draw_images(world: World, settings: int, items: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """How easy every image is for each setting: (settings, items)."""
    easy = np.sqrt(world.item) * rng.standard_normal((1, items), dtype=np.float32)
    own = np.sqrt(world.item_setting) * rng.standard_normal((settings, items), dtype=np.float32)
    return (easy + own).astype(np.float32)


def correct(
    world: World, models: NDArray[np.float32], images: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Which model classifies which image correctly: (settings, seeds, items)."""
    rest = rng.standard_normal((*models.shape, images.shape[1]), dtype=np.float32) * np.float32(np.sqrt(world.rest))
    return rest + models[:, :, None] + images[:, None, :] > 0


def _luck(world: World, rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Of variance one; heavy tails where the world has them."""
    if np.isinf(world.tails):
        return rng.standard_normal(shape)
    return rng.standard_t(world.tails, shape) * np.sqrt((world.tails - 2) / world.tails)


@dataclass(frozen=True)
class Oracle:
    """What is true of the difference of two settings, and of the best that can be said of it."""

    difference: float
    standard_error: float  # of the mean difference over so many seeds and items
    df: float  # Hillis', at the true variances

    @property
    def half_width(self) -> float:
        """Of the interval of one who knows the variances."""
        return float(stats.norm.ppf(0.975)) * self.standard_error

    @property
    def half_width_split(self) -> float:
        """Of one who knows only how the variance divides into seeds and images, and estimates how large it is:

        a t interval, whose standard error is on average short by c4(df).
        """
        short = np.sqrt(2 / self.df) * np.exp(special.gammaln((self.df + 1) / 2) - special.gammaln(self.df / 2))
        return float(stats.t.ppf(0.975, self.df) * short) * self.standard_error

    @property
    def power(self) -> float:
        shift = abs(self.difference) / self.standard_error
        return float(stats.norm.sf(1.959964 - shift) + stats.norm.cdf(-1.959964 - shift))

    @property
    def power_split(self) -> float:
        shift, least = abs(self.difference) / self.standard_error, stats.t.ppf(0.975, self.df)
        # A noncentral t, averaged over the quantiles of the estimated scale: scipy's own is NaN at large shifts.
        scale = np.sqrt(stats.chi2.ppf((np.arange(400) + 0.5) / 400, self.df) / self.df)
        return float(np.mean(stats.norm.sf(least * scale - shift) + stats.norm.cdf(-least * scale - shift)))


def oracle(world: World, accuracy_a: float, accuracy_b: float, seeds: int, items: int) -> Oracle:
    one, per_seed, per_item = _covariances(world, accuracy_a, accuracy_b)
    item_variance = per_item / items
    seed_variance = ((one - per_item) / items + per_seed * (items - 1) / items) / seeds
    share = seed_variance / (seed_variance + item_variance)
    return Oracle(accuracy_a - accuracy_b, np.sqrt(seed_variance + item_variance), (seeds - 1) / share**2)


def _covariances(world: World, accuracy_a: float, accuracy_b: float) -> tuple[float, float, float]:
    """Variance of one difference, and covariances of two with the same seed and with the same item."""
    a, b = world.merit(accuracy_a), world.merit(accuracy_b)

    def difference(common: float, own: float) -> float:
        """Covariance of two differences whose latent numbers share these variances."""
        within = sum(_covariance(m, m, (common + own) / world.total) for m in (a, b))
        return within - 2 * _covariance(a, b, common / world.total)

    spread = accuracy_a * (1 - accuracy_a) + accuracy_b * (1 - accuracy_b)
    one = spread - 2 * _covariance(a, b, (world.seed + world.item) / world.total)
    return one, difference(world.seed, world.seed_setting), difference(world.item, world.item_setting)


def _covariance(a: float, b: float, correlation: float) -> float:
    """Of two indicators X < a, Y < b of correlated normals: the density integrated over the correlation

    (Plackett, Biometrika 41:351, 1954).
    """
    r = correlation * (_NODES + 1) / 2
    density = np.exp(-(a * a - 2 * r * a * b + b * b) / (2 * (1 - r * r))) / (2 * np.pi * np.sqrt(1 - r * r))
    return float(correlation / 2 * (_WEIGHTS * density).sum())


def world_of(seeds: int, items: int, ratio: float, accuracy: float, tails: float = np.inf) -> World:
    """The world in which seeds make `ratio` times as much of a difference's variance as images do."""

    def excess(variance: float) -> float:
        _, per_seed, per_item = _covariances(World(variance, variance), accuracy, accuracy)
        return per_seed / seeds - ratio * per_item / items

    variance = optimize.root_scalar(excess, bracket=(1e-12, 50.0), method="brentq").root
    return replace(World(variance, variance), tails=tails)


def accuracy_found(world: World, accuracy: float, seeds: int, items: int, power: float = 0.8) -> float:
    """The accuracy, below the given one, that the oracle who knows the split tells from it this often."""

    def excess(other: float) -> float:
        return oracle(world, accuracy, other, seeds, items).power_split - power

    return float(optimize.root_scalar(excess, bracket=(0.02, accuracy - 1e-6), method="brentq").root)


def percent(value: Share) -> str:
    return f"{100 * value[0]:.1f} ± {100 * value[1]:.1f}%"


def share(values: ArrayLike) -> Share:
    values = np.asarray(values, dtype=float)
    return float(values.mean()), float(1.96 * values.std() / np.sqrt(len(values)))
