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
from analysis.layout.page import Gallery, Section, Table, table
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
    pictures = _pictures(_seen(results, [] if best is None else [best]))
    doubtful = pictures[(pictures["probability"] < 0.5) & (2 * pictures["agree"] > pictures["models"])]
    usual = pictures.groupby("label")["probability"].mean()
    doubtful = doubtful.assign(confident=doubtful["suggested_probability"] >= doubtful["suggested"].map(usual))
    likeliest = doubtful.sort_values("probability", kind="stable").head(MOST_SUSPECTS)
    likeliest = _seconded(likeliest, _seen(results, [one for one in found if one is not best]))
    return Suspects(_named(results, likeliest), len(pictures), len(doubtful), int(doubtful["confident"].sum()))


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


def _pictures(seen: pd.DataFrame) -> pd.DataFrame:
    """One row an item: its label, what the models give it, and the other class that most of them name."""
    seen = seen.assign(probability=np.exp(-seen["cross_entropy"]))
    each = seen.groupby("item", sort=False).agg(
        fold=("fold", "first"),
        label=("label", "first"),
        probability=("probability", "mean"),
        models=("trial", "size"),
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


def _named(results: Results, chosen: pd.DataFrame) -> pd.DataFrame:
    names = class_names(results)
    paths = results.manifest.drop_duplicates("item").set_index("item")["path"]
    frame = chosen.assign(
        path=paths.reindex(chosen.index),
        label_name=chosen["label"].map(names),
        suggested=chosen["suggested"].map(names),
    )
    return frame.reset_index()[list(COLUMNS)]


SHOWN_SUSPECTS = 15


def suspects_section(results: Results, found: list[Setting]) -> Section | None:
    """Missing where no model was shown an image that it had not trained on."""
    doubted = suspects(results, found)
    if not doubted.looked_at:
        return None
    title = "Labels to look at again"
    if doubted.frame.empty:
        seen = count(doubted.looked_at, "image")
        return Section(title, [f"Of {seen}, none has a label that most of the winner's models contradict."])
    said = [_doubt_sentence(doubted), _caution(winner(found))]
    return Section(title, said, galleries=_gallery(results, doubted.frame), tables=[_suspects(results, doubted.frame)])


def _doubt_sentence(doubted: Suspects) -> str:
    return (
        f"Of {count(doubted.looked_at, 'image')} that the winner's models saw without having trained on them, "
        f"{number(doubted.doubtful)} carry a label that these give less than one half, while most of them name one and "
        f"the same other class. In {number(doubted.confident)} of these that class is at least as probable as it is on "
        "average for images that carry it: what confident learning counts as wrong labels (Northcutt et al. 2021)."
    )


def _caution(best: Setting | None) -> str:
    hard = "Many of them may only be hard."
    if best is not None and best.tested:
        wrong = percent(1 - best.correct.to_numpy().mean())
        hard = f"The winner errs on {wrong} of the test images, so many of them may only be hard."
    return (
        f"{hard} Mend what is wrong for a study to come, not for this one: labels that were corrected where the winner "
        "disagrees flatter it."
    )


def _gallery(results: Results, frame: pd.DataFrame) -> list[Gallery]:
    shown = [
        suspect_thumbnail(
            results.out, row.item, f"{row.label_name}, by its label", row.suggested, row.suggested_probability
        )
        for row in frame.head(SHOWN_SUSPECTS).itertuples()
    ]
    there = [one for one in shown if one is not None]
    return [Gallery("What the winner's models say instead", there)] if there else []


def _suspects(results: Results, frame: pd.DataFrame) -> Table:
    shown = {
        "image": lambda row: row.path if isinstance(row.path, str) else row.item,
        "its label": lambda row: row.label_name,
        "probability of it": lambda row: percent(row.probability),
        "named instead": lambda row: row.suggested,
        "by the winner's models": lambda row: f"{row.agree} of {row.models}",
    }
    if frame["others"].any():
        shown["by those of other settings"] = lambda row: f"{row.others_agree} of {row.others}"
    one, other = "a test image was seen by the model of every repeat", "another by those of the repeats that"
    if test_folds(results):
        one, other = "each image was tested by one model of every seed", "and seen by those that"
    caption = (
        "The images with the least probable labels, mean over the winner's models that did not train on them: "
        f"{one}, {other} validated on it"
    )
    return table("suspects", caption, frame, shown, most=SHOWN_SUSPECTS)
