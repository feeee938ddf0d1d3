"""What the manifest says about the images: classes, folds, what was dropped, what is there twice."""

import numpy as np
import pandas as pd

from analysis.confirmed.settings import TEST, Setting, test_folds
from study.results import Results


def _kept(results: Results) -> pd.DataFrame:
    return results.manifest[results.manifest["keep"].eq(True)]


def tested(results: Results, kept: pd.DataFrame) -> pd.Series:
    """Which of the kept images test; with test folds all of them do."""
    return (kept["fold"] == TEST) | (test_folds(results) is not None)


def class_names(results: Results) -> pd.Series:
    """Class number -> name, for all classes of the manifest."""
    known = results.manifest.dropna(subset=["label"])
    return known.drop_duplicates("label").set_index("label")["label_name"].sort_index()


def training_images(results: Results, setting: Setting) -> pd.Series:
    """Class name -> images that a setting trains on: those its split leaves for training, times its share of them."""
    kept = _kept(results)
    split = f"split_{setting.levels.get('split', '')}"
    training = kept[kept[split] == "train"] if split in kept else kept[kept["fold"] == "pool"]
    share = setting.trials["train_fraction"] if "train_fraction" in setting.trials else pd.Series([1.0])
    return (training["label_name"].value_counts() * pd.to_numeric(share, errors="coerce").iloc[0]).round()


def baselines(results: Results) -> tuple[float, float]:
    """Accuracy of guessing evenly, and on test of always naming the pool's most frequent class."""
    kept = _kept(results)
    pool, test = kept[kept["fold"] == "pool"]["label"], kept[tested(results, kept)]["label"]
    if pool.empty or test.empty:
        return 1 / max(kept["label"].nunique(), 1), np.nan
    return 1 / kept["label"].nunique(), float((test == pool.mode().iloc[0]).mean())


def dropped(results: Results) -> pd.DataFrame:
    lost = results.manifest[results.manifest["keep"].eq(False)]
    return lost["drop_reason"].value_counts().rename_axis("reason").reset_index(name="files")


def duplicates(results: Results) -> pd.DataFrame:
    """One row for each group of duplicates: how many kept files, under how many labels, in how many folds."""
    kept = _kept(results)
    copies = "duplicate_of" if "duplicate_of" in kept else "group"  # a group also holds what the user put together
    grouped = kept.groupby(kept[copies].rename("group"))
    table = grouped.agg(
        files=("item", "size"), labels=("label", "nunique"), folds=("fold", "nunique"), example=("path", "first")
    )
    return table[table["files"] > 1].reset_index()


def folds(results: Results) -> pd.DataFrame:
    return _kept(results)["fold"].value_counts().rename_axis("fold").reset_index(name="pictures")
