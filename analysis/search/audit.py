"""How well early epochs predicted the final ranking, measured on the trials that are never stopped."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.search.rung import best_within
from study.results import Results

COLUMNS = ["epoch", "epochs", "stopped", "trials", "kendall", "low", "high", "place_of_the_best"]
LEAST = 5  # trials; a rank correlation of fewer means little
MOST = 500  # trials; a larger audit is subsampled, always with the same trials
RESAMPLES = 1000

Array = NDArray[np.float64]


def audit(results: Results) -> pd.DataFrame:
    """Return Kendall's tau-b between the best accuracy up to an early epoch and up to the last, over audited trials.

    `low, high`: 95% percentile interval from resampled trials. `place_of_the_best`: the rank at that epoch of the trial
    that finished first (the best rank, if several did). `stopped`: the number of other trials stopped by that epoch.
    The epochs are those at which trials were stopped, or every power of two. Empty with fewer than five audited trials.
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
    if len(final) > MOST:
        final = final.iloc[np.sort(np.random.default_rng(0).permutation(len(final))[:MOST])]
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


def _agreement(early: Array, final: Array) -> dict[str, float]:
    all_once = np.ones((1, len(early)))
    resamples = np.random.default_rng(0).multinomial(len(early), np.full(len(early), 1 / len(early)), size=RESAMPLES)
    low, high = np.nanquantile(_tau(early, final, resamples.astype(float)), [0.025, 0.975])
    best = early[final == final.max()].max()
    return {
        "trials": len(early),
        "kendall": float(_tau(early, final, all_once)[0]),
        "low": float(low),
        "high": float(high),
        "place_of_the_best": 1 + int((early > best).sum()),
    }


def _tau(early: Array, final: Array, weights: Array) -> Array:
    """Kendall's tau-b for each row of `weights` (how often each trial counts); zero where one side is constant."""
    a, b = (np.sign(side[:, None] - side[None]) for side in (early, final))
    both, first, second = (((weights @ signs) * weights).sum(axis=1) for signs in (a * b, a * a, b * b))
    return np.divide(both, np.sqrt(first * second), out=np.zeros(len(weights)), where=first * second > 0)
