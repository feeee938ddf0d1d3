"""Whether a setting that did best at the end of a nuisance's range needs a wider one.

A setting is at an end if its best value lies in the outer tenth of the range, or in the outer third with no value tried
beyond. The end stays where it is if it is natural, if it was widened `MOST_WIDENINGS` times, or if

- the response is flat: the outer third of the range is better than the rest by no more than the margin, or than one
  standard error on validation. A response that levels off gains less in the next third than in the last.
- the setting stays behind: with the same gain again, it would still not overtake a level with which it is compared.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, sqrt

from search_spaces.distributions import Range
from study.design.plan import Levels
from study.results import EDGE
from study.spec import Study
from study.study_record import EdgeDecision, End, WidenDecision
from trainables.errors import InputError
from trainables.fields import check_value

MOST_WIDENINGS = 3  # of one end of one range
_OUTER = 1 / 3  # of a range: where the response must be flat, and a best value with no point beyond may be too low
_WIDER_BY = (1 / 2, 1 / 4, 1 / 8, 1 / 16)  # shares of the range to add; the first that the hyperparameter allows
_MOST_ADDED = 10.0  # factor by which an end of a logarithmic range moves at most


@dataclass(frozen=True)
class Widening:
    """One end of a nuisance's range, moved from `before` to `after`."""

    nuisance: str
    end: End
    before: float
    after: float


@dataclass(frozen=True)
class Tried:
    """A point that a setting has tried, with its score on validation, the mean over its repeats."""

    nuisances: Mapping[str, float]
    score: float


def widened_ranges(study: Study, widened: Iterable[Widening]) -> dict[str, Range]:
    ranges = dict(study.nuisances)
    for step in widened:
        ranges[step.nuisance] = replace(ranges[step.nuisance], **{step.end: step.after})
    return ranges


def judge_ends(
    study: Study,
    widened: Sequence[Widening],
    levels: Levels,
    tried: list[Tried],
    rivals: Sequence[list[Tried]],
    images: int,
) -> Iterator[EdgeDecision | WidenDecision]:
    """Yield a decision for each nuisance of a setting whose best value may have a better one beyond an end.

    Args:
        tried: the points that the setting with these levels has completed.
        rivals: the points of each setting with which it is compared.
        images: of the common validation fold.
    """
    if not tried:
        return
    best = max(tried, key=lambda point: point.score)
    ranges = widened_ranges(study, widened)
    for name, value in best.nuisances.items():
        end = _end(ranges[name], value, [point.nuisances[name] for point in tried])
        if end is None or (at := getattr(ranges[name], end)) in ranges[name].natural:
            continue
        times = sum((step.nuisance, step.end) == (name, end) for step in widened)
        wider = _wider(ranges[name], name, end) if times < MOST_WIDENINGS else None
        where = {"levels": dict(levels), "nuisance": name, "end": end, "value": value}
        gain, error = _outer_gain(ranges[name], name, end, tried, _own_effects(name, tried, rivals), images)
        if gain <= max(study.margin, error):
            yield EdgeDecision(kind="flat", **where)
        elif _stays_behind(best, gain, rivals, images):
            yield EdgeDecision(kind="behind", **where)
        elif wider is None:
            yield EdgeDecision(kind="at end", **where)
        else:
            yield WidenDecision(kind="widen", before=at, after=wider, **where)


def _end(nuisance: Range, value: float, tried: Iterable[float]) -> End | None:
    position, positions = nuisance.position(value), [nuisance.position(other) for other in tried]
    if position < EDGE or position == min(positions) < _OUTER:
        return "low"
    if position > 1 - EDGE or position == max(positions) > 1 - _OUTER:
        return "high"
    return None


def _own_effects(name: str, tried: list[Tried], rivals: Sequence[list[Tried]]) -> list[float]:
    """Return the score of each point, minus that of a setting that lacks only this nuisance if there is one.

    A few points vary all nuisances at once, so the best one may be best for its learning rate. A rival that lacks only
    this nuisance has tried the same learning rates, unless the range was widened.
    """
    rests = [{other: value for other, value in point.nuisances.items() if other != name} for point in tried]
    for rival in rivals:
        without = {_sorted(point.nuisances): point.score for point in rival}
        if all(rest and _sorted(rest) in without for rest in rests):
            return [point.score - without[_sorted(rest)] for point, rest in zip(tried, rests, strict=True)]
    return [point.score for point in tried]


def _sorted(nuisances: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    return tuple(sorted(nuisances.items()))


def _outer_gain(
    nuisance: Range, name: str, end: End, points: list[Tried], scores: list[float], images: int
) -> tuple[float, float]:
    """Return by how much the outer third of a range is better than the rest, and the standard error of that."""
    distance = [abs(nuisance.position(point.nuisances[name]) - (0 if end == "low" else 1)) for point in points]
    outer = [index for index, away in enumerate(distance) if away < _OUTER]
    rest = [index for index, away in enumerate(distance) if away >= _OUTER]
    if not rest:
        return inf, 0.0
    best, other = (max(part, key=lambda index: scores[index]) for part in (outer, rest))
    return scores[best] - scores[other], standard_error(points[best].score, points[other].score, images)


def _stays_behind(best: Tried, gain: float, rivals: Sequence[list[Tried]], images: int) -> bool:
    """Return whether a setting would keep its place behind a rival if it gained as much again, chance included."""
    scores = [max(point.score for point in rival) for rival in rivals if rival]
    errors = [standard_error(best.score, score, images) for score in scores]
    keeps_its_place = all(
        not -error <= score - best.score <= gain + error for score, error in zip(scores, errors, strict=True)
    )
    return keeps_its_place and any(score > best.score for score in scores)


def _wider(nuisance: Range, name: str, end: End) -> float | None:
    """Return the new end of a range; None if the hyperparameter allows no value beyond the old one."""
    for share in _WIDER_BY:
        value = nuisance.at(-share if end == "low" else 1 + share)
        if nuisance.log:
            value = max(value, nuisance.low / _MOST_ADDED) if end == "low" else min(value, nuisance.high * _MOST_ADDED)
        try:
            check_value(nuisance.sets or name, value)
        except InputError:
            continue
        return value
    return None


def standard_error(a: float, b: float, images: int) -> float:
    """Return the largest standard error of a difference of two accuracies on the same images.

    Two models disagree on at most the images that either classifies wrongly.
    """
    if not images:
        return 0.0
    wrong = sum(min(max(1 - score, 0.0), 1.0) for score in (a, b))
    return sqrt(wrong / images)
