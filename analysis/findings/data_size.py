"""Data-size curve: accuracy by number of training images, extrapolated by a power law if it holds."""

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from analysis.confirmed.answers import margin
from analysis.confirmed.settings import Setting, groups, on_common_seeds, standing_for, test_folds
from analysis.confirmed.tables import scores
from analysis.layout import figures
from analysis.layout.page import Figure, Section, table
from analysis.layout.text import number, percent, percent_interval, points
from analysis.statistics.inference import MIN_SEEDS, Interval
from analysis.statistics.power_law import MIN_SIZES, REACH, Check, check, fit, has_floor, predict, within_reach
from study.results import Results

FACTORS = ("train_fraction", "split")  # they change how many images a model trains on
_PICTURES = "train_pictures"  # a column that trials.parquet may have
_DRAWN = 25  # points of the curve
_FLAT = 0.995  # share of the error left by a doubling of the images; above it, the error counts as constant


def data_size_sections(results: Results, confirmed: list[Setting], overlap: str) -> list[Section]:
    """Return a section for each factor that changes the training size and has at least two confirmed levels."""
    sections = [_section(results, confirmed, factor, overlap) for factor in FACTORS if factor in results.factors]
    return [section for section in sections if section is not None]


def sizes(results: Results, confirmed: list[Setting], factor: str) -> pd.DataFrame:
    """Return the confirmed levels by number of training images (mean over seeds).

    `accuracy`, with its interval `low`, `high`, is on test, or on validation before the test; `on` says which.
    """
    rows = []
    standing = {level: standing_for(confirmed, factor, level) for level in results.factors[factor]}
    found = {level: setting for level, setting in standing.items() if setting is not None}
    paired = on_common_seeds(results, list(found.values())) if found else []
    for level, setting in zip(found, paired, strict=True):
        on = "test" if setting.tested else "val"
        score = scores(results, setting)
        accuracy, low, high = score[f"{on}_accuracy"], score[f"{on}_low"], score[f"{on}_high"]
        pictures = _pictures(results, setting, factor, level)
        rows.append((level, pictures, len(setting.seeds), accuracy, low, high, on, setting))
    columns = ["level", "pictures", "seeds", "accuracy", "low", "high", "on", "setting"]
    frame = pd.DataFrame(rows, columns=columns).dropna(subset=["pictures", "accuracy"])
    return frame.sort_values("pictures", kind="stable").reset_index(drop=True)


def _pictures(results: Results, setting: Setting, factor: str, level: str) -> float:
    """Return the training images of a setting; if its trials do not record them, those of the search's partition."""
    if _PICTURES in setting.trials:
        return float(pd.to_numeric(setting.trials[_PICTURES], errors="coerce").mean())
    manifest, column = results.manifest, f"split_{level}"
    if factor == "split":
        return float((manifest[column] == "train").sum()) if column in manifest else np.nan
    return float((manifest["fold"] == "pool").sum() * pd.to_numeric(pd.Series([level]), errors="coerce").iloc[0])


def refusal(results: Results, measured: pd.DataFrame, factor: str) -> str:
    """Return why no law can be fitted to the sizes; empty if it can."""
    if (measured["on"] != "test").any():
        return "the test fold has not been opened yet"
    if test_folds(results):
        return "its interval is defined for a single test fold, and this study tests on all images in turn"
    n, distinct = measured["pictures"].to_numpy(), measured["pictures"].nunique()
    if distinct < MIN_SIZES or distinct < len(n):
        return f"it takes at least {MIN_SIZES} different sizes, and this study has {distinct}"
    if measured["seeds"].min() < MIN_SEEDS:
        return f"it takes at least {MIN_SEEDS} seeds for each size, and one has {measured['seeds'].min()}"
    if not within_reach(n[-1], n[-2]):
        return (
            f"the largest size is more than {REACH:g} times the next ({number(round(n[-1]))} and "
            f"{number(round(n[-2]))}), so that the smaller ones cannot predict it"
        )
    first, *others = measured["setting"]
    for other in others:
        if other.seeds != first.seeds or list(other.correct.columns) != list(first.correct.columns):
            return "the sizes do not have the same seeds and test images"
        if any(other.levels[name] != level for name, level in first.levels.items() if name != factor):
            return "the sizes also differ in other factors"
    if len(np.unique(groups(results, first.correct.columns))) < 2:
        return "there is only one test image"
    if measured["accuracy"].max() >= 1:
        return "a power law cannot fit a size without errors"
    return ""


