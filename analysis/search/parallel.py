"""The search as parallel coordinates: each hyperparameter a line, each trial a path through all of them."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.layout.text import NOTHING, percent
from analysis.search.design import nuisance_values
from analysis.search.rung import Outcomes
from study.results import Results

MOST_AXES = 14  # hyperparameters; more are not followed by an eye
ABSENT = -0.07  # where a trial passes a hyperparameter that does not exist for it

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Axis:
    """One line: its name, the marks on it (position from 0 to 1, label), where each trial crosses it."""

    name: str
    marks: list[tuple[float, str]]
    positions: Array  # (trials,)


@dataclass(frozen=True)
class Paths:
    axes: list[Axis]  # the last is the accuracy
    accuracy: Array  # (trials,), ascending, so that the best is drawn last


def paths(results: Results, seen: Outcomes) -> Paths | None:
    """Trials with an accuracy by what they reached; None where fewer than two did or nothing was varied.

    Trials of one level are spread over the level's share of the axis in the order of their accuracy.
    """
    best = np.nanmax(seen.accuracy, axis=1, initial=-1.0)
    order = np.argsort(best, kind="stable")
    order = order[best[order] >= 0]
    if len(order) < 2:
        return None
    trials, accuracy = seen.trials.iloc[order], best[order]
    varied = [name for name in results.factors if trials[name].nunique() > 1]
    axes = [_levels(name, trials[name], results.factors[name]) for name in varied]
    values = {name: one[order] for name, one in nuisance_values(results, seen.trials).items()}
    declared = results.study.get("nuisances") or {}
    axes += [
        _range(name, one, bool(declared[name].get("log"))) for name, one in values.items() if np.unique(one).size > 1
    ]
    if not axes:
        return None
    low, high = accuracy.min(), accuracy.max()
    marks = [(position, percent(low + position * (high - low))) for position in (0.0, 0.5, 1.0)]
    last = Axis("validation accuracy", marks, (accuracy - low) / max(high - low, 1e-12))
    return Paths([*axes[:MOST_AXES], last], accuracy)


def _levels(name: str, levels: pd.Series, declared: list[str]) -> Axis:
    listed = [level for level in dict.fromkeys([*declared, *levels]) if level and (levels == level).any()]
    positions = np.full(len(levels), ABSENT)
    for number, level in enumerate(listed):
        mine = np.flatnonzero(levels == level)
        spread = (np.arange(len(mine)) + 0.5) / len(mine) - 0.5
        positions[mine] = (number + 0.5 + 0.6 * spread) / len(listed)
    marks = [((number + 0.5) / len(listed), level) for number, level in enumerate(listed)]
    return Axis(name, _absent(positions) + marks, positions)


def _range(name: str, values: Array, log: bool) -> Axis:
    low, high = np.nanmin(values), np.nanmax(values)
    positions = np.nan_to_num((values - low) / max(high - low, 1e-12), nan=ABSENT)
    ends = [(0.0, low), (0.5, (low + high) / 2), (1.0, high)]
    marks = [(position, f"{math.exp(value) if log else value:.2g}") for position, value in ends]
    return Axis(name, _absent(positions) + marks, positions)


def _absent(positions: Array) -> list[tuple[float, str]]:
    return [(ABSENT, NOTHING)] if (positions == ABSENT).any() else []
