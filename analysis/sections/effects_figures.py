"""Figures of the search: what tuning would have found, and every trial's path through the hyperparameters."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import MaxNLocator

from analysis.layout.figures import BLUE, GREY, INK, MOST_VECTORS, ORANGE, PAPER
from analysis.layout.text import shortened
from analysis.search.parallel import Paths

# After the two of the report three more of Okabe and Ito's, told apart by every kind of color vision.
_LINES = (BLUE, ORANGE, "#009e73", "#cc79a7", GREY)
_STYLES = ("-", "--", ":")
_WORST_TO_BEST = LinearSegmentedColormap.from_list("accuracy", [GREY, BLUE, ORANGE])


def draw_expected_best(ax: Axes, budgets: pd.DataFrame) -> Axes:
    """Expected best validation accuracy by number of nuisance points, one line a level."""
    for number, (level, one) in enumerate(budgets.groupby("level", sort=False)):
        style, colour = _STYLES[number // len(_LINES) % len(_STYLES)], _LINES[number % len(_LINES)]
        ax.plot(
            one["points"], one["expected_best"], style, color=colour, linewidth=1.6, label=shortened(level or "–", 18)
        )
    ax.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    ax.yaxis.set_major_locator(MaxNLocator(nbins=5))
    ax.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g}%")
    ax.set_xlabel("nuisance points tried")
    ax.legend(fontsize=8, loc="best", handlelength=1.6, borderaxespad=0.2)
    return ax


def draw_paths(ax: Axes, paths: Paths) -> Axes:
    """One line under the other for each hyperparameter, the accuracy last.

    Colored and made to stand out by the order of their accuracy: faint gray the worst trials, orange the best.
    """
    rows = np.arange(len(paths.axes))[::-1]
    across = np.stack([axis.positions for axis in paths.axes], axis=1)
    place = np.linspace(0, 1, len(across))  # paths come in the order of their accuracy
    lines = LineCollection([np.column_stack([one, rows]) for one in across], array=place, cmap=_WORST_TO_BEST)
    lines.set(linewidths=0.7 + 0.7 * place**4, alpha=0.15 + 0.75 * place**3, rasterized=len(across) > MOST_VECTORS)
    ax.add_collection(lines)
    for row, axis in zip(rows, paths.axes, strict=True):
        ax.plot([0, 1], [row, row], color=INK, linewidth=0.8)
        room = max(3, 44 // max(len(axis.marks), 1))
        for position, label in axis.marks:
            ax.text(position, row - 0.09, shortened(label, room), ha="center", va="top", fontsize=7, bbox=_ground())
        ax.text(
            0, row + 0.1, shortened(axis.name, 40), ha="left", va="bottom", fontsize=8, weight="bold", bbox=_ground()
        )
    ax.set_xlim(-0.1, 1.06)
    ax.set_ylim(-0.45, len(rows) - 0.55)
    ax.axis("off")
    return ax


def _ground() -> dict[str, object]:
    """What stands behind a label, so that it can be read over the lines; the page gives it its own color."""
    return {"facecolor": PAPER, "edgecolor": "none", "pad": 0.6, "alpha": 0.8}
