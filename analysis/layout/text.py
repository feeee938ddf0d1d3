"""Numbers and names as text. Names come from folders and files, so they may contain any character."""

import json
import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

NOTHING = "–"
_BIDI = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")  # they can reverse the displayed text


def plain(value: Any) -> str:
    """Return one line without control characters, lone surrogates and direction overrides."""
    kinds = {"Cc": " ", "Cs": ""}
    return "".join(kinds.get(unicodedata.category(c), c) for c in _BIDI.sub("", str(value)))


def shortened(value: Any, most: int = 24) -> str:
    text = plain(value)
    return text if len(text) <= most else text[: most - 1] + "…"


def number(value: Any) -> str:
    """Format a count, with thousands separators, or a measurement, to three digits."""
    if _missing(value):
        return NOTHING
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:.3g}"


def percent(value: Any) -> str:
    return NOTHING if _missing(value) else f"{100 * value:.1f}%"


def percent_interval(mean: Any, low: Any, high: Any) -> str:
    """Format an accuracy and its interval, such as "91.3% (89.9 to 92.7)"; the header or caption names the interval."""
    if _missing(mean) or _missing(low):
        return percent(mean)
    return f"{100 * mean:.1f}% ({100 * low:.1f} to {100 * high:.1f})"


def points(value: Any) -> str:
    """Format a difference of accuracies in percentage points, with a true minus sign."""
    return f"{abs(100 * value):.1f}" if value >= 0 else f"−{abs(100 * value):.1f}"


def decimals(value: Any) -> str:
    """Format a cross-entropy, a temperature or an area: three decimals, with a true minus sign."""
    return NOTHING if _missing(value) else f"{value:.3f}".replace("-", "−")


def millions(value: Any) -> str:
    """Format a number of parameters: 4.0M, 12.3k."""
    if _missing(value) or value < 1000:
        return number(value)
    return f"{value / 1e6:.1f}M" if value >= 1e6 else f"{value / 1e3:.1f}k"


def megabytes(value: Any) -> str:
    return NOTHING if _missing(value) else f"{value / 1e6:.3g} MB"


def milliseconds(value: Any) -> str:
    return NOTHING if _missing(value) else f"{value:.3g} ms"


def duration(seconds: Any) -> str:
    if _missing(seconds):
        return NOTHING
    if seconds < 100:
        return f"{seconds:.3g} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


# The number format of each column, in every table that shows it; other columns are counts.
_COLUMNS: Mapping[Callable[[Any], str], str] = {
    percent: (
        "accuracy train_accuracy val_accuracy last_val_accuracy test_accuracy probe_accuracy balanced_accuracy "
        "search_best search_median refine_best macro_precision macro_f1 top5 precision recall f1 right share chance "
        "recall_at_1 recall_at_2 recall_at_4 recall_at_8 probability importance ece ece_scaled"
    ),
    decimals: "auroc log_loss log_loss_scaled train_cross_entropy val_cross_entropy temperature map_at_r r_precision",
    duration: "seconds trial_seconds compute_seconds fit_seconds predict_seconds",
    millions: "parameters trained_parameters",
    megabytes: "file_bytes",
    milliseconds: "latency_ms",
}
_FORMATS = {column: write for write, columns in _COLUMNS.items() for column in columns.split()}


def cell_text(column: str, value: Any) -> str:
    """Format a value of a table's column: text as is, numbers in the format of the column."""
    return value if isinstance(value, str) else _FORMATS.get(column, number)(value)


def value_text(value: Any) -> str:
    """Format any value of study.json in one line."""
    if value is None:
        return "none"
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key} {value_text(inner)}" for key, inner in value.items()) or NOTHING
    if isinstance(value, float) and not math.isfinite(value):
        return NOTHING
    if isinstance(value, list):
        return ", ".join(map(value_text, value)) or NOTHING
    return json.dumps(value)


def slug(name: str) -> str:
    """Return a name in a form that is safe in file names."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "unnamed"


def _missing(value: Any) -> bool:
    return value is None or bool(pd.isna(value)) or math.isinf(value)
