"""Regularization strength: validation accuracy by each conditional nuisance, such as the dropout rate."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from analysis.confirmed.settings import Setting, standing_for
from analysis.confirmed.tables import in_company, scores
from analysis.declared import Nuisance, nuisances
from analysis.layout import figures
from analysis.layout.page import Figure, Section
from analysis.layout.text import number, percent, percent_interval, slug
from analysis.statistics.inference import Interval
from study.results import Results, level_text
from study.writing import count

Unregularized = tuple[str, float, Interval]  # level, validation accuracy, its 95% CI for new seeds


@dataclass(frozen=True)
class Strength:
    """A nuisance, the levels of a factor under which it exists, and the trials that varied it.

    `trials` has strength, val_accuracy and phase; refinement trials hold all other factors fixed (see `in_company`).
    """

    nuisance: Nuisance
    factor: str
    levels: list[str]
    trials: pd.DataFrame

    @property
    def refined(self) -> pd.DataFrame:
        return self.trials[self.trials["phase"] == "refine"]


def strength_sections(results: Results, confirmed: list[Setting]) -> list[Section]:
    """Return a section for each factor with a strength that was tried at two values or more."""
    by_factor: dict[str, dict[str, Strength]] = {}
    for i, strength in enumerate(strengths(results, confirmed)):
        stem = f"strength-{i:02d}-{slug(strength.nuisance.name)}"
        by_factor.setdefault(strength.factor, {})[stem] = strength
    return [_section(results, confirmed, factor, by_stem) for factor, by_stem in by_factor.items()]


def strengths(results: Results, confirmed: list[Setting]) -> list[Strength]:
    """Return the conditional nuisances in the order of study.json; undeclared ones are left out."""
    tried = []
    for nuisance in nuisances(results):
        if nuisance.name not in results.trials or not nuisance.low < nuisance.high:
            continue
        for factor, levels in (nuisance.when or {}).items():
            if factor in results.factors:
                trials = _trials(results, confirmed, nuisance.name, factor, levels)
                if trials["strength"].nunique() > 1:
                    tried.append(Strength(nuisance, factor, levels, trials))
    return tried


def _trials(results: Results, confirmed: list[Setting], name: str, factor: str, levels: list[str]) -> pd.DataFrame:
    trials = results.trials
    refined = in_company(results, confirmed, trials[trials["phase"] == "refine"], factor)
    tried = pd.concat([trials[trials["phase"] == "search"], refined])
    tried = tried[tried[factor].map(level_text).isin(levels)]
    frame = tried[["val_accuracy", "phase"]].assign(strength=pd.to_numeric(tried[name], errors="coerce"))
    return frame.dropna(subset=["strength", "val_accuracy"])


def without(results: Results, confirmed: list[Setting], factor: str, varied: list[Strength]) -> Unregularized | None:
    """Return the only level without a strength, as confirmed; None if there are several or none."""
    taken = {level for strength in varied for level in strength.levels}
    free = [level for level in results.factors[factor] if level not in taken]
    setting = standing_for(confirmed, factor, free[0]) if len(free) == 1 else None
    if setting is None:
        return None
    score = scores(results, setting)
    return free[0], score["val_accuracy"], (score["val_low"], score["val_high"])


def _section(results: Results, confirmed: list[Setting], factor: str, by_stem: dict[str, Strength]) -> Section:
    plain = without(results, confirmed, factor, list(by_stem.values()))
    ylim = _limits(list(by_stem.values()), plain)
    sentences = [_sentence(strength) for strength in by_stem.values()]
    explained = (
        "Each dot is one trial. Blue: refinement, all other factors held fixed. Gray: search trials, "
        "other factors vary; much worse trials are below the visible range."
    )
    if plain is not None:
        sentences.append(f"{plain[0]}: {percent_interval(plain[1], *plain[2])} (confirmed).")
        explained += f" Line and band: {plain[0]} with its 95% CI over seeds."
    plots = [
        Figure(
            stem,
            f"{factor} = {', '.join(strength.levels)}: validation accuracy by {strength.nuisance.name}",
            _sentence(strength),
            figures.svg(2.4, partial(draw_strength, strength=strength, without=plain, ylim=ylim)),
        )
        for stem, strength in by_stem.items()
    ]
    title = "Regularization strength" if factor == "regularizer" else f"Nuisances of {factor}"
    return Section(title, [explained, " ".join(sentences)], figures=plots)


def _sentence(strength: Strength) -> str:
    """Return the best value tried, in refinement if there was any, as a sentence."""
    nuisance, was_refined = strength.nuisance, len(strength.refined) > 0
    tried = strength.refined if was_refined else strength.trials
    best = tried.sort_values("val_accuracy", ascending=False, kind="stable").iloc[0]
    trials = count(len(tried), "refinement trial" if was_refined else "search trial")
    return (
        f"{nuisance.name}: best at {number(best['strength'])} (range {number(nuisance.low)} to "
        f"{number(nuisance.high)}), {percent(best['val_accuracy'])} validation accuracy, {trials}."
    )


def _limits(regularized: list[Strength], plain: Unregularized | None) -> tuple[float, float]:
    """Return limits for all panels that show every refinement trial and the better half of the search."""
    refined = pd.concat([strength.refined["val_accuracy"] for strength in regularized])
    searched = pd.concat([strength.trials["val_accuracy"] for strength in regularized])
    ends = [*refined, *(searched[searched >= searched.median()]), *((plain[1], *plain[2]) if plain else ())]
    low, high = float(np.nanmin(ends)), float(np.nanmax(ends))
    room = 0.08 * max(high - low, 0.01)
    return low - room, high + room


def draw_strength(ax: Axes, strength: Strength, without: Unregularized | None, ylim: tuple[float, float]) -> Axes:
    """Draw validation accuracy by one strength, with the level without a strength as a line."""
    for phase, color, size in (("search", figures.GRAY, 3.5), ("refine", figures.BLUE, 6)):
        rows = strength.trials[strength.trials["phase"] == phase]
        many = len(rows) > figures.MOST_VECTORS
        ax.plot(rows["strength"], rows["val_accuracy"], "o", color=color, markersize=size, alpha=0.85, rasterized=many)
    if without is not None:
        ax.axhline(without[1], color=figures.ORANGE, linewidth=1.2)
        ax.axhspan(*without[2], color=figures.ORANGE, alpha=0.16, linewidth=0)
    low, high = strength.nuisance.low, strength.nuisance.high
    if strength.nuisance.log and low > 0:
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(LogLocator(numticks=6))
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.minorticks_off()
        room = (high / low) ** 0.04
        ax.set_xlim(low / room, high * room)
    else:
        room = 0.04 * (high - low)
        ax.set_xlim(low - room, high + room)
        ax.xaxis.set_major_locator(MaxNLocator(nbins=5))
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:.2g}")
    ax.set_ylim(*ylim)
    figures.in_percent(ax.yaxis)
    ax.set_xlabel(strength.nuisance.name)
    return ax
