"""The setting that a study recommends and ships, chosen on the validation scores of its confirmation."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import sqrt
from statistics import mean, stdev
from typing import Any

from study.design.plan import Levels
from study.persistence.ledger import Record
from study.results import CHEAPER
from study.schedule.level_settings import replaced
from study.schedule.next_trials import setting_of
from study.spec import Study
from trainables.metrics import means_over_seeds


@dataclass(frozen=True)
class Confirmed:
    """A confirmed setting: its trials with their scores on validation."""

    name: str  # see setting_of
    records: list[Record]

    @property
    def levels(self) -> Levels:
        return self.records[0].planned.factors

    @property
    def scores(self) -> dict[int, float]:
        """The scores by repeat."""
        return {record.planned.seed: record.score for record in self.records}


def confirmed_settings(records: Iterable[Record]) -> list[Confirmed]:
    settings: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        settings[setting_of(record)].append(record)
    return [Confirmed(name, settings[name]) for name in sorted(settings)]


def best_setting(settings: list[Confirmed]) -> Confirmed | None:
    """Return the setting with the best mean score over its seeds; among equals the first by name."""
    means = means_over_seeds([list(setting.scores.items()) for setting in settings]) if settings else []
    return settings[max(range(len(means)), key=means.__getitem__)] if settings else None


def is_as_good(setting: Confirmed, other: Confirmed, margin: float) -> bool:
    """Return whether a setting is not worse than another by more than the margin, with 95% confidence.

    The lower end of the one-sided t interval of the mean difference over common repeats must lie above -margin.
    """
    pairs = [(setting.scores[seed], other.scores[seed]) for seed in setting.scores.keys() & other.scores.keys()]
    if len(pairs) < 2:
        return False
    from scipy import stats  # imported here, because it takes half a second and no trial needs it

    differences = [a - b for a, b in sorted(pairs)]
    half = float(stats.t.ppf(0.95, len(pairs) - 1)) * stdev(differences) / sqrt(len(pairs))
    return mean(differences) - half > -margin


def cheapest_as_good(
    study: Study,
    settings: list[Confirmed],
    standing: Mapping[str, str],
    search: list[Record],
    cost: Callable[[Levels], float],
) -> dict[str, Any] | None:
    """Return the best setting's levels, each replaced by the cheapest level that is as good; None without a setting.

    Args:
        standing: the name of the setting that stands for each "factor=level".
        cost: the operations that a setting with these levels takes.
    """
    best, by_name = best_setting(settings), {setting.name: setting for setting in settings}
    if best is None:
        return None
    changes = {}
    for factor, level in best.levels.items():
        compared = by_name.get(standing.get(f"{factor}={level}", ""))
        rivals = [by_name[name] for name in _of_factor(study, standing, factor) if name in by_name]
        if compared is None:
            continue
        as_good = [rival for rival in rivals if is_as_good(rival, compared, study.margin)]
        cheapest = min(as_good, key=lambda rival: cost(rival.levels), default=compared)
        if cost(cheapest.levels) < CHEAPER * cost(compared.levels):
            changes[factor] = cheapest.levels[factor]
    return replaced(study, best.levels, changes, search)


def _of_factor(study: Study, standing: Mapping[str, str], factor: str) -> list[str]:
    names = (standing.get(f"{factor}={level}") for level in study.levels(factor))
    return [name for name in names if name is not None]


def recommended(settings: list[Confirmed], candidate: Levels | None, margin: float) -> Confirmed | None:
    """Return the setting with the candidate's levels if it is as good as the best one, else the best one."""
    best = best_setting(settings)
    for setting in settings:
        if best is not None and setting.levels == candidate and is_as_good(setting, best, margin):
            return setting
    return best
