"""Ablation: how much test accuracy each choice of the winner adds to the study's starting point.

If the settings between the two were run, the choices are successive steps, and their gains add up. Usually they were
not, because a study confirms the settings around its winner. Then each choice of the winner is reverted alone.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.confirmed.answers import LIKELY
from analysis.confirmed.settings import Setting, groups, on_common_seeds, setting_text, settings, winner
from analysis.findings.published import listed
from analysis.layout import figures
from analysis.layout.page import Cell, Figure, Section, Table, table
from analysis.layout.text import NOTHING, points
from analysis.statistics.inference import MIN_SEEDS, compare
from study.results import Results, level_text

STEP = "step"  # adds one choice to the setting before it
ALONE = "alone"  # reverts one choice of the winner
SUM, TOTAL = "sum", "total"
COLUMNS = ("kind", "factor", "start", "winner", "difference", "low", "high", "seeds", "items", "note")
NOT_RUN = "not measured: no confirmed setting differs from the winner in this factor alone"
Levels = Mapping[str, str]


def start(results: Results) -> tuple[dict[str, str], str]:
    """Return the starting level of every factor, and the name of the starting point.

    The first published configuration that names a level of the study; other factors start at their first listed level.

    Raises:
        ResultsError: a row of `published` in study.json is malformed.
    """
    first = {factor: levels[0] for factor, levels in results.factors.items() if levels}
    for row in listed(results):
        config = row.get("config")
        pairs = config.items() if isinstance(config, Mapping) else ()
        texts = {factor: level_text(value) for factor, value in pairs if isinstance(value, str | int | float)}
        named = {factor: level for factor, level in texts.items() if level in results.factors.get(factor, [])}
        if named:
            return first | named, f"the published configuration {row['name']}"
    return first, "the first listed level of every factor"


def path(results: Results, confirmed: list[Setting]) -> pd.DataFrame:
    """Return one row for each choice of the winner that differs from the start, then their sum and the total.

    `difference` is the accuracy with the choice minus the accuracy without it, `low` and `high` its 95% interval. If
    they are missing, `note` says why. The sum has no interval. Empty without a tested winner, or if it is the start.
    """
    best, begin = winner(confirmed), start(results)[0]
    changed = [] if best is None else [f for f, level in best.levels.items() if level and level != begin.get(f, level)]
    if best is None or not best.tested or not changed:
        return pd.DataFrame(columns=list(COLUMNS))
    ran = [*confirmed, *settings(results, "published")]
    back = {factor: begin[factor] for factor in changed}
    way = [_find(ran, best.levels | {f: back[f] for f in changed[i:]}, changed[i:]) for i in range(len(changed))]
    legs = [_leg(results, a, b) for a, b in zip(way, [*way[1:], best], strict=True)]
    kind = STEP
    if any(leg["note"] for leg in legs):
        without = [_find(confirmed, best.levels | {factor: back[factor]}, [factor]) for factor in changed]
        kind, legs = ALONE, [_leg(results, setting, best) for setting in without]
    rows = [
        {"kind": kind, "factor": factor, "start": back[factor], "winner": best.levels[factor]} | leg
        for factor, leg in zip(changed, legs, strict=True)
    ]
    measured = [leg["difference"] for leg in legs if not leg["note"]]
    rows.append({"kind": SUM, "difference": sum(measured) if measured else np.nan})
    whole = _leg(results, way[0], best)
    if whole["note"] == NOT_RUN:
        whole["note"] = "not measured: no confirmed setting has all of the starting levels"
    rows.append({"kind": TOTAL} | whole)
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"seeds": "Int64", "items": "Int64"})


def _find(ran: list[Setting], wanted: Levels, changed: list[str]) -> Setting | None:
    """Return the setting with these levels, preferably one that stands for a changed level.

    A conditional factor that exists on only one side belongs to the level it depends on and is no difference.
    """
    alike = [s for s in ran if all(len({level, s.levels[factor]} - {""}) <= 1 for factor, level in wanted.items())]
    pairs = {(factor, wanted[factor]) for factor in changed}
    return max(alike, key=lambda setting: len(pairs & setting.stands_for), default=None)


def _leg(results: Results, before: Setting | None, after: Setting | None) -> dict[str, Any]:
    """Return the gain of `after` over `before`, or a note on why it was not measured."""
    nothing = {"difference": np.nan, "low": np.nan, "high": np.nan, "seeds": None, "items": None}
    if before is None or after is None:
        return nothing | {"note": NOT_RUN}
    before, after = on_common_seeds(results, [before, after])
    clusters = groups(results, after.correct.columns)
    if before.seeds != after.seeds or len(set(after.seeds)) < len(after.seeds):
        return nothing | {"note": "not measured: unequal seeds"}
    if len(after.seeds) < MIN_SEEDS:
        return nothing | {"note": f"not measured: fewer than {MIN_SEEDS} seeds"}
    if not (before.tested and after.tested and set(before.correct.columns) == set(after.correct.columns)):
        return nothing | {"note": "not measured: not the same test images"}
    if len(np.unique(clusters)) < 2:
        return nothing | {"note": "not measured: fewer than 2 different test images"}
    right = before.correct[after.correct.columns].to_numpy()
    estimate = compare(after.correct.to_numpy(), right, clusters, after.folds)
    low, high = estimate.interval()
    measured = {"difference": estimate.mean, "low": low, "high": high, "seeds": estimate.seeds, "items": estimate.items}
    return measured | {"note": ""}


_TITLE = "Ablation"


def path_section(results: Results, confirmed: list[Setting]) -> Section | None:
    """Return the section; None without a tested winner, or if the study only looked for the best setting."""
    best = winner(confirmed)
    if best is None or not best.tested or results.study.get("goal") == "best":
        return None
    begin, origin = start(results)
    frame = path(results, confirmed)
    starting = f"Starting point: {origin} ({setting_text(begin)})."
    if frame.empty:
        return Section(_TITLE, [starting, "The winner is the starting point, so there is nothing to ablate."])
    choices = frame[~frame["kind"].isin([SUM, TOTAL])]
    if frame["difference"].isna().all() and set(choices["note"]) == {NOT_RUN}:
        return Section(_TITLE, [starting, "No confirmed setting differs from the winner in one of its choices alone."])
    plots = [_figure(choices)] if choices["low"].notna().any() else []
    if len(choices) == 1:
        return Section(
            _TITLE, [f"{starting} The winner differs in one factor."], figures=plots, tables=[_table(choices)]
        )
    return Section(_TITLE, [starting, _how_they_add_up(frame)], figures=plots, tables=[_table(frame)])


def _how_they_add_up(frame: pd.DataFrame) -> str:
    total, together = (frame[frame["kind"] == kind].iloc[0] for kind in (TOTAL, SUM))
    if (frame["kind"] == STEP).any():
        return f"Each row adds one choice to the rows above it, up to the winner. Together they gain {_points(total)}."
    if pd.isna(together["difference"]):
        return "No single choice of the winner was measured."
    whole = "were not measured" if total["note"] else f"gain {_points(total)}"
    return (
        "Each row reverts one choice of the winner and keeps all others. Effects are not cumulative: they add up "
        f"only where no choice depends on another. Their sum is {points(together['difference'])} points; all choices "
        f"at once {whole}."
    )


def _points(row: Any) -> str:
    return f"{points(row.difference)} points ({LIKELY} {points(row.low)} to {points(row.high)})"


def _table(frame: pd.DataFrame) -> Table:
    named = {SUM: "sum of the rows above", TOTAL: "all at once"}
    shown: dict[str, Cell] = {
        "choice": lambda row: named.get(row.kind) or f"{row.factor}: {row.winner} instead of {row.start or 'none'}",
        "gain in points": lambda row: NOTHING if pd.isna(row.difference) else points(row.difference),
        LIKELY: lambda row: NOTHING if pd.isna(row.low) else f"{points(row.low)} to {points(row.high)}",
        "seeds": "seeds",
    }
    if frame["note"].fillna("").any():
        shown["note"] = lambda row: row.note if isinstance(row.note, str) and row.note else NOTHING
    caption = (
        "Test accuracy with the choice minus without it, on the same seeds and images. Intervals are for new seeds "
        "and new images, without a correction for the number of rows"
    )
    return table("path", caption, frame, shown)


def _figure(choices: pd.DataFrame) -> Figure:
    drawn = choices[["difference", "low", "high"]].rename(columns={"difference": "value"})
    named = [f"{row.factor} {row.winner}" for row in choices.itertuples()]
    drawn = drawn.assign(level=named, winner=choices["low"] > 0)  # filled if its interval excludes zero
    text = figures.svg(0.75 + 0.3 * len(drawn), partial(_draw, dots=drawn))
    values = (
        f"{level} {'not measured' if np.isnan(value) else points(value)}"
        for level, value in zip(named, drawn["value"], strict=True)
    )
    return Figure("path", "", f"Points of test accuracy gained by each choice of the winner: {', '.join(values)}", text)


def _draw(ax: Axes, dots: pd.DataFrame) -> Axes:
    ax.axvline(0, color=figures.GRAY, linewidth=1.0)
    figures.draw_dots(ax, dots, "points gained on test")
    ax.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g}".replace("-", "−"))
    return ax
