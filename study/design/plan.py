"""The balanced plan: which trials a study runs, drawn and written before the first one.

Every prefix of the plan is balanced, so that a longer plan of the same study begins with the shorter one.
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

# Every level has at least this many trials that ASHA neither stops nor uses for a cut-off.
AUDITED_PER_LEVEL = 4


@dataclass(frozen=True)
class Planned:
    """One trial as it was decided on: its setting, before the rest of the config is filled in."""

    trial: str
    phase: Phase
    factors: dict[str, Any]
    nuisances: dict[str, float]
    audit: bool = False
    seed: int = 0  # the repeat
    stands_for: tuple[str, ...] = field(default=())
    published: str = ""  # the name of the published configuration
    epochs: int | None = None  # instead of the study's

    @property
    def arm(self) -> str:
        return arm(self.factors, self.nuisances)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"stands_for": list(self.stands_for)}


def arm(factors: Mapping[str, Any], nuisances: Mapping[str, float]) -> str:
    """A name for a setting: equal exactly where factors and nuisances are."""
    text = json.dumps([dict(factors), dict(nuisances)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def search_plan(study: Study, trials: int, seed: int) -> list[Planned]:
    """The first `trials` trials of the study's plan.

    Levels are balanced to plus or minus one at every length. Nuisances follow one quasi-random sequence whose
    points last for as many trials as the largest factor has levels, so every level meets every point.
    """
    if study.goal == "published":
        return _published_plan(study)
    run = max(len(factor.levels) for factor in study.factors.values()) if study.factors else 1
    points = nuisance_points(study, -(-trials // run), key("search nuisances", seed))
    settings = _balanced(study, trials, run, seed)
    audited = _audited(study, settings)
    return [
        Planned(
            trial=f"search-{i + 1:04d}",
            phase="search",
            factors=factors,
            nuisances=nuisances_at(study, factors, points[i // run]),
            audit=i < audited,
        )
        for i, factors in enumerate(settings)
    ]


def examples(study: Study, *names: str) -> list[Planned]:
    """Return a trial for every combination of these hyperparameters that any phase may reach.

    The other factors are at their first level, nuisances in the middle of their range.
    """
    if study.goal == "published":
        return [each for each in _published_plan(study) if each.seed == 1]
    trials = []
    for factors in combinations(related(study.factors, names)):
        for name, factor in study.factors.items():
            if name not in factors and holds(factor.when, factors):
                factors[name] = factor.levels[0]
        trials.append(example_trial(study, factors))
    return trials


def example_trial(study: Study, factors: Levels) -> Planned:
    """Return a trial with those of the levels that exist together, and with nuisances in the middle of their ranges."""
    levels: dict[str, Any] = {}
    for name, factor in study.factors.items():
        if name in factors and holds(factor.when, levels):
            levels[name] = factors[name]
    return Planned("example", "search", levels, nuisances_at(study, levels, np.full(len(study.nuisances), 0.5)))


def _published_plan(study: Study) -> list[Planned]:
    """Every published configuration with every seed; a seed renews order, views and folds, as in a confirmation."""
    return [
        Planned(f"published-{number:02d}-{seed}", "published", dict(each.config), {}, seed=seed, published=each.name)
        for seed in range(1, study.budget.seeds + 1)
        for number, each in enumerate(study.published, start=1)
    ]


def nuisance_points(study: Study, count: int, stream: int) -> NDArray[np.float64]:
    """The first `count` points of a scrambled Sobol sequence, shape (count, nuisances), in [0, 1)."""
    dimensions = len(study.nuisances)
    if dimensions == 0:
        return np.empty((count, 0))
    from scipy.stats import qmc  # half a second, which no trial needs

    sobol = qmc.Sobol(dimensions, scramble=True, rng=np.random.default_rng(stream))
    return sobol.random_base2(max(count - 1, 0).bit_length())[:count]


def nuisances_at(study: Study, factors: Mapping[str, Any], point: NDArray[np.float64]) -> dict[str, float]:
    """The values at a point, of those nuisances that exist under these levels."""
    return {
        name: nuisance.at(float(u))
        for (name, nuisance), u in zip(study.nuisances.items(), point, strict=True)
        if holds(nuisance.when, factors)
    }


def _balanced(study: Study, trials: int, run: int, seed: int) -> list[dict[str, Any]]:
    """Levels chosen one factor after the other: the rarest so far, then the rarest in this run of a nuisance

    point, then the rarest together with the levels already chosen, then by key.
    """
    counts: Counter[Any] = Counter()
    together: Counter[Any] = Counter()
    in_run: Counter[Any] = Counter()
    settings = []
    for i in range(trials):
        if i % run == 0:
            in_run.clear()
        chosen: dict[str, Any] = {}
        for name, factor in study.factors.items():
            if not holds(factor.when, chosen):
                continue
            ties = uniform(key("plan", seed, name), i, np.arange(len(factor.levels)))

            def rarity(j: int, name: str = name, chosen: dict[str, Any] = chosen, ties: Any = ties) -> tuple:
                pairs = sum(together[name, j, other, str(level)] for other, level in chosen.items())
                return counts[name, j], in_run[name, j], pairs, ties[j]

            j = min(range(len(factor.levels)), key=rarity)
            counts[name, j] += 1
            in_run[name, j] += 1
            together.update((name, j, other, str(level)) for other, level in chosen.items())
            chosen[name] = factor.levels[j]
        settings.append(chosen)
    return settings


def _audited(study: Study, settings: list[dict[str, Any]]) -> int:
    """The length of the shortest prefix in which every level stands often enough; all, where none does."""
    missing = {(name, str(level)): AUDITED_PER_LEVEL for name in study.factors for level in study.levels(name)}
    for i, chosen in enumerate(settings):
        for name, level in chosen.items():
            missing[name, str(level)] -= 1
        if max(missing.values(), default=0) <= 0:
            return i + 1
    return len(settings)
