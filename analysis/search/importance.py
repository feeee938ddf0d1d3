"""How much each hyperparameter mattered for being among the best of the search.

PED-ANOVA (Watanabe, Bansal and Hutter, IJCAI 2023), as Optuna computes it, from the tables: how far the values of the
best trials at the matched rung lie from those of all trials. Of a trial that was stopped it needs only that it was
not among the best, so stopped and failed trials take part, where fANOVA would speak of the survivors alone.
"""

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.search.design import nuisance_values
from analysis.search.rung import Outcomes
from study.results import Results

COLUMNS = ["hyperparameter", "kind", "importance", "best", "trials", "stopped", "rung"]
BEST = 0.25  # share of the trials; less where fewer were trained far enough to be ranked
LEAST_AMONG_THE_BEST = 5  # with fewer the densities are guesses (Optuna's documentation)
MOST_TRIALS = 1000  # of more, as many are drawn, always the same ones


def importance(results: Results, seen: Outcomes) -> pd.DataFrame:
    """A row for each factor and nuisance that varied, as shares of one; empty with fewer than 5 among the best."""
    ranks = _ranks(seen)
    drawn = np.arange(len(ranks))
    if len(ranks) > MOST_TRIALS:
        drawn = np.sort(np.random.default_rng(0).permutation(len(ranks))[:MOST_TRIALS])
    settings, ranks = _settings(results, seen.trials).iloc[drawn], ranks[drawn]
    settings = settings[[name for name in settings if settings[name].nunique() > 1]]
    # Half of those that went all the way: the other half may be no better than what was stopped.
    best = math.floor(min(BEST * len(ranks), np.isfinite(ranks).sum() / 2))
    shares = _ped_anova(settings, ranks, best) if len(settings.columns) and best >= LEAST_AMONG_THE_BEST else {}
    rows = [
        {
            "hyperparameter": name,
            "kind": "factor" if name in results.factors else "nuisance",
            "importance": share,
            "best": best,
            "trials": len(ranks),
            "stopped": int((seen.trials["outcome"].iloc[drawn] == "stopped").sum()),
            "rung": seen.rung,
        }
        for name, share in shares.items()
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _ranks(seen: Outcomes) -> NDArray[np.float64]:
    """The accuracy at the rung; without end below the others where a trial did not get there."""
    value = seen.accuracy[:, -1] if seen.checkpoints else np.empty(0)
    return np.where(np.isfinite(value), value, -np.inf)


def _settings(results: Results, trials: pd.DataFrame) -> pd.DataFrame:
    """Factors as text, nuisances as they are searched; missing where they do not exist."""
    factors = {name: trials[name].where(trials[name] != "") for name in results.factors}
    return pd.DataFrame(factors | nuisance_values(results, trials), index=trials.index)


def _ped_anova(settings: pd.DataFrame, ranks: NDArray[np.float64], best: int) -> dict[str, float]:
    """Importances that sum to one, the largest first; empty where nothing sets the best apart."""
    import optuna  # nearly a second, which a study with too few trials need not spend

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    spaces: dict[str, optuna.distributions.BaseDistribution] = {}
    for name in settings:
        present = settings[name].dropna()
        spaces[name] = (
            optuna.distributions.FloatDistribution(float(present.min()), float(present.max()))
            if pd.api.types.is_float_dtype(present)
            else optuna.distributions.CategoricalDistribution(tuple(present.unique()))
        )
    study = optuna.create_study(direction="maximize")
    order = np.empty(len(ranks))
    order[np.argsort(ranks, kind="stable")] = np.arange(len(ranks))  # finite, and as good as the values themselves
    for row, rank in zip(settings.to_dict("records"), order, strict=True):
        params = {name: one for name, one in row.items() if pd.notna(one)}
        chosen = {name: spaces[name] for name in params}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=chosen, value=float(rank)))
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=best / len(ranks))
    found = evaluator.evaluate(study)
    total = sum(found.values())
    return {name: value / total for name, value in found.items()} if total > 0 else {}
