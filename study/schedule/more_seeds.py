"""Which confirmed settings get more seeds: those in a pair that more seeds could settle. It uses validation alone."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np
from scipy import special

ALPHA = 0.05  # of the answers' tests
EQUIVALENT = 0.95  # quantile of the equivalence test
FEWEST_SEEDS = 3  # fewer do not show how much results vary between seeds
# A pair gets more seeds if they raise the probability that it is settled by at least this much.
LEAST_GAIN = 0.1
# Two settings disagree on fewer images than models with independent errors, because some images are hard for both.
_OF_INDEPENDENT = 2 / 3
# Share of the disagreement on an image that all seeds have in common. Only more images average it out.
_COMMON = 0.5


def more_seeds(
    accuracies: Mapping[str, Sequence[float]],
    leader: str,
    factors: Mapping[str, Collection[str]],
    validation_images: int,
    test_images: int,
    margin: float,
    seeds: int,
    most_seeds: int,
) -> dict[str, int]:
    """Return how many seeds each setting needs in total; only settings that lack some, empty if nothing is in doubt.

    Only pairs of the leader and another level of the same factor count, because only they change the recommendation.
    The leader gets as many seeds as its rivals in doubt. Seeds are added in at most two steps: halfway to `most_seeds`
    first, then all. Call it again after each step.

    Args:
        accuracies: the validation accuracies of each setting, of seeds 1, 2, ...; NaN for a seed that failed. A pair
            with a failed seed is not compared, so it gets no more.
        leader: the setting that is recommended at present.
        factors: the settings that stand for the levels of each factor.
        margin: the difference in accuracy within which two levels are equivalent.
    """
    wanted: dict[str, int] = {}
    for rival, pairs in _rivals(leader, factors):
        common = min(len(accuracies[leader]), len(accuracies[rival]))
        a, b = (np.asarray(accuracies[setting][:common], dtype=float) for setting in (leader, rival))
        if common < FEWEST_SEEDS or common >= most_seeds or not np.isfinite(a - b).all():
            continue
        if _gain(a, b, most_seeds, validation_images, test_images, margin, ALPHA / pairs) >= LEAST_GAIN:
            for setting in (leader, rival):
                wanted[setting] = max(wanted.get(setting, 0), _next_step(common, seeds, most_seeds))
    return {setting: total for setting, total in wanted.items() if total > len(accuracies[setting])}


def _rivals(leader: str, factors: Mapping[str, Collection[str]]) -> Iterator[tuple[str, int]]:
    """Yield the settings that the leader is compared with, and the number of pairs that Holm's method corrects for."""
    for settings in factors.values():
        if leader in settings:
            for rival in settings:
                if rival != leader:
                    yield rival, math.comb(len(settings), 2)


def _next_step(seeds_now: int, seeds: int, most_seeds: int) -> int:
    halfway = math.ceil((seeds + most_seeds) / 2)
    return halfway if seeds_now < halfway else most_seeds


def _gain(
    a: np.ndarray, b: np.ndarray, most: int, validation_images: int, test_images: int, margin: float, alpha: float
) -> float:
    """Return by how much `most` seeds raise the probability that a pair is settled; `a`, `b`: accuracies (seeds,).

    A seed's difference on validation varies by the seed and by its images. The images' part follows from the error
    rates; the rest is the seeds'.
    """
    now, difference, errors = len(a), float((a - b).mean()), (1 - float(a.mean()), 1 - float(b.mean()))
    disagreement = _OF_INDEPENDENT * (errors[0] * (1 - errors[1]) + errors[1] * (1 - errors[0]))
    of_seed = max(float((a - b).var(ddof=1)) - disagreement / validation_images, 0.0)
    on_validation = disagreement / validation_images / now

    def settled(total: int) -> float:
        common = _COMMON * disagreement / test_images
        own = (1 - _COMMON) * disagreement / test_images / total
        # Seeds 1 to `now` are the same in both folds, so only the others and the images are unknown.
        unknown = of_seed * (1 / now - 1 / total) + on_validation + common + own
        return probability_settled(difference, unknown, of_seed / total + own, common, total, margin, alpha)

    return settled(most) - settled(now)


def probability_settled(
    difference: float,
    unknown: float,
    seed_variance: float,
    item_variance: float,
    seeds: int,
    margin: float,
    alpha: float = ALPHA,
) -> float:
    """Return the probability that the test fold shows a difference, or equivalence within the margin.

    Args:
        difference: the expected difference on the test fold.
        unknown: its predictive variance.
        seed_variance, item_variance: the parts of the variance of the test estimate, as in the answers.
    """
    if unknown == 0:
        return 1.0
    error, df = math.sqrt(seed_variance + item_variance), degrees_of_freedom(seed_variance, item_variance, seeds)
    least = float(special.stdtrit(df, 1 - alpha / 2)) * error
    room = max(margin - float(special.stdtrit(df, EQUIVALENT)) * error, 0.0)
    ends = (np.array([-least, least, -room, room]) - difference) / math.sqrt(unknown)
    below, up_to, from_low, to_high = special.ndtr(ends)
    return float(min(below + (1 - up_to) + max(to_high - from_low, 0.0), 1.0))


def degrees_of_freedom(seed_variance: float, item_variance: float, seeds: int) -> float:
    """Return the degrees of freedom of the answers' intervals (analysis/statistics/inference.py)."""
    likely = (1 + math.sqrt(2 / (seeds - 1))) * seed_variance
    return math.inf if likely == 0 else (seeds - 1) * ((likely + item_variance) / likely) ** 2
