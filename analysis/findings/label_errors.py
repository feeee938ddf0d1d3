"""Which images may carry a wrong label, from what models say of them that did not train on them.

After Northcutt, Jiang and Chuang, "Confident Learning" (JAIR 70:1373, 2021): a label is doubtful where models give it
little probability (self-confidence), and more so where they give another class at least as much as that class has on
average among the images that carry it.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.confirmed.images import class_names
from analysis.confirmed.outputs import VAL
from analysis.confirmed.settings import TEST, Setting, test_folds, winner
from analysis.layout.page import Cell, Gallery, Section, Table, table
from analysis.layout.text import count, number, percent
from analysis.layout.thumbnails import suspect_thumbnail
from study.results import Results

MOST_SUSPECTS = 50
COLUMNS = ("item", "path", "fold", "label_name", "suggested", "probability", "suggested_probability")
COLUMNS += ("agree", "models", "others_agree", "others", "confident")


@dataclass(frozen=True)
class Suspects:
    """`frame`: the likeliest, at most `MOST_SUSPECTS`; and how many images there were of each kind."""

    frame: pd.DataFrame
    looked_at: int  # by at least one of the winner's models that had not trained on it
    doubtful: int  # its label below one half, and most models name one and the same other class
    confident: int  # of these, how many confident learning counts as mislabeled


def suspects(results: Results, found: list[Setting]) -> Suspects:
    """Test and validation images whose label the winner's models doubt, the least probable label first.

    `probability` is that of the label, mean over models; `agree` of `models` name the suggested class, whose mean
    probability is at least `suggested_probability` (who names another counts as none). Of the models of the other
    confirmed settings, `others_agree` of `others` name it too: they have no part in the choice.
    """
    best = winner(found)
    pictures = _by_image(_seen(results, [] if best is None else [best]))
    doubtful = pictures[(pictures["probability"] < 0.5) & (2 * pictures["agree"] > pictures["models"])]
    usual = pictures.groupby("label")["probability"].mean()
    doubtful = doubtful.assign(confident=doubtful["suggested_probability"] >= doubtful["suggested"].map(usual))
    likeliest = doubtful.sort_values("probability", kind="stable").head(MOST_SUSPECTS)
    likeliest = _seconded(likeliest, _seen(results, [setting for setting in found if setting is not best]))
    names = class_names(results)
    frame = likeliest.assign(
        path=results.manifest.drop_duplicates("item").set_index("item")["path"].reindex(likeliest.index),
        label_name=likeliest["label"].map(names),
        suggested=likeliest["suggested"].map(names),
    )
    return Suspects(frame.reset_index()[list(COLUMNS)], len(pictures), len(doubtful), int(doubtful["confident"].sum()))


def _seen(results: Results, chosen: list[Setting]) -> pd.DataFrame:
    """What the models of these settings said of images that they did not train on."""
    trials = {trial for one in chosen for trial in one.trials["trial"]}
    every = results.predictions
    seen = every[every["fold"].isin([TEST, VAL]) & every["trial"].isin(trials)]
    return seen.dropna(subset=["item", "label", "predicted", "confidence", "cross_entropy"])


def _seconded(doubtful: pd.DataFrame, seen: pd.DataFrame) -> pd.DataFrame:
    """How many further models name the suggested class."""
    mine = seen.loc[seen["item"].isin(doubtful.index)]
    same = (mine["predicted"] == mine["item"].map(doubtful["suggested"])).groupby(mine["item"]).agg(["sum", "size"])
    counts = same.reindex(doubtful.index).fillna(0).astype(int)
    return doubtful.assign(others_agree=counts["sum"], others=counts["size"])


def _by_image(seen: pd.DataFrame) -> pd.DataFrame:
    """One row an item: its label, what the models give it, and the other class that most of them name."""
    seen = seen.assign(probability=np.exp(-seen["cross_entropy"]))
    each = seen.groupby("item", sort=False).agg(
        fold=("fold", "first"), label=("label", "first"), probability=("probability", "mean"), models=("trial", "size")
    )
    other = seen[seen["predicted"] != seen["label"]]
    votes = other.groupby(["item", "predicted"], sort=False)["confidence"].agg(["size", "sum"]).reset_index()
    votes = votes.sort_values(["size", "sum"], ascending=False, kind="stable").drop_duplicates("item")
    votes = votes.set_index("item").reindex(each.index)
    return each.assign(
        suggested=votes["predicted"],
        agree=votes["size"].fillna(0).astype(int),
        suggested_probability=votes["sum"] / each["models"],
    )


SHOWN_SUSPECTS = 15


def suspects_section(results: Results, found: list[Setting]) -> Section | None:
    """Missing where no model was shown an image that it had not trained on."""
    doubted = suspects(results, found)
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
    hard, best = "Many of these images may simply be hard.", winner(found)
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
    one, other = "test images by the models of all seeds", "other images by the models that"
    if test_folds(results):
        one, other = "each image by the model of every seed that tested on it", "and by the models that"
    caption = (
        "Images whose label has the lowest out-of-fold probability, mean over the winner's models that did not train "
        f"on them: {one}, {other} validated on them"
    )
    return table("suspects", caption, frame, shown, most=SHOWN_SUSPECTS)
