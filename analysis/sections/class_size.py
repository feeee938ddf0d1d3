"""The report's section on large and small classes: does a class do better for having more training images?"""

import math
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from scipy import stats

from analysis.confirmed.images import class_names
from analysis.confirmed.settings import Setting, winner
from analysis.findings.confusion import classes, confusion
from analysis.layout import figures
from analysis.layout.page import Picture, Section
from analysis.layout.text import count, number, percent, points
from analysis.statistics.inference import Interval, wilson
from study.results import Results

_LEAST_CLASSES = 5  # for a correlation to say anything


def class_size_section(results: Results, found: list[Setting]) -> Section | None:
    best = winner(found)
    if best is None or not best.tested:
        return None
    frame = class_sizes(results, best)
    if len(frame) < _LEAST_CLASSES:
        return None
    said = size_sentence(frame)
    if frame["pictures"].nunique() == 1:
        return Section("Large and small classes", [said])
    text = figures.svg(2.7, partial(draw_class_sizes, frame=frame))
    title = "Share of each class named rightly on test, by its training images"
    return Section(
        "Large and small classes",
        [said],
        pictures=[Picture("class-sizes", title, f"{title}; {len(frame)} classes", text)],
    )


def class_sizes(results: Results, setting: Setting) -> pd.DataFrame:
    """A row for each class with test images, smallest first: label, images, recall, low, high, support.

    `pictures` it trained on in the search's partition; the interval is Wilson's, a test image counting once however
    many seeds saw it.
    """
    each = classes(confusion(results, setting), class_names(results), len(setting.seeds))
    each = each[each["support"] > 0].assign(pictures=lambda f: f["label"].map(_training_pictures(results, setting)))
    each = each.dropna(subset=["pictures"])
    ends = [wilson(row.recall * row.support, row.support) for row in each.itertuples()]
    each = each.assign(low=[low for low, _ in ends], high=[high for _, high in ends])
    columns = ["label", "pictures", "recall", "low", "high", "support"]
    return each[columns].sort_values(["pictures", "label"], kind="stable").reset_index(drop=True)


def _training_pictures(results: Results, setting: Setting) -> pd.Series:
    """Class name -> images that the setting's split leaves for training, times its share of them."""
    manifest = results.manifest[results.manifest["keep"].eq(True)]
    split = f"split_{setting.levels.get('split', '')}"
    mine = manifest[manifest[split] == "train"] if split in manifest else manifest[manifest["fold"] == "pool"]
    share = setting.trials["train_fraction"] if "train_fraction" in setting.trials else pd.Series([1.0])
    return (mine.groupby("label_name").size() * pd.to_numeric(share, errors="coerce").iloc[0]).round()


def rank_correlation(frame: pd.DataFrame) -> tuple[float, Interval]:
    """Spearman's correlation of training images and recall over classes, with its 95 % interval.

    By Fisher's z with the variance of Bonett and Wright (Psychometrika 65:23, 2000). Missing where one of both is
    the same for all classes.
    """
    if frame["pictures"].nunique() < 2 or frame["recall"].nunique() < 2:
        return math.nan, (math.nan, math.nan)
    r = float(stats.spearmanr(frame["pictures"], frame["recall"]).statistic)
    if abs(r) > 1 - 1e-9:
        return r, (r, r)
    half = float(stats.norm.ppf(0.975)) * math.sqrt((1 + r**2 / 2) / (len(frame) - 3))
    return r, (math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half))


def size_sentence(frame: pd.DataFrame) -> str:
    """Whether larger classes did better, in words."""
    least, most = frame["pictures"].iloc[0], frame["pictures"].iloc[-1]
    if least == most:
        return f"All {len(frame)} classes have {count(int(least), 'training image')}: none is better for having more."
    sizes = f"The {len(frame)} classes have {number(least)} to {number(most)} training images. "
    r, (low, high) = rank_correlation(frame)
    if math.isnan(r):
        return f"{sizes}All do equally well: {percent(frame['recall'].iloc[0])} are named rightly."
    thirds = np.array_split(frame["recall"].to_numpy(), 3)
    said = (
        "nothing clear" if low <= 0 <= high else "that larger classes do better" if r > 0 else "that smaller do better"
    )
    return (
        f"{sizes}Over classes, the rank correlation of training images and share named rightly is {_signed(r)} "
        f"(95 % interval {_signed(low)} to {_signed(high)}), which shows {said}. Of the smaller third of the classes "
        f"{percent(thirds[0].mean())} are named rightly, of the larger {percent(thirds[-1].mean())}, a difference "
        f"of {points(thirds[-1].mean() - thirds[0].mean())} points."
    )


def _signed(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def draw_class_sizes(ax: Axes, frame: pd.DataFrame) -> Axes:
    """A dot a class with Wilson's interval, the fainter the more classes there are."""
    faint = min(1.0, 30 / len(frame))
    n = frame["pictures"].to_numpy(float)
    log = n.max() > 10 * n.min() > 0
    n = np.exp(_apart(np.log(n))) if log else _apart(n)
    ax.vlines(n, frame["low"], frame["high"], color=figures.GREY, linewidth=1.0, alpha=max(0.15, 0.7 * faint))
    ax.plot(n, frame["recall"], "o", color=figures.BLUE, markersize=4, alpha=max(0.5, faint))
    ax.set_ylim(max(frame["low"].min(), 0.0) - 0.03, 1.03)
    if log:
        ax.set_xscale("log")
        ax.minorticks_off()
    else:
        ax.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    ax.xaxis.set_major_formatter(lambda value, _: number(value))
    ax.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g} %")
    ax.set_xlabel("training images of the class")
    return ax


def _apart(n: np.ndarray) -> np.ndarray:
    """Classes of one size a little beside each other, at most a hundredth of the axis."""
    order = pd.Series(n).groupby(n).cumcount().to_numpy()
    alike = pd.Series(n).map(pd.Series(n).value_counts()).to_numpy()
    return n + (order / np.maximum(alike - 1, 1) - 0.5) * (alike > 1) * 0.02 * (n.max() - n.min())
