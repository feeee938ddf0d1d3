"""Hyperparameter importance: how strongly each separates the best trials of the search from the rest.

PED-ANOVA (Watanabe, Bansal and Hutter, IJCAI 2023), computed by Optuna, compares the values of the best trials at the
rung with the values of all trials. It only needs to know that a stopped trial was not among the best, so stopped and
failed trials take part; fANOVA would describe only the survivors.
"""

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.declared import nuisances
from analysis.search.rung import Outcomes
from study.results import Results, level_text

COLUMNS = ["hyperparameter", "kind", "importance", "best", "trials", "stopped", "rung"]
BEST = 0.25  # share of the trials; smaller if few were trained far enough to be ranked
LEAST_AMONG_THE_BEST = 5  # fewer do not determine the densities (Optuna's documentation)
MOST_TRIALS = 1000  # a larger search is subsampled, always with the same trials

Array = NDArray[np.float64]


def importance(results: Results, at_rung: Outcomes) -> pd.DataFrame:
    """Return a row for each factor and nuisance that varied; shares sum to 1. Empty with fewer than 5 best trials."""
    ranks = np.where(at_rung.trials["outcome"] == "reached", at_rung.accuracy, -np.inf)
    sample = np.arange(len(ranks))
    if len(ranks) > MOST_TRIALS:
        sample = np.sort(np.random.default_rng(0).permutation(len(ranks))[:MOST_TRIALS])
    settings, ranks = _settings(results, at_rung.trials).iloc[sample], ranks[sample]
    settings = settings[[name for name in settings if settings[name].nunique() > 1]]
    # At most half of the trials that reached the rung: the other half may be no better than the stopped ones.
    best = math.floor(min(BEST * len(ranks), np.isfinite(ranks).sum() / 2))
    shares = _ped_anova(settings, ranks, best) if len(settings.columns) and best >= LEAST_AMONG_THE_BEST else {}
    rows = [
        {
            "hyperparameter": name,
            "kind": "factor" if name in results.factors else "nuisance",
            "importance": share,
            "best": best,
            "trials": len(ranks),
            "stopped": int((at_rung.trials["outcome"].iloc[sample] == "stopped").sum()),
            "rung": at_rung.rung,
        }
        for name, share in shares.items()
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _settings(results: Results, trials: pd.DataFrame) -> pd.DataFrame:
    """Return factors as text and nuisances on their search scale; missing where they do not exist."""
    factors = {name: trials[name].where(trials[name] != "") for name in results.factors}
    return pd.DataFrame(factors | _nuisance_values(results, trials), index=trials.index)


def _nuisance_values(results: Results, trials: pd.DataFrame) -> dict[str, Array]:
    """Return each nuisance of study.json, shape (trials,), in logs if searched in logs, NaN where it does not exist."""
    values = {}
    for nuisance in nuisances(results):
        if nuisance.name not in trials or nuisance.name in results.factors:
            continue
        raw = pd.to_numeric(trials[nuisance.name], errors="coerce").to_numpy(float)
        with np.errstate(divide="ignore", invalid="ignore"):
            scaled = np.log(raw) if nuisance.log else raw
        exists = np.isfinite(scaled)
        for factor, levels in (nuisance.when or {}).items():
            if factor in trials:
                exists &= trials[factor].map(level_text).isin(levels).to_numpy()
        values[nuisance.name] = np.where(exists, scaled, np.nan)
    return values


def _ped_anova(settings: pd.DataFrame, ranks: Array, best: int) -> dict[str, float]:
    """Return importances that sum to 1, the largest first; empty if nothing separates the best trials."""
    import optuna  # importing takes nearly a second, which a study with too few trials can save

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    spaces: dict[str, optuna.distributions.BaseDistribution] = {}
    for name in settings.columns:
        present = settings[name].dropna()
        spaces[name] = (
            optuna.distributions.FloatDistribution(float(present.min()), float(present.max()))
            if pd.api.types.is_float_dtype(present)
            else optuna.distributions.CategoricalDistribution(tuple(present.unique()))
        )
    study = optuna.create_study(direction="maximize")
    order = np.empty(len(ranks))
    order[np.argsort(ranks, kind="stable")] = np.arange(len(ranks))  # finite, unlike `ranks`, with the same order
    for row, rank in zip(settings.to_dict("records"), order, strict=True):
        params = {str(name): value for name, value in row.items() if pd.notna(value)}
        distributions = {name: spaces[name] for name in params}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=float(rank)))
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=best / len(ranks))
    importances = evaluator.evaluate(study)
    total = sum(importances.values())
    if total <= 0:
        return {}
    declared = [name for name in spaces if name in importances]  # ties in declared order, not in set order
    return {name: importances[name] / total for name in sorted(declared, key=lambda name: -importances[name])}
