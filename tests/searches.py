"""Searches with a known truth, in memory: trials on the logit scale, stopped by the study's own ASHA or by nobody."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from study import results
from study.design.plan import Planned
from study.schedule.rungs import Rung

FACTORS: dict[str, list[str]] = {"f": ["x", "y", "z"], "g": ["p", "q"], "h": ["u", "v"]}
EPOCHS, PICTURES = 9, 2000
Truth = Callable[[Mapping[str, str]], float]  # log-odds that a setting's trials approach, before nuisance and luck


def balanced(trials: int, seed: int, factors: Mapping[str, list[str]] = FACTORS) -> pd.DataFrame:
    """Every combination as often as every other, as far as `trials` goes, in a shuffled order."""
    grid = pd.MultiIndex.from_product(list(factors.values()), names=list(factors)).to_frame(index=False)
    runs = [grid.sample(frac=1, random_state=seed + run) for run in range(-(-trials // len(grid)))]
    return pd.concat(runs, ignore_index=True).head(trials)


def search(
    truth: Truth,
    trials: int = 96,
    seed: int = 0,
    *,
    asha: bool = True,
    late: Truth = lambda levels: 0.0,
    luck: float = 0.4,
    audited: int = 16,
    factors: Mapping[str, list[str]] = FACTORS,
    extra: Mapping[str, Any] | None = None,
) -> results.Results:
    """`late` is what a setting lacks at first and gains by the end; the best learning rate lies in between."""
    rng = np.random.default_rng(seed)
    plan = balanced(trials, seed, factors)
    settings = [dict(zip(factors, levels, strict=True)) for levels in plan.itertuples(index=False)]
    rate = rng.uniform(np.log(1e-4), np.log(1e-1), trials)
    off = (rate - np.log(3e-3)) / 3
    level = np.array([truth(setting) for setting in settings]) - 0.5 * off**2 + luck * rng.standard_normal(trials)
    behind = np.array([late(setting) for setting in settings])
    gone = np.exp(-(np.arange(1, EPOCHS + 1) - 1) / 3)
    logits = 0.5 + level[:, None] - (0.8 + behind)[:, None] * gone + 0.1 * rng.standard_normal((trials, EPOCHS))
    right = rng.binomial(PICTURES, 1 / (1 + np.exp(-logits))) / PICTURES
    ran = _asha(settings, right, audited) if asha else np.full(trials, EPOCHS)
    names = [f"search-{i:04d}" for i in range(trials)]
    best = [right[i, :n].argmax() for i, n in enumerate(ran)]
    table = plan.assign(
        trial=names,
        phase="search",
        arm=names,
        stands_for=None,
        audit=np.arange(trials) < (audited if asha else trials),
        seed=0,
        status=np.where(ran < EPOCHS, "stopped", "completed"),
        epochs_run=ran,
        seconds=ran * 2.0,
        error=None,
        best_epoch=np.array(best) + 1,
        val_accuracy=right[np.arange(trials), best],
        learning_rate=np.exp(rate),
    )
    epochs = pd.DataFrame(
        [(names[i], e + 1, right[i, e]) for i in range(trials) for e in range(ran[i])],
        columns=["trial", "epoch", "val_accuracy"],
    )
    study = {
        "name": "searched",
        "question": "Which?",
        "factors": dict(factors),
        "nuisances": {"learning_rate": {"low": 1e-4, "high": 1e-1, "log": True, "when": {}}},
        "budget": {"trials": trials, "epochs": EPOCHS, "grace": 1, "reduction": 3},
    }
    manifest = pd.DataFrame({"keep": [True] * PICTURES, "fold": ["val"] * PICTURES})
    empty = pd.DataFrame(columns=list(results.PREDICTIONS_COLUMNS))
    return results.Results(
        Path("nowhere"), cast(results.StudyRecord, study | dict(extra or {})), manifest, table, epochs, empty
    )


def _asha(settings: list[dict[str, str]], right: np.ndarray, audited: int) -> np.ndarray:
    """Epochs each trial ran: rungs after 1 and 3 epochs, trials one after the other."""
    ran = np.full(len(settings), EPOCHS)
    rungs = {1: Rung(3), 3: Rung(3)}
    for i, levels in enumerate(settings):
        planned = Planned(str(i), "search", levels, {}, audit=i < audited)
        for epoch, rung in rungs.items():
            value = float(right[i, epoch - 1])
            goes_on = rung.goes_on(planned, value)
            rung.add(planned, value)
            if not goes_on:
                ran[i] = epoch
                break
    return ran
