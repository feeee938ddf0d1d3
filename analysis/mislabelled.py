"""Which pictures may carry a wrong label, from what models say of them that did not train on them.

After Northcutt, Jiang and Chuang, "Confident Learning" (JAIR 70:1373, 2021): a label is doubtful where models give it
little probability (self-confidence), and more so where they give another class at least as much as that class has on
average among the pictures that carry it.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.outputs import VAL
from analysis.pictures import class_names
from analysis.settings import TEST, Setting, winner
from study.results import Results

MOST_SUSPECTS = 50
COLUMNS = ("item", "path", "fold", "label_name", "suggested", "probability", "suggested_probability")
COLUMNS += ("agree", "models", "confident")


@dataclass(frozen=True)
class Suspects:
    """`frame`: the likeliest, at most `MOST_SUSPECTS`; and how many pictures there were of each kind."""

    frame: pd.DataFrame
    looked_at: int  # by at least one of the winner's models that had not trained on it
    doubtful: int  # its label below one half, and most models name one and the same other class
    confident: int  # of these, how many confident learning counts as mislabelled


def suspects(results: Results, found: list[Setting]) -> Suspects:
    """Test and validation pictures whose label the winner's models doubt, the least probable label first.

    `probability` is that of the label, mean over models; `agree` of `models` name the suggested class, and
    `suggested_probability` is at least its mean probability (those who name another count as none).
    """
    best = winner(found)
    trials = [] if best is None else best.trials["trial"]
    seen = results.predictions
    seen = seen[seen["fold"].isin([TEST, VAL]) & seen["trial"].isin(trials)]
    seen = seen.dropna(subset=["item", "label", "predicted", "confidence", "cross_entropy"])
    pictures = _pictures(seen)
    doubtful = pictures[(pictures["probability"] < 0.5) & (2 * pictures["agree"] > pictures["models"])]
    usual = pictures.groupby("label")["probability"].mean()
    doubtful = doubtful.assign(confident=doubtful["suggested_probability"] >= doubtful["suggested"].map(usual))
    likeliest = doubtful.sort_values("probability", kind="stable").head(MOST_SUSPECTS)
    return Suspects(_named(results, likeliest), len(pictures), len(doubtful), int(doubtful["confident"].sum()))


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
