"""The columns of the models of the search: cells of factors, other factors, tuned nuisances."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import linalg

from analysis.search.rung import Outcomes
from analysis.statistics import wins
from analysis.statistics.chain import Means, cell_means
from study.results import Results, level_text

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Search:
    """A search made ready for its effects: what each trial reached, and who beat whom."""

    outcomes: Outcomes
    factors: dict[str, list[str]]  # the levels of each
    logits: Array  # (trials, checkpoints)
    nuisances: Array  # (trials, columns)
    compared: NDArray[np.int64]  # the trials that were compared in pairs
    beats: NDArray[np.float32]  # of those

    @property
    def trials(self) -> pd.DataFrame:
        return self.outcomes.trials


def search_of(results: Results, seen: Outcomes) -> Search:
    chosen = wins.compared(len(seen.trials))
    failed = (seen.trials["outcome"] == "failed").to_numpy()
    return Search(
        outcomes=seen,
        factors={factor: list(dict.fromkeys(levels)) for factor, levels in results.factors.items()},
        logits=seen.logits,
        nuisances=nuisance_columns(results, seen.trials),
        compared=chosen,
        beats=wins.beats(seen.accuracy[chosen], failed[chosen]),
    )


def means_of(search: Search, cells: list[tuple[str, ...]], own: list[str]) -> Means | None:
    """Means of the cells of the factors `own`, the other factors and the nuisances beside them at their average.

    With fewer than two trials for each column the nuisances are left out, then the other factors too. None where
    too few trials reached the rung, or none of them is known to have learned anything.
    """
    trials = search.trials
    if len(trials) == 0 or not np.isfinite(search.logits[:, 0]).all():
        return None
    member = (cell_codes(search, cells, own)[:, None] == np.arange(len(cells))).astype(float)
    coded = [effect_codes(trials[factor], levels) for factor, levels in search.factors.items() if factor not in own]
    others = independent(np.column_stack([np.empty((len(trials), 0)), *coded]))
    for beside in ([others, search.nuisances], [others], []):
        design = np.column_stack([member, *beside])
        if len(trials) >= 2 * design.shape[1]:
            break
    return cell_means(search.logits, design, len(cells), _reductions(cells, design.shape[1] - len(cells)))


def cell_codes(search: Search, cells: list[tuple[str, ...]], own: list[str]) -> NDArray[np.int64]:
    """The number of each trial's cell."""
    code = {cell: number for number, cell in enumerate(cells)}
    levels = (search.trials[factor].tolist() for factor in own)
    return np.array([code[cell] for cell in zip(*levels, strict=True)], dtype=np.int64)


def win_shares(search: Search, cells: list[tuple[str, ...]], own: list[str]) -> wins.Wins:
    return wins.against(search.beats, cell_codes(search, cells, own)[search.compared], len(cells))


def _reductions(cells: list[tuple[str, ...]], beside: int) -> list[Array]:
    """The whole design, the one without interaction, the one without any column but the mean."""
    sides = [
        np.array([[cell[side] == level for level in dict.fromkeys(one[side] for one in cells)] for cell in cells])
        for side in range(len(cells[0]))
    ]
    additive = linalg.block_diag(independent(np.column_stack(sides).astype(float)), np.eye(beside))
    mean = np.concatenate([np.ones((len(cells), 1)), np.zeros((beside, 1))])
    return [np.eye(len(cells) + beside), additive, mean]


def told_apart(weights: Array, found: Means) -> NDArray[np.bool_]:
    """Whether the design can estimate each contrast: other factors that change in step with it forbid that."""
    full = np.zeros((len(weights), found.told_apart.shape[1]))
    full[:, : weights.shape[1]] = weights
    return np.abs(weights @ found.told_apart - full).max(axis=1, initial=0) < 1e-6


def effect_codes(levels: pd.Series, listed: list[str]) -> Array:
    """A column for each level but the last, which has -1 in all; zeros where the factor does not exist."""
    present = [level for level in dict.fromkeys(listed) if (levels == level).any()]
    member = np.stack([(levels == level).to_numpy(float) for level in present], axis=1) if present else np.empty((0, 0))
    return member[:, :-1] - member[:, -1:] if len(present) > 1 else np.empty((len(levels), 0))


def nuisance_columns(results: Results, trials: pd.DataFrame) -> Array:
    """Each tuned nuisance, standardized and its square, both centered; zeros where it does not exist."""
    columns = []
    for values in nuisance_values(results, trials).values():
        there = np.isfinite(values)
        spread = values[there].std() if there.any() else 0.0
        if spread > 1e-12:
            once = (values - values[there].mean()) / spread
            columns += [np.where(there, once, 0), np.where(there, once**2 - 1, 0)]
    return independent(np.stack(columns, axis=1)) if columns else np.empty((len(trials), 0))


def nuisance_values(results: Results, trials: pd.DataFrame) -> dict[str, Array]:
    """Each nuisance of study.json as tuned: in logs where it is searched in logs, missing where it does not exist."""
    declared: Any = results.study.get("nuisances")
    values = {}
    for name, how in (declared if isinstance(declared, Mapping) else {}).items():
        if name not in trials or name in results.factors:
            continue
        how = how if isinstance(how, Mapping) else {}
        raw = pd.to_numeric(trials[name], errors="coerce").to_numpy(float)
        with np.errstate(divide="ignore", invalid="ignore"):
            one = np.log(raw) if how.get("log") else raw
        values[name] = np.where(np.isfinite(one) & _exists(how.get("when"), trials), one, np.nan)
    return values


def _exists(when: Any, trials: pd.DataFrame) -> NDArray[np.bool_]:
    """Rows that have the levels a nuisance asks for; each is one level or a list of them."""
    there = np.ones(len(trials), dtype=bool)
    for factor, asked in (when if isinstance(when, Mapping) else {}).items():
        if factor in trials:
            allowed = {level_text(level) for level in (asked if isinstance(asked, list) else [asked])}
            there &= trials[factor].map(level_text).isin(allowed).to_numpy()
    return there


def independent(columns: Array) -> Array:
    """As many of the columns as tell something of their own."""
    if 0 in columns.shape:
        return columns[:, :0]
    found = linalg.qr(columns, mode="r", pivoting=True)
    size, order = np.abs(np.diag(found[0])), found[-1]
    return columns[:, np.sort(order[: int((size > 1e-9 * max(size[0], 1e-300)).sum())])]
