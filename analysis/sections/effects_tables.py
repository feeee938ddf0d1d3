"""Main effects and interactions of the search as tables and sentences."""

from typing import Any

import numpy as np
import pandas as pd

from analysis.layout.page import Table, table
from analysis.layout.text import NOTHING, count, number, percent, points
from analysis.search.rung import Outcomes

ALPHA = 0.05
MOST_INTERACTIONS, MOST_TURNED = 10, 3


def apart_points(effects: pd.DataFrame) -> list[str]:
    """Which factors the design cannot tell apart, which have too few trials."""
    mixed = list(dict.fromkeys(effects.loc[~effects["told_apart"].astype(bool), "factor"]))
    bare = [factor for factor, one in effects.groupby("factor", sort=False) if one["contrast"].isna().all()]
    bare = [factor for factor in bare if factor not in mixed]
    said = []
    if mixed:
        said.append(f"{', '.join(mixed)}: changed in step with other factors, so the search cannot say which mattered.")
    if bare:
        said.append(f"{', '.join(bare)}: too few trials, or levels, for an effect.")
    return said


def effects_table(effects: pd.DataFrame, seen: Outcomes) -> Table:
    shown = {
        "factor": lambda row: row.factor,
        "level": lambda row: row.level or "none",
        "typical accuracy": lambda row: percent(row.accuracy),
        "against the factor's mean (log-odds)": lambda row: _signed(row.contrast, row.low, row.high),
        "wins minus losses": lambda row: _wins(row),
        "trials": lambda row: number(row.trials),
        "stopped": lambda row: _share(row.stopped, row.trials),
        "failed": lambda row: _share(row.failed, row.trials),
    }
    caption = (
        f"Main effects {seen.title}, on validation, at the average of the other factors and of the nuisance values "
        "tried, good and bad ones alike. Log-odds: a linear model, with 95 % intervals. Wins minus losses: every trial "
        "against every trial of the other levels, without a model."
    )
    return table("effects", caption, effects, shown)


def interactions_table(between: pd.DataFrame, seen: Outcomes) -> Table:
    shown = {
        "what changes": lambda row: f"{row.factor_a}: {row.level_a2} over {row.level_a1}",
        "under": lambda row: f"{row.factor_b}: {row.level_b1} → {row.level_b2}",
        "effect (log-odds)": lambda row: f"{_signed(row.effect_b1)}\u00a0→ {_signed(row.effect_b2)}",
        "contrast (95 % interval)": lambda row: _signed(row.contrast, row.low, row.high),
        "wins minus losses": lambda row: _wins(row),
        "p of the pair (Holm)": lambda row: f"{row.p_holm:.2g}",
        "fewest trials": lambda row: number(row.trials),
    }
    caption = (
        f"Interactions {seen.title}, the clearest first: by how much one choice changes what another one is worth. "
        "Wins minus losses: of the combinations that a positive contrast favors, against the other two. Fewest "
        "trials: in the smallest of the four combinations"
    )
    return table("interactions", caption, between, shown, most=MOST_INTERACTIONS)


def interaction_points(between: pd.DataFrame) -> list[str]:
    """Which pairs of factors interact for sure, and between which levels the better one changes."""
    pairs = between.drop_duplicates(["factor_a", "factor_b"])
    clear = between[between["p_holm"] < ALPHA]
    looked = f"Of {count(len(pairs), 'pair')} of factors looked at, "
    if clear.empty:
        return [f"{looked}none interacts for sure (Holm). Single intervals without zero are to be expected by chance."]
    once = clear.drop_duplicates(["factor_a", "factor_b"])
    named = " and ".join(f"{row.factor_a} with {row.factor_b}" for row in once.itertuples())
    sure = clear[clear["reverses"] & ((clear["low"] > 0) | (clear["high"] < 0))]
    turned = [
        f"Which of {row.level_a1} and {row.level_a2} ({row.factor_a}) is better changes with {row.factor_b}: "
        f"{_better(row, row.effect_b1)} with {row.level_b1}, {_better(row, row.effect_b2)} with {row.level_b2}."
        for row in sure.head(MOST_TURNED).itertuples()
    ]
    return [f"{looked}{number(len(once))} interact{'s' if len(once) == 1 else ''} for sure (Holm): {named}.", *turned]


def _better(row: Any, effect: float) -> str:
    return row.level_a2 if effect > 0 else row.level_a1


def _signed(value: Any, low: Any = np.nan, high: Any = np.nan) -> str:
    if pd.isna(value):
        return NOTHING
    said = f"{value:+.2f}" if pd.isna(low) else f"{value:+.2f} ({low:+.2f} to {high:+.2f})"
    return said.replace("-", "−").replace(" ", "\u00a0")


def _wins(row: Any) -> str:
    if pd.isna(row.wins):
        return NOTHING
    said = f"{points(row.wins)}\u00a0% ({points(row.wins_low)} to {points(row.wins_high)})"
    return f"{said} ≠" if row.disagree else said


def _share(some: int, of: int) -> str:
    return percent(some / of) if some else "0" if of else NOTHING
