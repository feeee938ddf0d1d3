"""How large and how slow a model is, where trials.parquet records it."""

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from analysis.layout.text import megabytes, millions, milliseconds

# Columns that trials.parquet may have: what heads them, and how their values are said.
SIZES: Mapping[str, tuple[str, Callable[[Any], str]]] = {
    "parameters": ("parameters", millions),
    "trained_parameters": ("trained parameters", millions),
    "file_bytes": ("model file", megabytes),
    "latency_ms": ("one image takes", milliseconds),
}


def sizes(trials: pd.DataFrame) -> dict[str, float]:
    """The median over trials of one setting: all but the latency are alike."""
    return {
        column: float(pd.to_numeric(trials[column], errors="coerce").median()) for column in SIZES if column in trials
    }


def shown_sizes(frame: pd.DataFrame) -> dict[str, Callable[[Any], str]]:
    """The cells of a table for those columns that `frame` has and whose rows differ."""
    return {
        heading: lambda row, column=column, say=say: say(getattr(row, column))
        for column, (heading, say) in SIZES.items()
        if column in frame and frame[column].nunique() > 1
    }
