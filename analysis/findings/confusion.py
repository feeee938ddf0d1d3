"""Confusion matrix: which classes are confused, and the classification report of each class."""

from functools import partial

import numpy as np
import pandas as pd

from analysis.confirmed.images import class_names, training_images
from analysis.confirmed.settings import TEST, Setting, winner
from analysis.layout import figures
from analysis.layout.page import Cell, Figure, Section, Table, table
from analysis.layout.text import NOTHING, count, number, percent, shortened
from analysis.statistics.confusion import arranged, block_table
from study.results import Results, metrics


def confusion(results: Results, setting: Setting) -> pd.DataFrame:
    """Test predictions of all seeds of a setting: rows the true class, columns the predicted one, by name."""
    seen = results.predictions[results.predictions["trial"].isin(setting.trials["trial"])]
    seen = seen[seen["fold"] == TEST]
    names = class_names(results).reindex(np.union1d(seen["label"], seen["predicted"]))
    matrix = pd.crosstab(seen["label"], seen["predicted"])
    return matrix.reindex(index=names.index, columns=names.index, fill_value=0)


def classes(matrix: pd.DataFrame, names: pd.Series, seeds: int) -> pd.DataFrame:
    """The classification report of a confusion of `seeds` models: every class of `names`, the worst F1 first.

    Support is images, so a class without any has no recall and no F1; it comes last.
    """
    every = names.index.union(matrix.index)
    whole = matrix.reindex(index=every, columns=every, fill_value=0)
    each = metrics.per_class(whole.to_numpy())
    table = pd.DataFrame(
        {
            "label": names.reindex(every).fillna(NOTHING).to_numpy(),
            "precision": each.precision,
            "recall": each.recall,
            "f1": each.f1,
            "support": each.support // seeds,
        }
    )
    return table.sort_values("f1", kind="stable", na_position="last").reset_index(drop=True)


def confused(matrix: pd.DataFrame, names: pd.Series) -> pd.DataFrame:
    """Which classes are mistaken for which, the most frequent first, with the share of the true class it concerns."""
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
    """The means over classes of a classification report (see `classes`)."""
    there = classes[classes["support"] > 0]
    said = ", ".join(f"{one} {percent(there[one].mean())}" for one in ("precision", "recall"))
    absent = len(classes) - len(there)
    without = f"; left out: {number(absent)} without test images" if absent else ""
    return f"Macro average of {number(len(there))} classes: {said}, F1 {percent(there['f1'].mean())}{without}."


def mistakes_section(results: Results, found: list[Setting], overlap: str) -> Section | None:
    best = winner(found)
    if best is None or not best.tested:
        return None
    matrix, names = confusion(results, best), class_names(results)
    together = f"{count(len(best.seeds), 'seed')} pooled"
    if len(matrix) <= MOST_DRAWN:
        picture, blocks = _confusion_figure(matrix, names)
        said, pictures = "Rows: true class. Columns: predicted class.", [picture]
        blocked = [_blocks(blocks, together)] if len(blocks) else []
    else:
        said, pictures, blocked = f"{number(len(matrix))} classes are too many to draw.", [], []
    shown = {"true class": "label", "predicted": "predicted", "count": "times", "share of the class": "share"}
    caption = f"Most frequent confusions on test, {together}"
    per_class = classes(matrix, names, len(best.seeds))
    per_class = per_class.assign(training_images=per_class["label"].map(training_images(results, best)))
    columns = {"class": "label", "precision": "precision", "recall": "recall", "F1": "f1"}
    columns |= {"test images": "support", "training images": "training_images"}
    means = means_sentence(per_class)
    about_classes = f"Metrics of each class on test, worst F1 first, {together}. {means}{overlap}"
    tables = [
        *blocked,
        table("confusions", caption, confused(matrix, names), shown, most=MOST_CONFUSIONS),
        table("classes", about_classes, per_class, columns, most=MOST_CLASSES),
    ]
    return Section("Confusion matrix", [said], figures=pictures, tables=tables)


def _confusion_figure(matrix: pd.DataFrame, names: pd.Series) -> tuple[Figure, pd.DataFrame]:
    """The image, and the blocks of confused classes that are framed in it."""
    large = len(matrix) > figures.MOST_COUNTED
    shown_matrix, found_blocks = arranged(matrix) if large else (matrix, [])
    labels = names.reindex(shown_matrix.index).fillna(NOTHING).map(str).tolist()
    blocks = block_table(shown_matrix, found_blocks, names.fillna(NOTHING))
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
MOST_DRAWN = 1000  # classes of a matrix; of more a pixel each has no room, and ordering them takes minutes


def _blocks(frame: pd.DataFrame, together: str) -> Table:
    shown: dict[str, Cell] = {
        "block": "block",
        "classes": lambda row: shortened(row.label, 160),
        "classified correctly": "right",
        "errors inside the block": "inside",
        "share of its errors": "share",
    }
    caption = f"Classes that are confused with each other: blocks along the diagonal, {together}"
    return table("blocks", caption, frame, shown, most=MOST_BLOCKS)
