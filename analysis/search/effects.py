"""Main effects and two-factor interactions over the whole search, at its matched rung. Exploratory.

On the logit scale, by least squares with robust errors: cells of one or two factors, the other factors and the
tuned nuisances (linear and squared, in their own log where they have one) beside them, stopped trials followed by
`chain.cell_means`. A mixed model would add a variance between seeds, but the search has repeat 0 alone, so it would
be this one. Beside it stands a view without a model, `wins`; where the two contradict each other, that is shown.
"""

from itertools import combinations, product

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.search.design import Search, means_of, told_apart, win_shares
from analysis.statistics import wins
from analysis.statistics.contrasts import (
    corners,
    difference_weights,
    differences_of_differences,
    interval,
    joint_p_value,
    positions,
    standard_errors,
)
from analysis.statistics.inference import holm

Array = NDArray[np.float64]

LEAST = 2  # trials in a cell; one alone says nothing of its spread
MOST_CELLS = 150  # of two factors; beyond that each has too few trials to be looked at
_PULLS = np.array([[0, 1, 1, 0], [-1, 0, 0, -1], [-1, 0, 0, -1], [0, 1, 1, 0]]) / 4  # diagonal against off-diagonal
WINS = ["wins", "wins_low", "wins_high"]
MAIN_COLUMNS = ["factor", "level", "trials", "stopped", "failed", "accuracy", "contrast", "low", "high"]
MAIN_COLUMNS += [*WINS, "told_apart", "disagree", "rung"]
INTERACTION_COLUMNS = ["factor_a", "factor_b", "contrast", "low", "high", "rung"]
INTERACTION_COLUMNS += ["level_a1", "level_a2", "level_b1", "level_b2", "effect_b1", "effect_b2", "reverses"]
INTERACTION_COLUMNS += [*WINS, "disagree", "p_holm", "trials"]


def main_effects(search: Search) -> pd.DataFrame:
    """Each level of each factor: its typical accuracy, and its log-odds against the mean of the factor's levels.

    `wins` is how much more often its trials won than lost against the other levels', from -1 to 1. Where the design
    does not tell a level from other factors (`told_apart`), or it has a single trial, there is no effect.
    """
    tables = [_main(search, factor) for factor in search.factors]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=MAIN_COLUMNS)


def _main(search: Search, factor: str) -> pd.DataFrame:
    levels = search.factors[factor]
    counts = pd.crosstab(search.trials[factor], search.trials["outcome"])
    counts = counts.reindex(index=levels, columns=["reached", "stopped", "failed"], fill_value=0)
    frame = pd.DataFrame({"factor": factor, "level": levels, "trials": counts.sum(axis=1).to_numpy()})
    frame = frame.assign(stopped=counts["stopped"].to_numpy(), failed=counts["failed"].to_numpy())
    frame = frame.assign(rung=search.outcomes.rung, told_apart=True, disagree=False).reindex(columns=MAIN_COLUMNS)
    enough = frame["trials"] >= LEAST
    cells = [(level,) for level in dict.fromkeys([*frame["level"][enough], *search.trials[factor]])]
    k = int(enough.sum())
    found = means_of(search, cells, [factor]) if k >= 2 else None
    if found is None:
        return frame
    weights = np.eye(k, len(cells)) - np.where(np.arange(len(cells)) < k, 1 / k, 0)
    contrast = weights @ found.values
    interval_of_it = interval(contrast, standard_errors(weights, found.covariance), found.df)
    apart = told_apart(weights, found)
    seen = np.stack([1 / (1 + np.exp(-found.values[:k])), contrast, *interval_of_it], axis=1)
    frame.loc[enough, ["accuracy", "contrast", "low", "high"]] = np.where(apart[:, None], seen, np.nan)
    frame.loc[enough, "told_apart"] = apart
    frame.loc[enough, WINS] = np.stack(_wins_over_the_others(win_shares(search, cells, [factor]), k), axis=1)
    return frame.assign(disagree=_disagree(frame))


def _wins_over_the_others(shares: wins.Wins, levels: int) -> tuple[Array, Array, Array]:
    """Each of the first `levels` cells against the mean of the others."""
    one = np.eye(levels)
    pulls = (one[:, :, None] - one[:, None, :]) / (levels - 1)  # of level i: 1 in row i, -1 in column i
    return wins.contrasts(shares, np.tile(np.arange(levels), (levels, 1)), pulls)


def interactions(search: Search) -> pd.DataFrame:
    """Every two-by-two table of levels with at least two trials in each corner, the clearest contrast first.

    In log-odds: what level_a2 has over level_a1 under level_b2, minus the same under level_b1. `wins` is how much
    more often trials of (a1, b1) and (a2, b2) won than lost against those of the other two corners, from -1 to 1.
    `p_holm` is that of all rows of a pair of factors together, Holm's over the pairs; `trials` the number in the
    smallest corner.
    """
    tables = [one for a, b in combinations(search.factors, 2) if len(one := _pair(search, a, b))]
    if not tables:
        return pd.DataFrame(columns=INTERACTION_COLUMNS)
    adjusted = holm([one["p"].iloc[0] for one in tables])
    frame = pd.concat([one.assign(p_holm=p) for one, p in zip(tables, adjusted, strict=True)], ignore_index=True)
    frame = frame.assign(rung=search.outcomes.rung, disagree=_disagree(frame))
    clearness = frame["contrast"].abs() / (frame["high"] - frame["low"]).clip(lower=1e-12)
    order = clearness.sort_values(ascending=False, kind="stable").index
    return frame.loc[order, INTERACTION_COLUMNS].reset_index(drop=True)


def _pair(search: Search, a: str, b: str) -> pd.DataFrame:
    sizes: dict[tuple[str, str], int] = search.trials.groupby([a, b]).size().to_dict()
    full = [pair for pair in product(search.factors[a], search.factors[b]) if sizes.get(pair, 0) >= LEAST]
    tables, cells = corners(full), list(dict.fromkeys([*full, *sizes]))
    found = means_of(search, cells, [a, b]) if len(tables) and len(cells) <= MOST_CELLS else None
    if found is None:
        return pd.DataFrame()
    tables = tables[told_apart(difference_weights(tables, len(cells)), found)]
    if tables.empty:
        return pd.DataFrame()
    weights = difference_weights(tables, len(cells))
    error = standard_errors(weights, found.covariance)
    frame, at = differences_of_differences(tables, found.values), positions(tables)
    low, high = interval(frame["contrast"].to_numpy(), error, found.df)
    won = wins.contrasts(win_shares(search, cells, [a, b]), at, np.tile(_PULLS, (len(at), 1, 1)))
    return frame.assign(
        factor_a=a,
        factor_b=b,
        low=low,
        high=high,
        p=joint_p_value(weights @ found.values, weights @ found.covariance @ weights.T, found.df),
        **dict(zip(WINS, won, strict=True)),
        trials=np.array([sizes[cell] for cell in cells])[at].min(axis=1),
    )


def _disagree(frame: pd.DataFrame) -> pd.Series:
    """The model and the view without one point in opposite directions, and one of them is sure of its own."""
    sure = (frame["low"] > 0) | (frame["high"] < 0) | (frame["wins_low"] > 0) | (frame["wins_high"] < 0)
    return sure & (frame["contrast"] * frame["wins"] < 0)
