"""How well early epochs predicted the end, by the trials that nothing could stop."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.search.rung import best_within
from study.results import Results

COLUMNS = ["epoch", "epochs", "trials", "kendall", "low", "high", "place_of_the_best"]
LEAST = 5  # trials; fewer have hardly an order
MOST = 500  # of more, as many are drawn, always the same ones
RESAMPLES = 1000

Array = NDArray[np.float64]


def audit(results: Results) -> pd.DataFrame:
    """Kendall's tau-b between the best accuracy up to an early epoch and up to the last one, over the audited trials.

    `low, high`: 95 % percentile interval from resampled trials. `place_of_the_best` is where the trial that came out
    first at the end (of equals the one that was ahead) stood at that epoch. The epochs are those at which other
    trials were stopped; where none was, every power of two. Empty with fewer than five audited trials.
    """
    trials = results.trials
    mine = trials[(trials["phase"] == "search") & trials["audit"].eq(True) & (trials["status"] == "completed")]
    epochs = results.epochs[results.epochs["trial"].isin(mine["trial"])].dropna(subset=["epoch", "val_accuracy"])
    if epochs.empty:
        return pd.DataFrame(columns=COLUMNS)
    last = int(epochs["epoch"].max())
    final = best_within(epochs, last)
    if len(final) > MOST:
        final = final.iloc[np.sort(np.random.default_rng(0).permutation(len(final))[:MOST])]
    rows = []
    for epoch in _early(results, last):
        early = best_within(epochs, epoch).reindex(final.index).dropna()
        if len(early) >= LEAST:
            rows.append({"epoch": epoch, "epochs": last, **_agreement(early.to_numpy(), final[early.index].to_numpy())})
    return pd.DataFrame(rows, columns=COLUMNS)


def _early(results: Results, last: int) -> list[int]:
    search = results.trials[results.trials["phase"] == "search"]
    ends = search.loc[search["status"] == "stopped", "epochs_run"].dropna()
    stops = sorted({int(end) for end in ends if 1 <= end < last})
    if stops:
        return stops[:: max(1, -(-len(stops) // 6))]
    return [2**k for k in range(last.bit_length()) if 2**k < last]


def _agreement(early: Array, final: Array) -> dict[str, float]:
    once = np.ones((1, len(early)))
    drawn = np.random.default_rng(0).multinomial(len(early), np.full(len(early), 1 / len(early)), size=RESAMPLES)
    low, high = np.nanquantile(_tau(early, final, drawn.astype(float)), [0.025, 0.975])
    best = early[final == final.max()].max()
    return {
        "trials": len(early),
        "kendall": float(_tau(early, final, once)[0]),
        "low": float(low),
        "high": float(high),
        "place_of_the_best": 1 + int((early > best).sum()),
    }


def _tau(early: Array, final: Array, weights: Array) -> Array:
    """Kendall's tau-b for each row of `weights`, how often each trial counts; zero where one side is all equal."""
    a, b = (np.sign(side[:, None] - side[None]) for side in (early, final))
    both, first, second = (((weights @ signs) * weights).sum(axis=1) for signs in (a * b, a * a, b * b))
    return np.divide(both, np.sqrt(first * second), out=np.zeros(len(weights)), where=first * second > 0)
