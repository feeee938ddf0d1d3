"""The report's section on the way from where the study set out to its winner."""

from functools import partial
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from analysis.confirmed.path import STEP, SUM, TOTAL, path, start
from analysis.confirmed.settings import Setting, winner
from analysis.layout import figures
from analysis.layout.page import Figure, Section, Table, table
from analysis.layout.text import NOTHING, number, points
from analysis.sections.sentences import LIKELY, setting_text
from study.results import Results

_TITLE = "What each choice is worth"


def path_section(results: Results, found: list[Setting]) -> Section | None:
    """Missing without a winner on test, and where the search looked for the best setting alone."""
    best = winner(found)
    if best is None or not best.tested or results.study.get("goal") == "best":
        return None
    begin, said = start(results)
    frame = path(results, found)
    out = f"The study set out from {said}: {setting_text(begin)}."
    if frame.empty:
        return Section(_TITLE, [out, "The winner is that setting: no choice was changed."])
    each = frame[~frame["kind"].isin([SUM, TOTAL])]
    pictures = [_picture(each)] if each["low"].notna().any() else []
    if len(each) == 1:
        return Section(_TITLE, [f"{out} The winner differs in one choice."], figures=pictures, tables=[_table(each)])
    return Section(_TITLE, [out, _how_they_add_up(frame)], figures=pictures, tables=[_table(frame)])


def _how_they_add_up(frame: pd.DataFrame) -> str:
    total, together = (frame[frame["kind"] == kind].iloc[0] for kind in (TOTAL, SUM))
    if (frame["kind"] == STEP).any():
        return f"Each line adds one choice to those above it, up to the winner: together {_points(total)}."
    if pd.isna(together["difference"]):
        return "What the winner gains by any one of its choices was not measured."
    whole = "was not measured" if total["note"] else f"is {_points(total)}"
    return (
        "Each line takes one choice of the winner back and leaves the others: what the winner gains by it, in its own "
        "company. These are no steps of one way, and they add up only where no choice depends on another: their sum is "
        f"{points(together['difference'])} points; the whole way from the start, all choices at once, {whole}."
    )


def _points(row: Any) -> str:
    return f"{points(row.difference)} points ({LIKELY} {points(row.low)} to {points(row.high)})"


def _table(frame: pd.DataFrame) -> Table:
    named = {SUM: "sum of the lines above", TOTAL: "all at once"}
    shown = {
        "choice": lambda row: named.get(row.kind) or f"{row.factor}: {row.winner} instead of {row.start or 'none'}",
        "gain in points": lambda row: NOTHING if pd.isna(row.difference) else points(row.difference),
        "95 % interval": lambda row: NOTHING if pd.isna(row.low) else f"{points(row.low)} to {points(row.high)}",
        "seeds": lambda row: number(row.seeds),
    }
    if frame["note"].fillna("").any():
        shown["note"] = lambda row: row.note if isinstance(row.note, str) and row.note else NOTHING
    caption = (
        "Accuracy on test with the choice minus that without it, same seeds and images. Each interval is for new "
        "seeds and new images and stands by itself, without a correction for the number of lines"
    )
    return table("path", caption, frame, shown)


def _picture(each: pd.DataFrame) -> Figure:
    drawn = each[["difference", "low", "high"]].rename(columns={"difference": "value"})
    named = [f"{row.factor} {row.winner}" for row in each.itertuples()]
    drawn = drawn.assign(level=named, winner=each["low"] > 0)  # filled: by itself, it leaves out zero
    text = figures.svg(0.75 + 0.3 * len(drawn), partial(_draw, dots=drawn))
    values = (
        f"{row.level} {'not measured' if pd.isna(row.value) else points(row.value)}" for row in drawn.itertuples()
    )
    return Figure("path", "", f"Points of accuracy that each choice of the winner gains: {', '.join(values)}", text)


def _draw(ax: Axes, dots: pd.DataFrame) -> Axes:
    ax.axvline(0, color=figures.GREY, linewidth=1.0)
    figures.draw_dots(ax, dots, "points gained on test")
    ax.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g}".replace("-", "−"))
    return ax
