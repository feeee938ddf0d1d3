"""The refinement: tune every level around one base setting, widen ranges, move the base.

A round tunes every level at the same few points. When all of its trials have ended, the round is judged:

1. A range widens if a setting did best at an end of it, by the rules of study/schedule/range_ends.py. All settings that
   have the nuisance get the same new points.
2. Otherwise the base moves to the best setting, if that beats the base's own best by more than the margin and by more
   than one standard error on validation, at most `MOST_MOVES` times.
3. Otherwise the refinement is over.

Everything is a function of ended trials, so a resumed study makes the same decisions.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search_spaces.distributions import Range, holds
from study.design.plan import Levels, Planned, arm, nuisance_points
from study.persistence.ledger import Record
from study.schedule.level_settings import level_settings
from study.schedule.range_ends import Tried, Widening, judge_ends, standard_error
from study.spec import Study
from study.study_record import DecisionRecord, End, MoveDecision
from trainables.keyed import key

MOST_MOVES = 3
FEWEST_POINTS = 2  # of a setting, and of a widening: one point tunes nothing


@dataclass(frozen=True)
class Refinement:
    """The base around which levels are compared, and how their ranges were widened."""

    base: Levels
    widened: tuple[Widening, ...] = ()
    moves: int = 0

    def to_dict(self) -> dict[str, Any]:
        return {"base": dict(self.base), "widened": [vars(step) for step in self.widened], "moves": self.moves}


# Of a state of the study: its decisions, from the ledger if they were taken before.
Decide = Callable[[Mapping[str, Any], Callable[[], list[DecisionRecord]]], list[DecisionRecord]]


def refined_settings(study: Study, refinement: Refinement, search: list[Record]) -> dict[str, dict[str, Any]]:
    """Return the setting in which each "factor=level" is compared."""
    return level_settings(study, refinement.base, search)


def refine_setting(study: Study, refinement: Refinement, levels: Levels, seed: int) -> list[Planned]:
    """Plan one setting at all points of a refinement; with test folds once per fold."""
    return [planned for point in _by_point(study, refinement, [levels], seed) for planned in point]


def refine_trials(study: Study, refinement: Refinement, search: list[Record], seed: int) -> list[list[Planned]]:
    """Plan every level of every factor around the base, point by point. Equal settings run once."""
    return _by_point(study, refinement, list(refined_settings(study, refinement, search).values()), seed)


def _by_point(study: Study, refinement: Refinement, settings: Sequence[Levels], seed: int) -> list[list[Planned]]:
    """Return the trials of each point, which all settings share; each trial once."""
    points: dict[int, dict[str, Planned]] = defaultdict(dict)
    known: set[str] = set()
    for levels in settings:
        for number, nuisances in _points(study, refinement, levels, seed):
            for repeat in study.budget.refined_on:
                name = f"refine-{arm(levels, nuisances)}" + (f"-{repeat}" if repeat else "")
                if name not in known:
                    known.add(name)
                    points[number][name] = Planned(name, "refine", dict(levels), nuisances, seed=repeat)
    return [list(points[number].values()) for number in sorted(points)]


def _points(study: Study, refinement: Refinement, levels: Levels, seed: int) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield the numbered points of a setting: those of the declared ranges, then those of each widening."""
    names = [name for name, nuisance in study.nuisances.items() if holds(nuisance.when, levels)]
    order, ranges = list(study.nuisances), dict(study.nuisances)

    def at(ranges: Mapping[str, Range], point: NDArray[np.float64]) -> dict[str, float]:
        return {name: ranges[name].at(float(point[order.index(name)])) for name in names}

    first = evenly_spaced(nuisance_points(study, study.budget.refine, key("refine nuisances", seed)))
    yield from ((number, at(ranges, point)) for number, point in enumerate(first))
    number = len(first)
    for step in refinement.widened:
        added = replace(ranges[step.nuisance], low=min(step.before, step.after), high=max(step.before, step.after))
        points = nuisance_points(study, new_points(study), key("widened nuisances", seed, number))
        # Evenly spaced up to the new end, which shows whether the response still rises there.
        shares = np.arange(1, len(points) + 1) / len(points)
        points[:, order.index(step.nuisance)] = shares if step.end == "high" else 1 - shares
        if step.nuisance in names:
            within = ranges | {step.nuisance: added}
            yield from ((number + k, at(within, point)) for k, point in enumerate(points))
        number += len(points)
        ranges[step.nuisance] = replace(ranges[step.nuisance], **{step.end: step.after})


