"""Figures as SVG: each `draw_` function takes an Axes and returns it, and `svg` renders a figure as text.

Figures are small and have the same width: they flow side by side on a wide page and stay readable on a phone.
"""

import html
import io
import re
import warnings
from collections.abc import Callable, Mapping
from functools import partial

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from analysis.layout import page
from analysis.layout.text import duration, number, percent, percent_interval, plain, shortened

# Blue and orange are distinguishable with any color vision, on white and on near-black.
BLUE, ORANGE, GRAY = "#2f81c7", "#d9730d", "#8b949e"
# The page replaces these three with its own colors, light or dark.
INK = "#1f2328"
GRID = "#d8dee4"
PAPER = "#fefefe"
WIDTH = 3.6  # inches

STYLE = {
    "svg.fonttype": "none",  # text stays text: searchable, and set in the page's own font
    "svg.hashsalt": "study",  # equal figures get equal bytes
    "text.parse_math": False,  # a class may be called "$x$"
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.major.size": 0.0,
    "ytick.major.size": 0.0,
    "legend.frameon": False,
    "savefig.transparent": True,
}
STYLE |= dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "axes.titlecolor"), INK)
STYLE |= dict.fromkeys(("xtick.color", "ytick.color"), INK)


def svg(height: float, *draws: Callable[[Axes], Axes], titles: Mapping[str, str] | None = None) -> str:
    """Render a figure as SVG text, one panel per draw function from top to bottom; `height` is in inches.

    `titles` maps an artist's gid to the tooltip that a browser shows for it.
    """
    with mpl.rc_context(STYLE):  # pyright: ignore[reportArgumentType] its keys are a closed list of literals
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        axes = figure.subplots(len(draws), 1, squeeze=False)[:, 0]
        for ax, draw in zip(axes, draws, strict=True):
            draw(ax)
        text = io.StringIO()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing")  # the text is set in the reader's own fonts
            figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return _titled(text.getvalue(), titles or {})


def _titled(text: str, titles: Mapping[str, str]) -> str:
    """Add a title, which browsers show as a tooltip, as the first child of each group whose id is in `titles`."""

    def add(tag: re.Match[str]) -> str:
        title = titles.get(tag[1])
        return tag[0] if title is None else f"{tag[0]}<title>{html.escape(plain(title))}</title>"

    return re.sub(r'<g id="([^"]*)">', add, text) if titles else text


def in_percent(axis: Axis) -> None:
    """Label the ticks of an axis of shares as percentages."""
    axis.set_major_formatter(lambda value, _: f"{100 * value:.4g}%")


def dots_figure(stem: str, alt: str, dots: pd.DataFrame, xlabel: str) -> page.Figure:
    """Return the figure of `draw_dots`, with a tooltip for each dot; `alt` is followed by the values."""
    rows = enumerate(dots.iloc[::-1].itertuples())  # the dots are numbered from the lowest
    titles = {f"dot-{row}": f"{dot.level}: {percent_interval(dot.value, dot.low, dot.high)}" for row, dot in rows}
    text = svg(0.75 + 0.3 * len(dots), partial(draw_dots, dots=dots, xlabel=xlabel), titles=titles)
    values = ", ".join(f"{dot.level} {percent(dot.value)}" for dot in dots.itertuples())
    return page.Figure(stem, "", f"{alt} {values}", text)


def draw_dots(ax: Axes, dots: pd.DataFrame, xlabel: str) -> Axes:
    """Draw one row per level: a dot at its value, a line for its interval; the winner's dot is filled."""
    rows = np.arange(len(dots))[::-1]
    for row, value, low, high, winner in zip(
        rows, *(dots[column].to_numpy() for column in ("value", "low", "high", "winner")), strict=True
    ):
        ax.plot([low, high], [row, row], color=BLUE, linewidth=2.2, solid_capstyle="round")
        face = BLUE if winner else PAPER
        ax.plot(value, row, "o", markersize=7, color=BLUE, markerfacecolor=face, gid=f"dot-{row}")
    ax.set_yticks(rows, [shortened(level) for level in dots["level"]])
    ax.set_ylim(-0.6, len(dots) - 0.4)
    ax.margins(x=0.08)
    ax.grid(axis="y", visible=False)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 5, 10]))
    in_percent(ax.xaxis)
    ax.set_xlabel(xlabel)
    return ax


