"""The report's sections on the models: how well they generalize and what the winner confuses."""

from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from analysis.confirmed import tables
from analysis.confirmed.pictures import class_names, training_images
from analysis.confirmed.settings import Setting, winner
from analysis.layout import figures
from analysis.layout.page import Figure, Section, Table, table
from analysis.layout.text import NOTHING, count, millions, number, percent, plain, shortened, slug
from analysis.sections.curves import Curve, band, best_epoch, curves, limits
from analysis.sections.scored import means_sentence
from analysis.statistics.confusion import arranged, block_table
from study.results import Results


def learning_section(results: Results, found: list[Setting]) -> Section | None:
    drawn = [curve for curve in curves(results, found) if results.epochs["trial"].isin(curve.trials).any()]
    if not drawn:
        return None
    bounds = limits(results, drawn)
    pictures = [_learning_picture(results, curve, index, bounds) for index, curve in enumerate(drawn)]
    explained = (
        "Orange and dashed: training images. Blue: validation images. The shading between is the gap, "
        "the bands run from the lowest to the highest seed, the dot marks the epoch that was kept."
    )
    frame = tables.generalization(results, found)
    said = [explained, stability_sentence(frame)] if len(frame) else [explained]
    return Section("How well it generalizes", said, figures=pictures, tables=_generalization(frame))


def _learning_picture(results: Results, curve: Curve, index: int, bounds: dict[str, tuple[float, float]]) -> Figure:
    by_epoch, best, xlim = band(results, curve), best_epoch(results, curve), bounds["epoch"]
    panels = [
        partial(figures.draw_learning, band=by_epoch, metric=metric, best=best, ylim=bounds[metric], xlim=xlim)
        for metric in ("accuracy", "cross_entropy")
    ]
    last = by_epoch.iloc[-1]
    alt = (
        f"{curve.title}: after {count(int(by_epoch.index[-1]), 'epoch')} accuracy "
        f"{percent(last['train_accuracy', 'mean'])} in training, "
        f"{percent(last['val_accuracy', 'mean'])} in validation"
    )
    stem = f"learning-{index:02d}-{slug(curve.title)}"
    return Figure(stem, plain(curve.title), alt, figures.svg(3.6, *panels))


def _generalization(frame: pd.DataFrame) -> list[Table]:
    shown = {
        "setting": lambda row: row.setting,
        "best epoch (of seeds)": _best_epoch,
        "train accuracy": lambda row: percent(row.train_accuracy),
        "val accuracy": lambda row: percent(row.val_accuracy),
        "gap": lambda row: percent(row.gap).replace("-", "−"),
        "val accuracy, last epoch": lambda row: percent(row.last_val_accuracy),
        "train cross-entropy": lambda row: f"{row.train_cross_entropy:.3f}",
        "val cross-entropy": lambda row: f"{row.val_cross_entropy:.3f}",
    }
    if set(tables.PARAMETERS) <= set(frame.columns):
        shown["parameters (trained)"] = lambda row: f"{millions(row.parameters)} ({millions(row.trained_parameters)})"
    caption = "Confirmed settings, by what sets them apart, at their best epoch; mean over seeds"
    return [table("generalization", caption, frame, shown)] if len(frame) else []


def _best_epoch(row: Any) -> str:
    """The mean, and from which to which epoch the seeds differ."""
    mean = number(round(row.best_epoch, 1))
    if not row.best_epoch_low < row.best_epoch_high:
        return mean
    return f"{mean} ({number(row.best_epoch_low)} to {number(row.best_epoch_high)})"


def stability_sentence(frame: pd.DataFrame) -> str:
    """How much the epoch that is kept hangs on the seed, and what keeping it gains; of the first setting."""
    row = frame.iloc[0]
    if pd.isna(row["best_epoch_sd"]):
        return ""
    spread = (
        "" if row["best_epoch_sd"] == 0 else f", with a standard deviation of {number(row['best_epoch_sd'])} epochs"
    )
    kept, last = percent(row["val_accuracy"]), percent(row["last_val_accuracy"])
    best = f"Of {row['setting']} the seeds are best on validation after {_best_epoch(row)} epochs{spread}. There their"
    if kept == last:
        return f"{best} accuracy is {kept}, and so it is after the last epoch."
    return (
        f"{best} accuracy is {kept}, after the last epoch {last}: a difference that is partly luck, because the best "
        "epoch was chosen on these images."
    )


def mistakes_section(results: Results, found: list[Setting], overlap: str) -> Section | None:
    best = winner(found)
    if best is None or not best.tested:
        return None
    matrix, names = tables.confusion(results, best), class_names(results)
    together = f"all {count(len(best.seeds), 'seed')} together"
    if len(matrix) <= MOST_DRAWN:
        picture, blocks = _confusion_picture(matrix, names)
        said, pictures = "Each row of the image is a true class, each column what the winner called it.", [picture]
        blocked = [_blocks(blocks, together)] if len(blocks) else []
    else:
        said, pictures, blocked = (
            f"{number(len(matrix))} classes are too many for an image of them.",
            [],
            [],
        )
    shown = {
        "true class": lambda row: row.label,
        "named instead": lambda row: row.predicted,
        "times": lambda row: number(row.times),
        "share of the class": lambda row: percent(row.share),
    }
    confused = tables.confused(matrix, names)
    return Section(
        "What the winner confuses",
        [said],
        figures=pictures,
        tables=[
            *blocked,
            table("confusions", f"Most frequent confusions on test, {together}", confused, shown, most=MOST_CONFUSIONS),
            _classes(tables.classes(matrix, names, len(best.seeds)), training_images(results, best), together, overlap),
        ],
    )


def _confusion_picture(matrix: pd.DataFrame, names: pd.Series) -> tuple[Figure, pd.DataFrame]:
    """The image, and the blocks of confused classes that are framed in it."""
    large = len(matrix) > figures.MOST_COUNTED
    shown_matrix, found_blocks = arranged(matrix) if large else (matrix, [])
    labels = names.reindex(shown_matrix.index).fillna(NOTHING).map(str).tolist()
    blocks = block_table(shown_matrix, found_blocks, names.fillna(NOTHING))
    title = "Share of each true class, in percent"
    if large:
        title += ", confused classes beside one another (framed: blocks of them)" if len(blocks) else ""
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
    shown = {
        "block": lambda row: number(row.block),
        "classes": lambda row: shortened(row.label, 160),
        "named rightly": lambda row: percent(row.right),
        "errors inside": lambda row: number(row.inside),
        "share of its errors": lambda row: percent(row.share),
    }
    caption = f"Classes that are confused with one another: blocks along the diagonal of the image, {together}"
    return table("blocks", caption, frame, shown, most=MOST_BLOCKS)


def _classes(frame: pd.DataFrame, training: pd.Series, together: str, overlap: str) -> Table:
    frame = frame.assign(training_images=frame["label"].map(training))
    shown = {
        "class": lambda row: row.label,
        "precision": lambda row: percent(row.precision),
        "recall": lambda row: percent(row.recall),
        "F1": lambda row: percent(row.f1),
        "test images": lambda row: number(row.support),
        "training images": lambda row: number(row.training_images),
    }
    caption = f"The classes on test, the worst F1 first, {together}. {means_sentence(frame)}{overlap}"
    return table("classes", caption, frame, shown, most=MOST_CLASSES)
