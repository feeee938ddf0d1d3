"""How well early epochs predicted the final ranking, measured on the trials that are never stopped."""

import math

import numpy as np
import pandas as pd
from scipy import stats

from analysis.search.rung import best_within
from study.results import Results

COLUMNS = ["epoch", "epochs", "stopped", "trials", "kendall", "low", "high", "place_of_the_best"]
LEAST = 3  # trials; two have no ranking to predict


def audit(results: Results) -> pd.DataFrame:
    """Return Kendall's tau-b between the best accuracy up to an early epoch and up to the last, over audited trials.

    `low, high`: see `tau_interval`. `place_of_the_best`: the rank at that epoch of the trial that finished first (the
    best rank, if several did). `stopped`: the number of other trials stopped by that epoch. The epochs are those at
    which trials were stopped, or every power of two. Empty with fewer than `LEAST` audited trials.
    """
    trials = results.trials
    search = trials[trials["phase"] == "search"]
    audited = search[search["audit"].eq(True) & (search["status"] == "completed")]
    ends = search.loc[search["status"] == "stopped", "epochs_run"].dropna()
    epochs = results.epochs[results.epochs["trial"].isin(audited["trial"])].dropna(subset=["epoch", "val_accuracy"])
    if epochs.empty:
        return pd.DataFrame(columns=COLUMNS)
    last = int(epochs["epoch"].max())
    final = best_within(epochs, last)
    rows = []
    for epoch in _early(ends, last):
        early = best_within(epochs, epoch).reindex(final.index).dropna()
        if len(early) >= LEAST:
            agreement = _agreement(early.to_numpy(), final[early.index].to_numpy())
            rows.append({"epoch": epoch, "epochs": last, "stopped": int((ends <= epoch).sum()), **agreement})
    return pd.DataFrame(rows, columns=COLUMNS)


def _early(ends: pd.Series, last: int) -> list[int]:
    """Return at most six of the epochs at which trials were stopped, or the powers of two if none was."""
    stops = sorted({int(end) for end in ends if 1 <= end < last})
    if stops:
        return stops[:: max(1, -(-len(stops) // 6))]
    return [2**k for k in range(last.bit_length()) if 2**k < last]


def _agreement(early: np.ndarray, final: np.ndarray) -> dict[str, float]:
    tau = float(np.nan_to_num(np.asarray(stats.kendalltau(early, final))[0]))  # NaN if one side is constant: 0
    low, high = tau_interval(tau, len(early))
    best = early[final == final.max()].max()
    return {
        "trials": len(early),
        "kendall": tau,
        "low": low,
        "high": high,
        "place_of_the_best": 1 + int((early > best).sum()),
    }


def tau_interval(tau: float, n: int) -> tuple[float, float]:
    """Return a 95% interval of Kendall's tau from n trials. It is conservative, so it holds for few trials too.

    All tau with |tau - measured| <= 1.96 standard errors, which are at most sqrt(2 / n * (1 - tau^2)) for any
    distribution (Kendall, Rank Correlation Methods, 1948, chapter 4). For three trials in perfect order: -0.44 to 1.
    """
    k = 2 * float(stats.norm.ppf(0.975)) ** 2 / n
    half = math.sqrt(k * (1 + k - tau**2))
    return max((tau - half) / (1 + k), -1.0), min((tau + half) / (1 + k), 1.0)