def draw_learning(
    ax: Axes, band: pd.DataFrame, metric: str, best: float, ylim: tuple[float, float], xlim: tuple[float, float]
) -> Axes:
    """Draw one metric by epoch in training and validation, with the gap shaded and the best epoch marked."""
    epochs, train, val = band.index.to_numpy(), band[f"train_{metric}"], band[f"val_{metric}"]
    for curve, color, line in ((train, ORANGE, "--"), (val, BLUE, "-")):
        ax.plot(epochs, curve["mean"], line, color=color, linewidth=1.6)
        ax.fill_between(epochs, curve["min"], curve["max"], color=color, alpha=0.22, linewidth=0)
    ax.fill_between(epochs, train["mean"], val["mean"], color=GRAY, alpha=0.13, linewidth=0)
    if np.isfinite(best):
        ax.axvline(best, color=GRAY, linewidth=1.0, linestyle=":")
        ax.plot(best, np.interp(best, epochs, val["mean"]), "o", color=BLUE, markersize=5)
    ax.set_ylim(*ylim)
    ax.set_xlim(*xlim)
    ax.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))
    ax.set_title(metric.replace("_", "-"))
    return ax


MOST_VECTORS = 300  # curves or dots; more are rasterized, because they would add megabytes to the page


def draw_search(ax: Axes, epochs: pd.DataFrame, stopped: set[str]) -> Axes:
    """Draw validation accuracy by epoch of every search trial; trials stopped early are gray."""
    rows = epochs.sort_values(["trial", "epoch"])
    names, starts = np.unique(rows["trial"].to_numpy(), return_index=True)
    curves = np.split(rows[["epoch", "val_accuracy"]].to_numpy(), starts[1:])
    many = len(names) > MOST_VECTORS
    for faint, color, width in ((True, GRAY, 0.8), (False, BLUE, 1.1)):
        lines = [curve for name, curve in zip(names, curves, strict=True) if (name in stopped) == faint]
        ax.add_collection(LineCollection(lines, colors=color, linewidths=width, alpha=0.7, rasterized=many))
        dots = np.concatenate([line for line in lines if len(line) == 1] or [np.empty((0, 2))])
        ax.plot(*dots.T, "o", color=color, markersize=3, rasterized=many)
    ax.autoscale()
    ax.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))
    ax.set_xlabel("epoch")
    return ax


_LONGER = 20  # times the shortest trial; if the longest takes more, the time axis is logarithmic


def draw_cost(ax: Axes, trials: pd.DataFrame, front: pd.DataFrame) -> Axes:
    """Draw best validation accuracy by seconds, one dot per search trial, with rings on the Pareto front."""
    ax.step(front["seconds"], front["val_accuracy"], where="post", color=ORANGE, linewidth=1.2)
    ax.plot(front["seconds"], front["val_accuracy"], "o", markersize=7, color=ORANGE, markerfacecolor="none")
    for stopped, color in ((True, GRAY), (False, BLUE)):
        rows = trials[(trials["status"] == "stopped") == stopped]
        many = len(rows) > MOST_VECTORS
        ax.plot(rows["seconds"], rows["val_accuracy"], "o", color=color, alpha=0.75, markersize=4, rasterized=many)
    taken = trials.loc[trials["val_accuracy"].notna(), "seconds"]
    if taken.max() > _LONGER * taken.min() > 0:
        ax.set_xscale("log")
        ax.minorticks_off()
    else:
        ax.set_xlim(left=0)
        ax.xaxis.set_major_locator(MaxNLocator(nbins=5))
    ax.xaxis.set_major_formatter(lambda value, _: duration(value))
    in_percent(ax.yaxis)
    return ax


# From transparent to blue, so the page shows through cells without predictions.
_SHARES = LinearSegmentedColormap.from_list("shares", [(0.18, 0.51, 0.78, 0.0), (0.18, 0.51, 0.78, 1.0)])
MOST_NAMED = 30  # classes; more names are unreadable, so larger matrices only show the pattern
MOST_COUNTED = 12  # classes up to which each cell shows its number
_LETTERS_ACROSS = 24  # total letters of the column names up to which they are written horizontally
MOST_TITLED = 300  # confusions with a tooltip; each adds a line to the page


