"""k-nearest-neighbor classification and image retrieval, from the tables that `study.retrieval` writes."""

from pathlib import Path

import pandas as pd

from analysis.confirmed.answers import LIKELY
from analysis.layout.page import Section, table
from analysis.layout.text import number, percent, percent_interval
from analysis.statistics.inference import wilson
from study.results import TABLES_FOLDER, Results, ResultsError
from study.writing import count

KNN_COLUMNS = ("backbone", "trained_on", "features", "metric", "k", "fold", "accuracy", "n")
KNN_COLUMNS += ("fit_seconds", "predict_seconds", "chosen")
RETRIEVAL_COLUMNS = ("backbone", "classes", "pictures", "recall_at_1", "recall_at_2", "recall_at_4", "recall_at_8")
RETRIEVAL_COLUMNS += ("map_at_r", "r_precision", "seconds")


def neighbour_sections(results: Results, overlap: str) -> list[Section]:
    """Return the sections whose tables exist.

    Raises:
        ResultsError: a table is not readable as CSV or lacks a column.
    """
    return [section for section in (_knn(results, overlap), _retrieval(results, overlap)) if section is not None]


def _read(results: Results, stem: str, columns: tuple[str, ...]) -> pd.DataFrame | None:
    path = Path(results.out) / TABLES_FOLDER / f"{stem}.csv"
    if not path.is_file():
        return None
    try:
        frame = pd.read_csv(path)
    except ValueError as error:  # from pandas, whose messages may span several lines
        reason = (str(error).splitlines() or [""])[0]
        raise ResultsError(f"{path}: not readable as CSV ({reason}). Write it again.") from None
    missing = [name for name in columns if name not in frame]
    if missing:
        raise ResultsError(f"{path}: no column {', '.join(map(repr, missing))}. Add it.")
    return frame if len(frame) else None


def _knn(results: Results, overlap: str) -> Section | None:
    frame = _read(results, "knn", KNN_COLUMNS)
    if frame is None:
        return None
    frame["chosen"] = frame["chosen"].map(str).str.lower().isin(["true", "1", "yes"])
    shown = {
        "backbone": lambda row: f"{row.backbone}{' (chosen)' if row.chosen else ''}",
        "trained on": "trained_on",
        "features": "features",
        "distance": "metric",
        "k": "k",
        "fold": "fold",
        f"accuracy ({LIKELY})": lambda row: percent_interval(row.accuracy, *wilson(row.accuracy * row.n, row.n)),
        "images": "n",
        "fit": "fit_seconds",
        "predict": "predict_seconds",
    }
    caption = f"k-nearest-neighbor classification. Chosen: the distance and k that were best on validation.{overlap}"
    explained = (
        "The nearest training images in feature space vote for the class; nothing is trained. Distance and k are "
        "selected on validation, so the test rows marked as chosen are the result."
    )
    return Section("Nearest neighbors", [_best(frame), explained], tables=[table("knn", caption, frame, shown)])


def _best(frame: pd.DataFrame) -> str:
    selected = frame[frame["chosen"] & (frame["fold"] == "test")]
    if selected.empty:
        return ""
    row = selected.sort_values("accuracy", ascending=False, kind="stable").iloc[0]
    low, high = wilson(row["accuracy"] * row["n"], row["n"])
    among = f", the best of {len(selected)} selected on validation" if len(selected) > 1 else ""
    return (
        f"k-NN test accuracy {percent(row['accuracy'])} ({LIKELY} {100 * low:.1f} to {100 * high:.1f}, "
        f"{count(int(row['n']), 'image')}) with {row['backbone']} features, {row['metric']} distance and k = "
        f"{number(row['k'])}{among}."
    )


def _retrieval(results: Results, overlap: str) -> Section | None:
    frame = _read(results, "retrieval", RETRIEVAL_COLUMNS)
    if frame is None:
        return None
    columns = {"backbone": "backbone", "trained on": "trained_on", "protocol": "protocol", "classes": "classes"}
    columns |= {"images": "pictures", **{f"recall@{k}": f"recall_at_{k}" for k in (1, 2, 4, 8)}}
    columns |= {"MAP@R": "map_at_r", "R-precision": "r_precision", "time": "seconds"}
    shown = {header: column for header, column in columns.items() if column in frame}  # older tables lack some
    explained = (
        "Each image queries all others. Recall at k: share of queries with an image of their class among the k "
        "nearest. R: number of other images of the class. Zero-shot: the features were trained without images or "
        "labels of this study. Closed set: they were trained on these classes, which is an easier task."
    )
    caption = f"Retrieval by nearest features.{overlap}"
    return Section("Retrieval", [explained], tables=[table("retrieval", caption, frame, shown)])
