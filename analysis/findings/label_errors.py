"""Possible label errors, from the predictions of models that did not train on the image.

After Northcutt, Jiang and Chuang, "Confident Learning" (JAIR 70:1373, 2021): a label is doubtful if models give it a
low probability (self-confidence). It counts as a label error if the probability of another class is at least the
average that this class has among the images that carry it.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.confirmed.images import class_names
from analysis.confirmed.outputs import VAL
from analysis.confirmed.settings import TEST, Setting, test_folds, winner
from analysis.layout.page import Cell, Gallery, Section, Table, table
from analysis.layout.text import number, percent
from analysis.layout.thumbnails import suspect_thumbnail
from study.results import Results
from study.writing import count

MOST_SUSPECTS = 50
COLUMNS = ("item", "path", "fold", "label_name", "suggested", "probability", "suggested_probability")
COLUMNS += ("agree", "models", "others_agree", "others", "confident")


@dataclass(frozen=True)
class Suspects:
    """The images with the most doubtful labels, and the counts behind them."""

    frame: pd.DataFrame  # at most `MOST_SUSPECTS` rows, the least probable label first
    looked_at: int  # images that a model of the winner predicted without training on them
    doubtful: int  # label below one half, and most models predict the same other class
    confident: int  # doubtful images that confident learning counts as label errors


def suspects(results: Results, confirmed: list[Setting]) -> Suspects:
    """Return the test and validation images whose label the winner's models doubt, the least probable label first.

    `probability` is the label's, mean over models. `agree` of `models` predict the suggested class, whose mean
    probability is at least `suggested_probability` (a model that predicts another class counts as 0). `others_agree` of
    `others`, the models of the other confirmed settings, predict it too; they do not affect the selection.
    """
    best = winner(confirmed)
    images = _by_image(_held_out(results, [] if best is None else [best]))
    doubtful = images[(images["probability"] < 0.5) & (2 * images["agree"] > images["models"])]
    usual = images.groupby("label")["probability"].mean()
    doubtful = doubtful.assign(confident=doubtful["suggested_probability"] >= doubtful["suggested"].map(usual))
    likeliest = doubtful.sort_values("probability", kind="stable").head(MOST_SUSPECTS)
    likeliest = _seconded(likeliest, _held_out(results, [setting for setting in confirmed if setting is not best]))
    names = class_names(results)
    frame = likeliest.assign(
        path=results.manifest.drop_duplicates("item").set_index("item")["path"].reindex(likeliest.index),
        label_name=likeliest["label"].map(names),
        suggested=likeliest["suggested"].map(names),
    )
    return Suspects(frame.reset_index()[list(COLUMNS)], len(images), len(doubtful), int(doubtful["confident"].sum()))


def _held_out(results: Results, settings: list[Setting]) -> pd.DataFrame:
    """Return the predictions of these settings on images that their models did not train on."""
    trials = {trial for setting in settings for trial in setting.trials["trial"]}
    predictions = results.predictions
    held_out = predictions["fold"].isin([TEST, VAL]) & predictions["trial"].isin(trials)
    return predictions[held_out].dropna(subset=["item", "label", "predicted", "confidence", "cross_entropy"])


def _seconded(doubtful: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    """Add how many models of other settings predict the suggested class."""
    rows = predictions.loc[predictions["item"].isin(doubtful.index)]
    same = (rows["predicted"] == rows["item"].map(doubtful["suggested"])).groupby(rows["item"]).agg(["sum", "size"])
    counts = same.reindex(doubtful.index).fillna(0).astype(int)
    return doubtful.assign(others_agree=counts["sum"], others=counts["size"])


def _by_image(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return one row per item: its label with its mean probability, and the other class that most models predict."""
    predictions = predictions.assign(probability=np.exp(-predictions["cross_entropy"]))
    images = predictions.groupby("item", sort=False).agg(
        fold=("fold", "first"), label=("label", "first"), probability=("probability", "mean"), models=("trial", "size")
    )
    other = predictions[predictions["predicted"] != predictions["label"]]
    votes = other.groupby(["item", "predicted"], sort=False)["confidence"].agg(["size", "sum"]).reset_index()
    votes = votes.sort_values(["size", "sum"], ascending=False, kind="stable").drop_duplicates("item")
    votes = votes.set_index("item").reindex(images.index)
    return images.assign(
        suggested=votes["predicted"],
        agree=votes["size"].fillna(0).astype(int),
        suggested_probability=votes["sum"] / images["models"],
    )


SHOWN_SUSPECTS = 15


def suspects_section(results: Results, confirmed: list[Setting]) -> Section | None:
    """Return the section; None if no model predicted images that it did not train on."""
    doubted = suspects(results, confirmed)
    if not doubted.looked_at:
        return None
    title = "Possible label errors"
    if doubted.frame.empty:
        images = count(doubted.looked_at, "image")
        return Section(title, [f"None of {images} has a label that most of the winner's models contradict."])
    sentence = (
        f"{number(doubted.doubtful)} of {count(doubted.looked_at, 'held-out image')} have a label with a probability "
        "below one half, while most of the winner's models agree on one other class. Confident learning counts "
        f"{number(doubted.confident)} of these as label errors: the other class is at least as probable as it is on "
        "average for images that carry it (Northcutt et al. 2021)."
    )
    hard, best = "Many of these images may simply be hard.", winner(confirmed)
    if best is not None and best.tested:
        wrong = percent(1 - best.correct.to_numpy().mean())
        hard = f"The winner misclassifies {wrong} of the test images, so many of these images may simply be hard."
    caution = (
        f"{hard} Fix labels before the next study, not this one: correcting only where the winner disagrees would "
        "inflate its score."
    )
    gallery, suspected = _gallery(results, doubted.frame), _suspects(results, doubted.frame)
    return Section(title, [sentence, caution], galleries=gallery, tables=[suspected])


def _gallery(results: Results, frame: pd.DataFrame) -> list[Gallery]:
    columns = frame[["item", "label_name", "suggested", "suggested_probability"]].head(SHOWN_SUSPECTS)
    thumbnails = [
        suspect_thumbnail(results.out, item, f"labeled {label}", predicted, probability)
        for item, label, predicted, probability in columns.itertuples(index=False)
    ]
    shown = [thumbnail for thumbnail in thumbnails if thumbnail is not None]
    return [Gallery("What the winner's models predict", shown)] if shown else []


def _suspects(results: Results, frame: pd.DataFrame) -> Table:
    shown: dict[str, Cell] = {
        "image": lambda row: row.path if isinstance(row.path, str) else row.item,
        "label": "label_name",
        "its probability": "probability",
        "predicted": "suggested",
        "by the winner's models": lambda row: f"{row.agree} of {row.models}",
    }
    if frame["others"].any():
        shown["by models of other settings"] = lambda row: f"{row.others_agree} of {row.others}"
    tested, validated = "test images by the models of all seeds", "other images by the models that"
    if test_folds(results):
        tested, validated = "each image by the model of every seed that tested on it", "and by the models that"
    caption = (
        "Images whose label has the lowest out-of-fold probability, mean over the winner's models that did not train "
        f"on them: {tested}, {validated} validated on them"
    )
    return table("suspects", caption, frame, shown, most=SHOWN_SUSPECTS)