def draw_confusion(ax: Axes, confusion: pd.DataFrame, names: list[str], blocks: pd.DataFrame | None = None) -> Axes:
    """Draw the share of each true class (row) by predicted class (column), colored by its square root.

    The square root makes a confusion of 1% visible beside a diagonal close to 100%. Each of `blocks` (columns block,
    first, size) gets a frame and its number.
    """
    counts = confusion.to_numpy(float)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    ax.imshow(shares, cmap=_SHARES, norm=PowerNorm(0.5, 0, 1), interpolation="nearest")
    ax.grid(visible=False)
    k = len(names)
    ax.set_xlabel("predicted", fontsize=_small(k))
    ax.set_ylabel("true", fontsize=_small(k))
    ax.set_xticks([])
    ax.set_yticks([])
    for i, j in _titled_cells(counts):  # invisible, but they carry the tooltips
        ax.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, facecolor=BLUE, alpha=0.002, linewidth=0, gid=_cell(i, j)))
    if blocks is not None:
        _frame(ax, blocks)
    if k > MOST_NAMED:
        return ax
    shown = [shortened(name, 16) for name in names]
    across = max(map(len, shown)) * k <= _LETTERS_ACROSS
    ax.set_xticks(range(k), shown, rotation=0 if across else 90, fontsize=_small(k))
    ax.set_yticks(range(k), shown, fontsize=_small(k))
    if k <= MOST_COUNTED:
        for i, j in zip(*np.nonzero(counts), strict=True):
            color = "white" if shares[i, j] > 0.3 else INK
            ax.text(j, i, f"{100 * shares[i, j]:.0f}", ha="center", va="center", color=color, fontsize=8)
    return ax


def _frame(ax: Axes, blocks: pd.DataFrame) -> None:
    """Frame each block, with its number alternately right and left to keep neighboring numbers apart."""
    ordered = blocks.sort_values("first")
    for place, (number_of_block, first, size) in enumerate(ordered[["block", "first", "size"]].to_numpy(int)):
        start, end = first - 0.5, first + size - 0.5
        square = Rectangle((start, start), size, size, facecolor="none", edgecolor=ORANGE, linewidth=0.7)
        ax.add_patch(square)
        x, side, ha = (end, 2, "left") if place % 2 == 0 else (start, -2, "right")
        where = {"xytext": (side, 0), "textcoords": "offset points", "ha": ha, "va": "center"}
        ax.annotate(str(number_of_block), (x, (start + end) / 2), color=ORANGE, fontsize=6.5, **where)


def confusion_titles(confusion: pd.DataFrame, names: list[str]) -> dict[str, str]:
    """Return the tooltips of `draw_confusion` for each class and the most frequent confusions."""
    counts = confusion.to_numpy()
    totals = counts.sum(axis=1)
    titles = {}
    for i, j in _titled_cells(counts):
        n = f"{number(counts[i, j])} of {number(totals[i])} ({percent(counts[i, j] / max(totals[i], 1))})"
        titles[_cell(i, j)] = f"{names[i]}: {n} correct" if i == j else f"{names[i]} predicted as {names[j]}: {n}"
    return titles


def _titled_cells(counts: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return the diagonal and the largest off-diagonal cells, as (row, column)."""
    beside = counts * (1 - np.eye(len(counts)))
    largest = np.argsort(-beside, axis=None, kind="stable")[:MOST_TITLED]
    cells = [divmod(int(cell), len(counts)) for cell in largest if beside.flat[cell] > 0]
    return [(i, i) for i in range(len(counts))] + cells


def _cell(i: int, j: int) -> str:
    return f"cell-{i}-{j}"


def _small(classes: int) -> float:
    return 9.0 if classes <= MOST_COUNTED else 6.5


def draw_reliability(ax: Axes, raw: pd.DataFrame, scaled: pd.DataFrame) -> Axes:
    """Draw accuracy by mean confidence of each bin; a dot's area grows with its number of images."""
    ax.plot([0, 1], [0, 1], color=GRAY, linewidth=1.0, linestyle=":")
    for bins, color, line in ((scaled, ORANGE, "--"), (raw, BLUE, "-")):
        ax.plot(bins["confidence"], bins["right"], line, color=color, linewidth=1.2)
        area = 10 + 110 * bins["pictures"] / max(bins["pictures"].sum(), 1)
        ax.scatter(bins["confidence"], bins["right"], s=area, color=color, alpha=0.85, linewidths=0, zorder=2)
    ax.set_xlim(0, 1.03)
    ax.set_ylim(0, 1.03)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=5))
        in_percent(axis)
    ax.tick_params(axis="x", pad=7)  # keeps the two 0% labels apart
    ax.set_xlabel("confidence")
    return ax
