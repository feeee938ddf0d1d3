"""Unfreeze depth: accuracy by the trained share of the backbone."""

import re
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from analysis.confirmed.settings import Setting
from analysis.confirmed.tables import PARAMETERS, comparison, dots
from analysis.layout import figures
from analysis.layout.page import Figure, Section
from analysis.layout.text import percent, percent_interval, shortened
from study.results import Results

FACTOR = "unfreeze"
_LAST = re.compile(r"last (?:(\d+) )?(layer|block|stage)s?")
_UNITS = ("layer", "block", "stage")  # each contains several of the previous unit


def depth_section(results: Results, confirmed: list[Setting]) -> Section | None:
    if FACTOR not in results.factors:
        return None
    metric, line = depths(comparison(results, confirmed, FACTOR))
    if len(line) < 2:
        return None
    best = line.sort_values("accuracy", ascending=False, kind="stable").iloc[0]
    rows = zip(line["level"], line["share"], line["accuracy"], strict=True)
    spoken = ", ".join(f"{level}{_share(share)} {percent(accuracy)}" for level, share, accuracy in rows)
    top = f"{best['level']}{_share(best['share'])}"
    interval = percent_interval(best["accuracy"], best["low"], best["high"])
    text = figures.svg(2.7, partial(draw_depths, line=line))
    return Section(
        "Unfreeze depth",
        [f"{top} has the highest {metric}: {interval}. From shallow to deep: {spoken}."],
        figures=[Figure("depth", f"{metric[0].upper()}{metric[1:]} by depth", f"{metric}, {spoken}", text)],
    )


def depths(compared: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    """Return the metric to plot (see `dots`), and one row per level from shallow to deep.

    Columns level, accuracy, low, high, winner, and share: the trained share of the backbone's weights, NaN for all
    levels if any share is unknown.
    """
    metric, line = dots(compared)
    line = line.rename(columns={"value": "accuracy"}).assign(share=np.nan)
    if set(PARAMETERS) <= set(compared.columns):
        line["share"] = compared["trained_parameters"] / compared["parameters"]
    line = line[line["accuracy"].notna() & (line["level"] != "")]
    if line["share"].isna().any():
        line["share"] = np.nan
    ranks = line["level"].map(_rank)
    return metric, line.assign(rank=ranks).sort_values(["share", "rank"], kind="stable").reset_index(drop=True)


def _rank(level: str) -> tuple[int, int, int]:
    """Rank a depth by its name: head, the last layers, blocks and stages, all."""
    if match := _LAST.fullmatch(level):
        return 1, _UNITS.index(match[2]), int(match[1] or 1)
    return (0 if level == "head" else 2), 0, 0


def _share(share: float) -> str:
    return "" if np.isnan(share) else f" ({percent(share)} of the backbone)"


def draw_depths(ax: Axes, line: pd.DataFrame) -> Axes:
    """Draw one dot per depth with its interval, by the trained share, or in equal steps if the share is unknown."""
    known = line["share"].notna().all()
    x = 100 * line["share"].to_numpy() if known else np.arange(len(line))
    ax.plot(x, line["accuracy"], color=figures.GRAY, linewidth=1.0)
    ax.vlines(x, line["low"], line["high"], color=figures.BLUE, linewidth=2.2)
    for at, accuracy, winner in zip(x, line["accuracy"], line["winner"], strict=True):
        ax.plot(at, accuracy, "o", color=figures.BLUE, markerfacecolor=figures.BLUE if winner else figures.PAPER)
    figures.in_percent(ax.yaxis)
    if not known:
        ax.set_xticks(x, [shortened(level, 16) for level in line["level"]])
        ax.margins(x=0.12)
        return ax
    ax.set_xlim(-6, 106)
    ax.margins(y=0.2)
    _name(ax, x, line)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=5))
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:.4g}%")
    ax.set_xlabel("trained share of the backbone's weights")
    return ax


def _name(ax: Axes, x: np.ndarray, line: pd.DataFrame) -> None:
    """Write each level's name beside its dot, on the side with more room and away from the line, which mostly rises."""
    gaps = np.diff(x, prepend=-100, append=200)
    for at, before, after, dot in zip(x, gaps, gaps[1:], line.itertuples(), strict=False):
        left = after < before and at > 25
        side, ha, va = (-6, "right", "bottom") if left or at > 75 else (6, "left", "top")
        name = shortened(dot.level, 16)
        place = (side, 2 if va == "bottom" else -2)
        ax.annotate(name, (at, dot.accuracy), place, textcoords="offset points", ha=ha, va=va, fontsize=8)
