"""Which images may carry a wrong label, from what models say of them that did not train on them.

After Northcutt, Jiang and Chuang, "Confident Learning" (JAIR 70:1373, 2021): a label is doubtful where models give it
little probability (self-confidence), and more so where they give another class at least as much as that class has on
average among the images that carry it.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.confirmed.outputs import VAL
from analysis.confirmed.pictures import class_names
from analysis.confirmed.settings import TEST, Setting, winner
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
