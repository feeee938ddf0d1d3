"""The report's section on strengths: validation accuracy along each conditional nuisance, dropout beside L2."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from analysis.confirmed.settings import Setting
from analysis.confirmed.tables import in_company, scores
from analysis.layout import figures
from analysis.layout.page import Figure, Section
from analysis.layout.text import count, number, percent, percent_interval, slug
from analysis.statistics.inference import Interval
from study.results import Results, level_text


@dataclass(frozen=True)
class Strength:
    """One nuisance under the levels of a factor where it exists, and the trials that tried it.

    `trials` has strength, val_accuracy, phase and stopped; refined ones hold all other factors at the winner's levels.
    """

    name: str
    factor: str
    levels: list[str]
    low: float
    high: float
    log: bool
    trials: pd.DataFrame

    @property
    def refined(self) -> pd.DataFrame:
        return self.trials[self.trials["phase"] == "refine"]


def strength_sections(results: Results, found: list[Setting]) -> list[Section]:
    """One for each factor under whose levels a strength exists that was tried at least twice."""
    each = strengths(results)
    factors = dict.fromkeys(one.factor for one in each)
    stems = {(one.factor, one.name): f"strength-{i:02d}-{slug(one.name)}" for i, one in enumerate(each)}
    return [
        _section(results, found, factor, [one for one in each if one.factor == factor], stems) for factor in factors
    ]


def strengths(results: Results) -> list[Strength]:
    """The conditional nuisances of the study, in its order; what its study.json does not describe is left out."""
    declared = results.study.get("nuisances")
    found = []
    for name, each in (declared if isinstance(declared, Mapping) else {}).items():
        when = each.get("when") if isinstance(each, Mapping) else None
        if not isinstance(when, Mapping) or name not in results.trials or not _is_range(each):
            continue
        for factor, named in when.items():
            if factor in results.factors:
                levels = [level_text(one) for one in (named if isinstance(named, list) else [named])]
                trials = _trials(results, name, factor, levels)
                if trials["strength"].nunique() > 1:
                    log = bool(each.get("log")) and each["low"] > 0
                    found.append(Strength(name, factor, levels, each["low"], each["high"], log, trials))
    return found


def _is_range(each: Mapping[str, Any]) -> bool:
    low, high = each.get("low"), each.get("high")
    if not isinstance(low, int | float) or not isinstance(high, int | float):
        return False
    return -math.inf < low < high < math.inf


def _trials(results: Results, name: str, factor: str, levels: list[str]) -> pd.DataFrame:
    trials = results.trials
    refined = in_company(results, trials[trials["phase"] == "refine"], factor)
    tried = pd.concat([trials[trials["phase"] == "search"], refined])
    tried = tried[tried[factor].map(level_text).isin(levels)]
    frame = pd.DataFrame(
        {
            "strength": pd.to_numeric(tried[name], errors="coerce"),
            "val_accuracy": tried["val_accuracy"],
            "phase": tried["phase"],
            "stopped": tried["status"] == "stopped",
        }
    )
    return frame.dropna(subset=["strength", "val_accuracy"])


def without(
    results: Results, found: list[Setting], factor: str, each: list[Strength]
) -> tuple[str, float, Interval] | None:
    """The level that has no strength, as confirmed: its name, validation accuracy and the interval for new seeds."""
    taken = {level for one in each for level in one.levels}
    free = [level for level in results.factors[factor] if level not in taken]
    for setting in found:
        if len(free) == 1 and (factor, free[0]) in setting.stands_for:
            score = scores(results, setting)
            return free[0], score["val_accuracy"], (score["val_low"], score["val_high"])
    return None


def _section(
    results: Results, found: list[Setting], factor: str, each: list[Strength], stems: dict[tuple[str, str], str]
) -> Section:
    plain = without(results, found, factor, each)
    ylim = _limits(each, plain)
    said = [_sentence(one) for one in each]
    if plain is not None:
        said.append(f"{plain[0]}: {percent_interval(plain[1], *plain[2])} (confirmed).")
    pictures = [
        Figure(
            stems[factor, one.name],
            f"{factor} = {', '.join(one.levels)}: validation accuracy by {one.name}",
            _sentence(one),
            figures.svg(2.4, partial(draw_strength, strength=one, without=plain, ylim=ylim)),
        )
        for one in each
    ]
    explained = (
        "Each dot is one trial. Blue: refinement, all other factors at the winner's levels. Gray: search trials, "
        "other factors vary; much worse ones lie below the edge."
    )
    line = f" Line and band: {plain[0]} with its 95% CI over seeds." if plain is not None else ""
    return Section(_title(factor), [explained + line, " ".join(said)], figures=pictures)


def _title(factor: str) -> str:
    return "Regularization strength" if factor == "regularizer" else f"Nuisances of {factor}"


def _sentence(one: Strength) -> str:
    """The best value tried, among the refined ones where there are any."""
    tried = one.refined if len(one.refined) else one.trials
    best = tried.sort_values("val_accuracy", ascending=False, kind="stable").iloc[0]
    kind = "refinement trial" if len(one.refined) else "search trial"
    return (
        f"{one.name}: best at {number(best['strength'])} (range {number(one.low)} to {number(one.high)}), "
        f"{percent(best['val_accuracy'])} validation accuracy, {count(len(tried), kind)}."
    )


def _limits(each: list[Strength], plain: tuple[str, float, Interval] | None) -> tuple[float, float]:
    """The accuracies that all panels show: every refined trial, and the better half of the search."""
    refined = pd.concat([one.refined["val_accuracy"] for one in each])
    searched = pd.concat([one.trials["val_accuracy"] for one in each])
    ends = [*refined, *(searched[searched >= searched.median()]), *((plain[1], *plain[2]) if plain else ())]
    low, high = float(np.nanmin(ends)), float(np.nanmax(ends))
    room = 0.08 * max(high - low, 0.01)
    return low - room, high + room


def draw_strength(
    ax: Axes, strength: Strength, without: tuple[str, float, Interval] | None, ylim: tuple[float, float]
) -> Axes:
    """Validation accuracy of the trials against one strength; the level without any as a line."""
    for phase, colour, size in (("search", figures.GREY, 3.5), ("refine", figures.BLUE, 6)):
        rows = strength.trials[strength.trials["phase"] == phase]
        many = len(rows) > figures.MOST_VECTORS
        ax.plot(rows["strength"], rows["val_accuracy"], "o", color=colour, markersize=size, alpha=0.85, rasterized=many)
    if without is not None:
        ax.axhline(without[1], color=figures.ORANGE, linewidth=1.2)
        ax.axhspan(*without[2], color=figures.ORANGE, alpha=0.16, linewidth=0)
    if strength.log:
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(LogLocator(numticks=6))
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.minorticks_off()
        room = (strength.high / strength.low) ** 0.04
        ax.set_xlim(strength.low / room, strength.high * room)
    else:
        room = 0.04 * (strength.high - strength.low)
        ax.set_xlim(strength.low - room, strength.high + room)
        ax.xaxis.set_major_locator(MaxNLocator(nbins=5))
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:.2g}")
    ax.set_ylim(*ylim)
    ax.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g}%")
    ax.set_xlabel(strength.name)
    return ax
