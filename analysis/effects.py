"""Main effects and two-factor interactions over the whole search, at its matched rung. Exploratory.

On the logit scale, by least squares with robust errors: cells of one or two factors, the other factors and the
tuned nuisances (linear and squared, in their own log where they have one) beside them, stopped trials followed by
`chain.cell_means`. A mixed model would add a variance between seeds, but the search has repeat 0 alone, so it would
be this one. Beside it stands a view without a model, `wins`; where the two contradict each other, that is shown.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import linalg

from analysis import wins
from analysis.chain import Means, cell_means
from analysis.contrasts import (
    corners,
    difference_weights,
    differences_of_differences,
    interval,
    p_values,
    positions,
    standard_errors,
)
from analysis.rung import Outcomes
from analysis.stats import holm
from study.results import Results, level_text

Array = NDArray[np.float64]

LEAST = 2  # trials in a cell; one alone says nothing of its spread
MOST_CELLS = 150  # of two factors; beyond that each has too few trials to be looked at
_PULLS = np.array([[0, 1, 1, 0], [-1, 0, 0, -1], [-1, 0, 0, -1], [0, 1, 1, 0]]) / 4  # diagonal against off-diagonal
MAIN_COLUMNS = ["factor", "level", "trials", "stopped", "failed", "accuracy", "contrast", "low", "high"]
MAIN_COLUMNS += ["wins", "wins_low", "wins_high", "told_apart", "disagree", "rung"]
INTERACTION_COLUMNS = ["factor_a", "factor_b", "contrast", "low", "high", "rung"]
INTERACTION_COLUMNS += ["level_a1", "level_a2", "level_b1", "level_b2", "effect_b1", "effect_b2", "reverses"]
INTERACTION_COLUMNS += ["wins", "wins_low", "wins_high", "disagree", "p_holm", "trials"]


@dataclass(frozen=True)
class Searched:
    """A search made ready for its effects: what each trial reached, and who beat whom."""

    outcomes: Outcomes
    logits: Array  # (trials, checkpoints)
    nuisances: Array  # (trials, columns)
    compared: NDArray[np.int64]  # the trials that were compared in pairs
    beats: NDArray[np.float32]  # of those


def searched(results: Results, seen: Outcomes) -> Searched:
    chosen = wins.compared(len(seen.trials))
    failed = (seen.trials["outcome"] == "failed").to_numpy()
    return Searched(
        outcomes=seen,
        logits=seen.logits,
        nuisances=_independent(_nuisances(results, seen.trials)),
        compared=chosen,
        beats=wins.beats(seen.accuracy[chosen], failed[chosen]),
    )


def main_effects(search: Searched, factors: Mapping[str, list[str]]) -> pd.DataFrame:
    """Each level of each factor: its typical accuracy, and its log-odds against the mean of the factor's levels.

    `wins` is how much more often its trials won than lost against the other levels', from -1 to 1.
    """
    tables = [_main(search, factors, factor) for factor in factors]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=MAIN_COLUMNS)


def _main(search: Searched, factors: Mapping[str, list[str]], factor: str) -> pd.DataFrame:
    trials = search.outcomes.trials
    listed = list(dict.fromkeys(factors[factor]))
    counts = pd.crosstab(trials[factor], trials["outcome"]).reindex(
        index=listed, columns=["reached", "stopped", "failed"], fill_value=0
    )
    frame = pd.DataFrame({"factor": factor, "level": listed, "trials": counts.sum(axis=1).to_numpy()})
    frame = frame.assign(stopped=counts["stopped"].to_numpy(), failed=counts["failed"].to_numpy())
    enough = [level for level in listed if counts.loc[level].sum() >= LEAST]
    frame = frame.assign(rung=search.outcomes.rung, told_apart=True, disagree=False).reindex(columns=MAIN_COLUMNS)
    cells = list(dict.fromkeys([*enough, *trials[factor]]))
    found = _means(search, factors, [(level,) for level in cells], [factor]) if len(enough) >= 2 else None
    if found is None:
        return frame
    k = len(enough)
    weights = np.zeros((k, len(cells)))
    weights[:, :k] = np.eye(k) - 1 / k
    rows = frame["level"].isin(enough).to_numpy()
    contrast = weights @ found.values
    low, high = interval(contrast, standard_errors(weights, found.covariance), found.df)
    pulls = np.array([np.outer(np.eye(k)[i], np.ones(k)) - np.outer(np.ones(k), np.eye(k)[i]) for i in range(k)])
    share = wins.against(search.beats, _codes(trials[factor], cells)[search.compared], len(cells))
    won, won_low, won_high = wins.contrasts(share, np.tile(np.arange(k), (k, 1)), pulls / (k - 1))
    frame.loc[rows, "accuracy"] = 1 / (1 + np.exp(-found.values[:k]))
    frame.loc[rows, ["contrast", "low", "high"]] = np.stack([contrast, low, high], axis=1)
    frame.loc[rows, ["wins", "wins_low", "wins_high"]] = np.stack([won, won_low, won_high], axis=1)
    frame.loc[rows, "told_apart"] = _told_apart(weights, found)
    frame.loc[~frame["told_apart"], ["accuracy", "contrast", "low", "high"]] = np.nan
    return frame.assign(disagree=_disagree(frame))


def interactions(search: Searched, factors: Mapping[str, list[str]]) -> pd.DataFrame:
    """Every two-by-two table of levels with at least two trials in each corner, the clearest contrast first.

    In log-odds: what level_a2 has over level_a1 under level_b2, minus the same under level_b1. `wins` is how much
    more often trials of (a1, b1) and (a2, b2) won than lost against those of the other two corners. `p_holm` is
    Holm's over all rows.
    """
    tables = [_pair(search, factors, a, b) for a, b in combinations(factors, 2)]
    tables = [one for one in tables if len(one)]
    if not tables:
        return pd.DataFrame(columns=INTERACTION_COLUMNS)
    frame = pd.concat(tables, ignore_index=True)
    frame = frame.assign(rung=search.outcomes.rung, p_holm=holm(frame["p"]), disagree=_disagree(frame))
    clearest = (frame["contrast"].abs() / (frame["high"] - frame["low"]).clip(lower=1e-12)).sort_values(
        ascending=False, kind="stable"
    )
    return frame.loc[clearest.index, INTERACTION_COLUMNS].reset_index(drop=True)


def _pair(search: Searched, factors: Mapping[str, list[str]], a: str, b: str) -> pd.DataFrame:
    trials = search.outcomes.trials
    sizes = trials.groupby([a, b]).size()
    cells = [pair for pair in ((i, j) for i in factors[a] for j in factors[b]) if sizes.get(pair, 0) >= LEAST]
    tables = corners(cells)
    cells = list(dict.fromkeys([*cells, *sizes.index]))
    found = _means(search, factors, cells, [a, b]) if len(tables) and len(cells) <= MOST_CELLS else None
    if found is None:
        return pd.DataFrame()
    tables = tables[_told_apart(difference_weights(tables, len(cells)), found)]
    weights = difference_weights(tables, len(cells))
    frame = differences_of_differences(tables, found.values)
    error = standard_errors(weights, found.covariance)
    low, high = interval(frame["contrast"].to_numpy(), error, found.df)
    at = positions(tables)
    codes = _codes(zip(trials[a], trials[b], strict=True), cells)
    share = wins.against(search.beats, codes[search.compared], len(cells))
    won, won_low, won_high = wins.contrasts(share, at, np.tile(_PULLS, (len(at), 1, 1)))
    return frame.assign(
        factor_a=a,
        factor_b=b,
        low=low,
        high=high,
        p=p_values(frame["contrast"].to_numpy(), error, found.df),
        wins=won,
        wins_low=won_low,
        wins_high=won_high,
        trials=np.bincount(codes, minlength=len(cells))[at].min(axis=1),
    )


def _means(
    search: Searched, factors: Mapping[str, list[str]], cells: list[tuple[str, ...]], own: list[str]
) -> Means | None:
    """Means of the cells, as far as the number of trials allows beside the other factors and the nuisances."""
    trials = search.outcomes.trials
    if not np.isfinite(search.logits[:, :1]).all():
        return None
    codes = _codes(zip(*(trials[factor] for factor in own), strict=True), cells)
    member = (codes[:, None] == np.arange(len(cells))).astype(float)
    others = _independent(np.column_stack([_effect_codes(trials[f], factors[f]) for f in factors if f not in own] or
                                          [np.empty((len(trials), 0))]))  # fmt: skip
    for beside in ([others, search.nuisances], [others], []):
        design = np.column_stack([member, *beside])
        if len(trials) >= 2 * design.shape[1]:
            break
    extra = design.shape[1] - len(cells)
    simpler = [np.ones((len(cells), 1))]
    if len(own) == 2:
        sides = [np.array([[cell[side] == level for level in dict.fromkeys(c[side] for c in cells)] for cell in cells])
                 for side in (0, 1)]  # fmt: skip
        additive = _independent(np.column_stack(sides).astype(float))
        simpler.insert(0, linalg.block_diag(additive, np.eye(extra)))
    intercept = np.concatenate([simpler[-1], np.zeros((extra, 1))])
    return cell_means(search.logits, design, len(cells), [np.eye(design.shape[1]), *simpler[:-1], intercept])


def _told_apart(weights: Array, found: Means) -> NDArray[np.bool_]:
    """Whether the design can estimate each contrast: other factors that change in step with it forbid that."""
    full = np.zeros((len(weights), found.told_apart.shape[1]))
    full[:, : weights.shape[1]] = weights
    return np.abs(weights @ found.told_apart - full).max(axis=1, initial=0) < 1e-6


def _codes(listed: Iterable[Any], cells: list[Any]) -> NDArray[np.int64]:
    code = {cell: number for number, cell in enumerate(cells)}
    return np.array([code[one] for one in listed], dtype=np.int64)


def _disagree(frame: pd.DataFrame) -> pd.Series:
    """The model and the view without one point in opposite directions, and one of them is sure of its own."""
    sure = (frame["low"] > 0) | (frame["high"] < 0) | (frame["wins_low"] > 0) | (frame["wins_high"] < 0)
    return sure & (frame["contrast"] * frame["wins"] < 0)


def _effect_codes(levels: pd.Series, listed: list[str]) -> Array:
    """A column for each level but the last, which has -1 in all; zeros where the factor does not exist."""
    present = [level for level in dict.fromkeys(listed) if (levels == level).any()]
    member = np.stack([(levels == level).to_numpy(float) for level in present], axis=1) if present else np.empty((0, 0))
    return member[:, :-1] - member[:, -1:] if len(present) > 1 else np.empty((len(levels), 0))


def _nuisances(results: Results, trials: pd.DataFrame) -> Array:
    """Each tuned nuisance, standardised and its square, both centred; zeros where it does not exist."""
    columns = []
    for name, values in nuisance_values(results, trials).items():
        there = np.isfinite(values)
        spread = values[there].std() if there.any() else 0.0
        if spread > 1e-12:
            once = (values - values[there].mean()) / spread
            columns += [np.where(there, once, 0), np.where(there, once**2 - 1, 0)]
    return np.stack(columns, axis=1) if columns else np.empty((len(trials), 0))


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


def _independent(columns: Array) -> Array:
    """As many of the columns as tell something of their own."""
    if 0 in columns.shape:
        return columns[:, :0]
    _, triangle, order = linalg.qr(columns, mode="economic", pivoting=True)
    size = np.abs(np.diag(triangle))
    return columns[:, np.sort(order[: int((size > 1e-9 * max(size[0], 1e-300)).sum())])]