def _section(results: Results, confirmed: list[Setting], factor: str, overlap: str) -> Section | None:
    measured = sizes(results, confirmed, factor)
    if measured["pictures"].nunique() < 2:
        return None
    on = "test" if (measured["on"] == "test").all() else "validation"
    why = refusal(results, measured, factor)
    sentences, curve, checked = [f"No extrapolation: {why}."], None, None
    if not why:
        wrong = 1 - np.stack([setting.correct.to_numpy() for setting in measured["setting"]])
        among = groups(results, measured["setting"].iloc[0].correct.columns)
        n = measured["pictures"].to_numpy()
        checked = check(n, wrong, among)
        sentences = [check_sentence(checked, measured, margin(results))]
        if checked.holds(margin(results)):
            curve = _curve(n, wrong, among)
            sentences.append(beyond_sentence(n, wrong, curve))
    text = figures.svg(2.9, partial(draw_sizes, measured=measured, curve=curve, checked=checked))
    title = f"Accuracy on {on} by training images"
    legend = "" if curve is None else " (line: power law; diamond: predicted by the smaller sizes)"
    alt = f"{title}: " + ", ".join(
        f"{percent(accuracy)} with {number(round(images))}"
        for accuracy, images in zip(measured["accuracy"], measured["pictures"], strict=True)
    )
    return Section(
        f"Data-size curve: {factor}",
        [
            f"Levels of {factor}, all other factors held fixed. Each smaller training set is a subset of "
            "the larger ones, all take the same number of optimizer steps, and all are evaluated on the same images.",
            " ".join(sentences),
        ],
        figures=[Figure(f"pictures-{factor.replace('_', '-')}", title + legend, alt, text)],
        tables=[_table(measured, factor, on, overlap)],
    )


def check_sentence(checked: Check, measured: pd.DataFrame, allowed: float) -> str:
    """Return whether the smaller sizes predict the largest, as a sentence."""
    last = measured.iloc[-1]
    verdict = "is too large: the law does not hold here, so nothing is extrapolated."
    if checked.holds(allowed):
        verdict = "is consistent with the law."
    return (
        f"A power law fitted to the {len(measured) - 1} smaller sizes predicts {percent(1 - checked.predicted)} for "
        f"{number(round(last['pictures']))} images; measured: "
        f"{percent_interval(last['accuracy'], last['low'], last['high'])}. The difference of {points(-checked.miss)} "
        f"points (95% CI {points(-checked.high)} to {points(-checked.low)}) {verdict}"
    )


def beyond_sentence(n: NDArray, wrong: NDArray, curve: pd.DataFrame) -> str:
    """Return the accuracy to expect from twice as many images, as a sentence."""
    law, last = fit(n, wrong.mean(axis=(1, 2)), has_floor(len(n))), curve.iloc[-1]
    left = 2**-law.b
    above = f" above an irreducible {percent(law.c)}" if law.c > 0.0005 else ""
    falls = f"every doubling leaves {percent(left)} of the error{above}" if left < _FLAT else "the error does not fall"
    most, accuracy = number(round(last["pictures"])), percent_interval(last["accuracy"], last["low"], last["high"])
    return (
        f"Fitted to all {len(n)} sizes, {falls}: twice as many images ({most}) would give an accuracy of about "
        f"{accuracy}. The fit is not extrapolated further."
    )


def _curve(n: NDArray, wrong: NDArray, among: NDArray) -> pd.DataFrame:
    """Return the law fitted to all sizes, from the smallest to twice the largest."""
    at = np.unique(np.append(np.linspace(n[0], REACH * n[-1], _DRAWN), n[-1]))
    predicted: list[tuple[float, Interval]] = predict(n, wrong, among, at)
    rows = [(x, 1 - error, 1 - high, 1 - low) for x, (error, (low, high)) in zip(at, predicted, strict=True)]
    return pd.DataFrame(rows, columns=["pictures", "accuracy", "low", "high"])


def draw_sizes(ax: Axes, measured: pd.DataFrame, curve: pd.DataFrame | None, checked: Check | None) -> Axes:
    """Draw measured accuracies with their intervals, and the law with its own, dashed beyond the largest size."""
    n = measured["pictures"]
    if curve is not None:
        for part, line in ((curve[curve["pictures"] <= n.max()], "-"), (curve[curve["pictures"] >= n.max()], "--")):
            ax.plot(part["pictures"], part["accuracy"], line, color=figures.ORANGE, linewidth=1.4)
        ax.fill_between(curve["pictures"], curve["low"], curve["high"], color=figures.ORANGE, alpha=0.16, linewidth=0)
    else:
        ax.plot(n, measured["accuracy"], color=figures.GRAY, linewidth=1.0)
    ax.vlines(n, measured["low"], measured["high"], color=figures.BLUE, linewidth=2.2)
    ax.plot(n, measured["accuracy"], "o", color=figures.BLUE, markersize=6)
    if checked is not None:
        predicted = 1 - checked.predicted
        ax.plot(n.max(), predicted, "D", markersize=5, color=figures.ORANGE, markerfacecolor=figures.PAPER)
    ax.set_xlim(left=0)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=5))
    ax.xaxis.set_major_formatter(lambda value, _: number(value))
    figures.in_percent(ax.yaxis)
    ax.set_xlabel("training images")
    return ax


def _table(measured: pd.DataFrame, factor: str, on: str, overlap: str):
    shown = {
        factor: "level",
        "training images": lambda row: number(round(row.pictures)),
        "seeds": "seeds",
        "accuracy (95% CI)": lambda row: percent_interval(row.accuracy, row.low, row.high),
    }
    caption = f"Accuracy on {on} by number of training images (mean over seeds).{overlap if on == 'test' else ''}"
    return table(f"pictures-{factor.replace('_', '-')}", caption, measured.drop(columns="setting"), shown)