def evenly_spaced(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Move every coordinate of n points to the middle of one of n equal parts of [0, 1), in the same order.

    A few random points leave gaps, and the best value may lie in one.
    """
    return (points.argsort(axis=0).argsort(axis=0) + 0.5) / max(len(points), 1)


def new_points(study: Study) -> int:
    """Return the number of points that a widening adds to each setting."""
    return max(FEWEST_POINTS, study.budget.refine // 2)


def judge(
    study: Study, refinement: Refinement, search: list[Record], refined: Mapping[str, Record], seed: int, images: int
) -> list[DecisionRecord]:
    """Return what follows from a round whose trials have all ended.

    Args:
        refined: the ended refinement trials by name.
        images: of the common validation fold.

    Returns:
        Either widenings, or one move, or which ends stay as they are; the refinement is over in the last case.
    """
    compared = refined_settings(study, refinement, search)
    settings = {arm(levels, {}): levels for levels in compared.values()}
    tried = {
        name: _tried(refined[planned.trial] for planned in refine_setting(study, refinement, levels, seed))
        for name, levels in settings.items()
    }
    scores = {name: max(point.score for point in points) for name, points in tried.items() if points}
    rivals = _rivals(study, compared)
    edges = [
        edge
        for name, levels in settings.items()
        for edge in judge_ends(
            study, refinement.widened, levels, tried[name], [tried[rival] for rival in rivals[name]], images
        )
    ]
    wider: dict[tuple[str, End], DecisionRecord] = {}
    for edge in edges:
        if edge["kind"] == "widen":
            wider.setdefault((edge["nuisance"], edge["end"]), edge)
    if wider:
        return list(wider.values())
    move = _move(study, refinement, settings, scores, images)
    return [move] if move else list(edges)


def after(refinement: Refinement, decisions: list[DecisionRecord]) -> Refinement | None:
    """Return the refinement that decisions lead to; None if it is over."""
    steps = [
        Widening(decision["nuisance"], decision["end"], decision["before"], decision["after"])
        for decision in decisions
        if decision["kind"] == "widen"
    ]
    if steps:
        return replace(refinement, widened=(*refinement.widened, *steps))
    for decision in decisions:
        if decision["kind"] == "move":
            return replace(refinement, base=decision["levels"], moves=refinement.moves + 1)
    return None


def _tried(records: Iterable[Record]) -> list[Tried]:
    """Return the completed points, each with its mean score over repeats."""
    completed = sorted(
        (record for record in records if record.status == "completed"), key=lambda record: record.planned.arm
    )
    by_arm = ((name, list(group)) for name, group in groupby(completed, key=lambda record: record.planned.arm))
    return [
        Tried(group[0].planned.nuisances, sum(record.score for record in group) / len(group)) for _, group in by_arm
    ]


def _rivals(study: Study, compared: Mapping[str, Levels]) -> dict[str, list[str]]:
    """Return, for each setting, those that it is compared with: of the other levels of each factor it stands for."""
    rivals: dict[str, dict[str, None]] = defaultdict(dict)
    for factor in study.factors:
        names = [f"{factor}={level}" for level in study.levels(factor)]
        arms = [arm(compared[name], {}) for name in names if name in compared]
        for one in arms:
            rivals[one].update((other, None) for other in arms if other != one)
    return {name: list(others) for name, others in rivals.items()}


def _move(
    study: Study, refinement: Refinement, settings: Mapping[str, Levels], best: Mapping[str, float], images: int
) -> MoveDecision | None:
    """Return a move of the base to the best setting, if chance does not explain its lead."""
    base = arm(refinement.base, {})
    if refinement.moves >= MOST_MOVES or not best:
        return None
    to = max(best, key=lambda name: (best[name], name))
    if base in best and best[to] - best[base] <= max(study.margin, standard_error(best[to], best[base], images)):
        return None
    gain = best[to] - best[base] if base in best else None
    return MoveDecision(kind="move", levels=dict(settings[to]), gain=gain)
