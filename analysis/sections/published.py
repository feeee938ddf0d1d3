"""The report's section on published numbers, each beside the same configuration measured here."""

from typing import Any

import pandas as pd

from analysis.confirmed.openings import opened_once
from analysis.confirmed.outputs import Outputs
from analysis.confirmed.published import COLUMN, MEASURED, listed, metric_name, published
from analysis.layout.page import Section, Table, table
from analysis.layout.text import NOTHING, count, decimals, number, percent, percent_interval, points
from study.results import Results


def published_section(results: Results, found: Outputs, overlap: str) -> Section | None:
    """Missing in a study without a list of published numbers, or without any place for trials of them."""
    if not listed(results) or COLUMN not in results.trials:
        return None
    frame = published(results, found)
    measured = frame[frame["state"] == MEASURED]
    inside = int(((measured["low"] <= measured["published"]) & (measured["published"] <= measured["high"])).sum())
    no_choice = ", which no choice had seen" if opened_once(results) else ""
    said = [
        f"{len(measured)} of {count(len(frame), 'published number')} were measured again, on the test images of "
        f"this study{no_choice}."
    ]
    if measured.empty:
        said = [
            f"None of the {count(len(frame), 'published number')} that this study is to be seen beside was measured "
            "here: a study run with --published does that."
        ]
    else:
        said.append(
            f"{inside or 'None'} of them {'lies' if inside == 1 else 'lie'} inside the 95\u00a0% interval of the "
            "measured one. A difference may come from any of what is listed as differing."
        )
    return Section("Published and measured", said, tables=[_table(frame, overlap)])


def _table(frame: pd.DataFrame, overlap: str) -> Table:
    shown = {
        "configuration": lambda row: row.name,
        "metric": lambda row: str(row.metric).replace("_", " "),
        "published": lambda row: _interval(row.metric, row.published, row.published_low, row.published_high),
        "on": lambda row: (row.fold or NOTHING) + (f", n\u00a0=\u00a0{number(row.n)}" if pd.notna(row.n) else ""),
        "measured on test": lambda row: _interval(row.metric, row.measured, row.low, row.high),
        "seeds": lambda row: number(row.seeds) if row.state == MEASURED else row.state,
        "difference": lambda row: _difference(row.metric, row.difference),
        "what differs": lambda row: row.differs or NOTHING,
    }
    caption = (
        "Published beside measured; in brackets 95 % intervals. Measured: the mean over seeds, of one or two seeds "
        "the interval is for these very models on new images. Difference: measured minus published, accuracies in "
        f"points.{overlap}"
    )
    return table("published", caption, frame, shown)


def _is_share(metric: Any) -> bool:
    return metric_name(metric) not in ("log_loss", "auroc")


def _interval(metric: Any, mean: Any, low: Any, high: Any) -> str:
    if _is_share(metric):
        return percent_interval(mean, low, high) if pd.notna(low) else percent(mean)
    return f"{decimals(mean)} ({decimals(low)} to {decimals(high)})" if pd.notna(low) else decimals(mean)


def _difference(metric: Any, difference: Any) -> str:
    if pd.isna(difference):
        return NOTHING
    return points(difference) if _is_share(metric) else decimals(difference)
