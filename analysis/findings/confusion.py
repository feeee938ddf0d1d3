"""Confusion matrix, most frequent confusions and classification report."""

from functools import partial

import numpy as np
import pandas as pd

from analysis.confirmed.images import class_names, training_images
from analysis.confirmed.settings import TEST, Setting, winner
from analysis.layout import figures
from analysis.layout.page import Cell, Figure, Section, Table, table
from analysis.layout.text import NOTHING, number, percent, shortened
from analysis.statistics.confusion import arranged, block_table
from study.results import Results, metrics
from study.writing import count


def confusion(results: Results, setting: Setting) -> pd.DataFrame:
    """Count the test predictions of all seeds of a setting: true class (rows) by predicted class (columns)."""
    tested = results.predictions[results.predictions["trial"].isin(setting.trials["trial"])]
    tested = tested[tested["fold"] == TEST]
    names = class_names(results).reindex(np.union1d(tested["label"], tested["predicted"]))
    matrix = pd.crosstab(tested["label"], tested["predicted"])
    return matrix.reindex(index=names.index, columns=names.index, fill_value=0)


def classes(matrix: pd.DataFrame, names: pd.Series, seeds: int) -> pd.DataFrame:
    """Return the classification report of a confusion matrix of `seeds` models: every class of `names`, worst F1 first.

    Support counts images. A class without test images has no recall and no F1; it comes last.
    """
    every = names.index.union(matrix.index)
    counts = matrix.reindex(index=every, columns=every, fill_value=0)
    scores = metrics.per_class(counts.to_numpy())
    table = pd.DataFrame(
        {
            "label": names.reindex(every).fillna(NOTHING).to_numpy(),
            "precision": scores.precision,
            "recall": scores.recall,
            "f1": scores.f1,
            "support": scores.support // seeds,
        }
    )
    return table.sort_values("f1", kind="stable", na_position="last").reset_index(drop=True)


def confused(matrix: pd.DataFrame, names: pd.Series) -> pd.DataFrame:
    """Return the confused pairs of classes, most frequent first; `share` is of the images of the true class."""
    counts = matrix.to_numpy(copy=True)
    totals = counts.sum(axis=1)
    np.fill_diagonal(counts, 0)
    true, predicted = np.nonzero(counts)
    table = pd.DataFrame(
        {
            "label": names.reindex(matrix.index[true]).to_numpy(),
            "predicted": names.reindex(matrix.columns[predicted]).to_numpy(),
            "times": counts[true, predicted],
            "share": counts[true, predicted] / totals[true],
        }
    )
    return table.sort_values(["times", "share"], ascending=False, kind="stable")


def means_sentence(classes: pd.DataFrame) -> str:
    """Return the macro averages of a classification report (see `classes`) as a sentence."""
    present = classes[classes["support"] > 0]
    means = ", ".join(f"{metric} {percent(present[metric].mean())}" for metric in ("precision", "recall"))
    absent = len(classes) - len(present)
    without = f"; left out: {number(absent)} without test images" if absent else ""
    return f"Macro average of {number(len(present))} classes: {means}, F1 {percent(present['f1'].mean())}{without}."


def mistakes_section(results: Results, confirmed: list[Setting], overlap: str) -> Section | None:
    best = winner(confirmed)
    if best is None or not best.tested:
        return None
    matrix, names = confusion(results, best), class_names(results)
    pooled = f"{count(len(best.seeds), 'seed')} pooled"
    pairs = {"true class": "label", "predicted": "predicted", "count": "times", "share of the class": "share"}
    caption = f"Most frequent confusions on test, {pooled}"
    tables = [
        table("confusions", caption, confused(matrix, names), pairs, most=MOST_CONFUSIONS),
        _class_table(results, best, matrix, names, pooled, overlap),
    ]
    if len(matrix) > MOST_DRAWN:
        return Section("Confusion matrix", [f"{number(len(matrix))} classes are too many to draw."], tables=tables)
    figure, blocks = _confusion_figure(matrix, names)
    if len(blocks):
        tables.insert(0, _blocks(blocks, pooled))
    axes = "Rows: true class. Columns: predicted class."
    return Section("Confusion matrix", [axes], figures=[figure], tables=tables)


def _class_table(
    results: Results, best: Setting, matrix: pd.DataFrame, names: pd.Series, pooled: str, overlap: str
) -> Table:
    frame = classes(matrix, names, len(best.seeds))
    frame = frame.assign(training_images=frame["label"].map(training_images(results, best)))
    columns = {"class": "label", "precision": "precision", "recall": "recall", "F1": "f1"}
    columns |= {"test images": "support", "training images": "training_images"}
    caption = f"Metrics of each class on test, worst F1 first, {pooled}. {means_sentence(frame)}{overlap}"
    return table("classes", caption, frame, columns, most=MOST_CLASSES)


def _confusion_figure(matrix: pd.DataFrame, names: pd.Series) -> tuple[Figure, pd.DataFrame]:
    """Return the confusion matrix as a figure, and the blocks of confused classes that are framed in it."""
    large = len(matrix) > figures.MOST_COUNTED
    shown_matrix, positions = arranged(matrix) if large else (matrix, [])
    labels = names.reindex(shown_matrix.index).fillna(NOTHING).map(str).tolist()
    blocks = block_table(shown_matrix, positions, names.fillna(NOTHING))
    title = "Share of each true class (%)"
    if large:
        title += ", similar classes adjacent (framed: blocks of confused classes)" if len(blocks) else ""
    draw = partial(
        figures.draw_confusion, confusion=shown_matrix, names=labels, blocks=blocks.head(MOST_BLOCKS) if large else None
    )
    titles = figures.confusion_titles(shown_matrix, labels)
    text = figures.svg(2.5 if len(labels) <= 4 else 3.6, draw, titles=titles)
    right = np.trace(matrix.to_numpy()) / max(matrix.to_numpy().sum(), 1)
    alt = f"Predicted against true class, {len(labels)} classes: {percent(right)} on the diagonal"
    return Figure("confusion", title, alt, text, wide=large), blocks


MOST_CONFUSIONS, MOST_CLASSES, MOST_BLOCKS = 10, 15, 10
MOST_DRAWN = 1000  # classes; a larger matrix has less than a pixel per class, and ordering it takes minutes


def _blocks(frame: pd.DataFrame, pooled: str) -> Table:
    shown: dict[str, Cell] = {
        "block": "block",
        "classes": lambda row: shortened(row.label, 160),
        "classified correctly": "right",
        "errors inside the block": "inside",
        "share of its errors": "share",
    }
    caption = f"Classes that are confused with each other: blocks along the diagonal, {pooled}"
    return table("blocks", caption, frame, shown, most=MOST_BLOCKS)
