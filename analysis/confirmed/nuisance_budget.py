"""What each level's best would have been after so many tuned nuisance points: whether a verdict hangs on the budget."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from analysis.confirmed.settings import test_folds
from analysis.confirmed.tables import in_company
from analysis.search.rung import Outcomes
from study.results import Results, level_text

REFINE, SEARCH = "refine", "search"
LEAST = 2  # points of a level, or there is no choice to speak of
MOST = 50  # points shown
COLUMNS = ["factor", "level", "points", "expected_best", "of", "phase"]


def expected_best(values: ArrayLike, most: int = MOST) -> NDArray[np.float64]:
    """The expected maximum of 1, 2, ... n draws (at most `most`) from the n `values`, with replacement.

    Dodge et al., Show Your Work (EMNLP 2019): the sum over v of v (P(V <= v)^k - P(V < v)^k). At k = n it lies below
    the best value, because the draws repeat.
    """
    ordered = np.sort(np.asarray(values, dtype=float))
    n = len(ordered)
    up_to = (np.arange(n + 1) / max(n, 1))[:, None] ** np.arange(1, min(n, most) + 1)
    return ordered @ np.diff(up_to, axis=0)


def budgets(results: Results, seen: Outcomes) -> pd.DataFrame:
    """Expected best validation accuracy of each level by number of nuisance points; factors with two such levels.

    From refining, where levels were tuned in one and the same company; else from the search at the matched rung, where
    the other factors vary along, stopped trials with what they had and failed ones with nothing. Also with test folds,
    each of which was refined for itself.
    """
    rows = []
    for factor, levels in results.factors.items():
        found = {} if test_folds(results) else _tuned(results, factor), _searched(seen, factor)
        for phase, values in zip((REFINE, SEARCH), found, strict=True):
            enough = {level: values[level] for level in levels if len(values.get(level, ())) >= LEAST}
            if len(enough) >= 2:
                rows += [(factor, level, k + 1, best, len(one), phase) for level, one in enough.items()
                         for k, best in enumerate(expected_best(one))]  # fmt: skip
                break
    return pd.DataFrame(rows, columns=COLUMNS)


def _tuned(results: Results, factor: str) -> dict[str, NDArray[np.float64]]:
    refined = results.trials[results.trials["phase"] == "refine"]
    company = in_company(results, refined, factor) if len(refined) else refined
    return _by_level(company[factor].map(level_text), company["val_accuracy"].where(company["status"] != "failed", 0.0))


def _searched(seen: Outcomes, factor: str) -> dict[str, NDArray[np.float64]]:
    best = np.nanmax(seen.accuracy, axis=1, initial=0.0)
    return _by_level(seen.trials[factor], pd.Series(best, seen.trials.index))


def _by_level(levels: pd.Series, values: pd.Series) -> dict[str, NDArray[np.float64]]:
    known = values.dropna()
    return {level: one.to_numpy() for level, one in known.groupby(levels.reindex(known.index))}


def overtakings(table: pd.DataFrame, margin: float) -> pd.DataFrame:
    """Factors whose verdict hangs on the budget: another level leads after one point than at the end.

    Both leads, of `first` and of `last`, exceed `margin`; `since` is the number of points from which `last` leads.
    """
    rows = []
    for factor, mine in table.groupby("factor", sort=False):
        wide = mine.pivot(index="points", columns="level", values="expected_best").dropna()
        first, last = wide.iloc[0].idxmax(), wide.iloc[-1].idxmax()
        lead = wide[last] - wide[first]
        if lead.iloc[0] < -margin and lead.iloc[-1] > margin:
            rows.append((factor, first, last, int(wide.index[lead <= 0].max()) + 1, len(wide), mine["phase"].iloc[0]))
    return pd.DataFrame(rows, columns=["factor", "first", "last", "since", "points", "phase"])
