"""The balanced plan: the search trials of a study, drawn and written before the first one starts.

Every prefix of the plan is balanced, so a longer plan of the same study begins with the shorter one.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search_spaces.distributions import combinations, holds, related
from study.results import Phase
from study.spec import Study
from trainables.keyed import key, uniform

Levels = Mapping[str, Any]  # factor -> level

# At most one trial in this many is audited: ASHA neither stops it nor uses it for its cutoffs.
AUDITED_ONE_IN = 4
# An audit ends when every level has this many audited trials.
AUDITED_PER_LEVEL = 4


@dataclass(frozen=True)
class Planned:
    """A planned trial: its setting, before the config is resolved."""

    trial: str
    phase: Phase
    factors: dict[str, Any]
    nuisances: dict[str, float]
    audit: bool = False  # never stopped
    seed: int = 0  # the repeat
    stands_for: tuple[str, ...] = field(default=())  # the levels that a confirmed trial represents, as "factor=level"
    published: str = ""  # the name of the published configuration
    epochs: int | None = None  # overrides the study's

    @property
    def arm(self) -> str:
        return arm(self.factors, self.nuisances)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"stands_for": list(self.stands_for)}


def arm(factors: Mapping[str, Any], nuisances: Mapping[str, float]) -> str:
    """Return a name for a setting. It is equal if and only if factors and nuisances are."""
    text = json.dumps([dict(factors), dict(nuisances)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def search_plan(study: Study, trials: int, seed: int) -> list[Planned]:
    """Return the first `trials` trials of the study's plan.

    The counts of a factor's levels differ by at most one at every length. Nuisances follow one quasi-random sequence.
    Each point serves a block of as many trials as the largest factor has levels, so that every level gets every point.
    """
    if study.goal == "published":
        return _published_plan(study)
    block = max(len(factor.levels) for factor in study.factors.values()) if study.factors else 1
    points = nuisance_points(study, -(-trials // block), key("search nuisances", seed))
    settings = _balanced(study, trials, block, seed)
    audited = _audited(study, settings)
    return [
        Planned(
            trial=f"search-{i + 1:04d}",
            phase="search",
            factors=factors,
            nuisances=nuisances_at(study, factors, points[i // block]),
            audit=i in audited,
        )
        for i, factors in enumerate(settings)
    ]


def examples(study: Study, *names: str) -> list[Planned]:
    """Return a trial for every combination of these hyperparameters that any phase may reach.

    The other factors are at their first level, nuisances at the middle of their range.
    """
    if study.goal == "published":
        return [planned for planned in _published_plan(study) if planned.seed == 1]
    trials = []
    for factors in combinations(related(study.factors, names)):
        for name, factor in study.factors.items():
            if name not in factors and holds(factor.when, factors):
                factors[name] = factor.levels[0]
        trials.append(example_trial(study, factors))
    return trials


def example_trial(study: Study, factors: Levels) -> Planned:
    """Return a trial with these levels, without those that do not exist together, and with mid-range nuisances."""
    levels: dict[str, Any] = {}
    for name, factor in study.factors.items():
        if name in factors and holds(factor.when, levels):
            levels[name] = factors[name]
    return Planned("example", "search", levels, nuisances_at(study, levels, np.full(len(study.nuisances), 0.5)))


def _published_plan(study: Study) -> list[Planned]:
    """Return every published configuration with every seed. As in a confirmation, a seed also draws the folds."""
    return [
        Planned(
            trial=f"published-{number:02d}-{seed}",
            phase="published",
            factors=dict(published.config),
            nuisances={},
            seed=seed,
            published=published.name,
        )
        for seed in range(1, study.budget.seeds + 1)
        for number, published in enumerate(study.published, start=1)
    ]


def nuisance_points(study: Study, count: int, stream: int) -> NDArray[np.float64]:
    """Return the first `count` points of a scrambled Sobol sequence, shape (count, nuisances), in [0, 1)."""
    dimensions = len(study.nuisances)
    if dimensions == 0:
        return np.empty((count, 0))
    from scipy.stats import qmc  # imported here, because it takes half a second and no trial needs it

    sobol = qmc.Sobol(dimensions, scramble=True, rng=np.random.default_rng(stream))
    return sobol.random_base2(max(count - 1, 0).bit_length())[:count]


def nuisances_at(study: Study, factors: Mapping[str, Any], point: NDArray[np.float64]) -> dict[str, float]:
    """Return the values of the nuisances at a point of [0, 1)^nuisances, for those that exist under these levels."""
    return {
        name: nuisance.at(float(u))
        for (name, nuisance), u in zip(study.nuisances.items(), point, strict=True)
        if holds(nuisance.when, factors)
    }


def _balanced(study: Study, trials: int, block: int, seed: int) -> list[dict[str, Any]]:
    """Choose the levels of each trial, factor by factor.

    The chosen level is the rarest so far; among equals the rarest in this block of trials with one nuisance point, then
    the rarest in combination with the trial's levels so far, then the first by a keyed random number.
    """
    counts: Counter[Any] = Counter()
    pair_counts: Counter[Any] = Counter()
    block_counts: Counter[Any] = Counter()
    settings = []
    for i in range(trials):
        if i % block == 0:
            block_counts.clear()
        setting: dict[str, Any] = {}
        for name, factor in study.factors.items():
            if not holds(factor.when, setting):
                continue
            ties = uniform(key("plan", seed, name), i, np.arange(len(factor.levels)))

            def rarity(j: int, name: str = name, setting: dict[str, Any] = setting, ties: Any = ties) -> tuple:
                pairs = sum(pair_counts[name, j, other, str(level)] for other, level in setting.items())
                return counts[name, j], block_counts[name, j], pairs, ties[j]

            j = min(range(len(factor.levels)), key=rarity)
            counts[name, j] += 1
            block_counts[name, j] += 1
            pair_counts.update((name, j, other, str(level)) for other, level in setting.items())
            setting[name] = factor.levels[j]
        settings.append(setting)
    return settings


def _audited(study: Study, settings: list[dict[str, Any]]) -> set[int]:
    """Choose the audited trials in order: each has one of the levels with the fewest audited trials so far."""
    counts: Counter[tuple[str, Any]] = Counter(
        {(name, level): 0 for name in study.factors for level in study.levels(name)}
    )
    audited: set[int] = set()
    for i, setting in enumerate(settings):
        fewest = min(counts.values(), default=len(audited))
        if len(audited) >= (i + 1) // AUDITED_ONE_IN or fewest >= AUDITED_PER_LEVEL:
            continue
        if not setting or fewest in [counts[level] for level in setting.items()]:
            audited.add(i)
            counts.update(setting.items())
    return audited
