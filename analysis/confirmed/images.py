"""Facts of the manifest about the images: classes, folds, dropped files, duplicates."""

import numpy as np
import pandas as pd

from analysis.confirmed.settings import TEST, Setting, test_folds
from study.results import Results


def _kept(results: Results) -> pd.DataFrame:
    return results.manifest[results.manifest["keep"].eq(True)]


def tested(results: Results, kept: pd.DataFrame) -> pd.Series:
    """Return a mask of the kept images that are test images; with test folds, all of them are."""
    return (kept["fold"] == TEST) | (test_folds(results) is not None)


def class_names(results: Results) -> pd.Series:
    """Return class number -> name, for all classes of the manifest."""
    known = results.manifest.dropna(subset=["label"])
    return known.drop_duplicates("label").set_index("label")["label_name"].sort_index()


def training_images(results: Results, setting: Setting) -> pd.Series:
    """Return class name -> number of images that a setting trains on: its training split times `train_fraction`."""
    kept = _kept(results)
    split = f"split_{setting.levels.get('split', '')}"
    training = kept[kept[split] == "train"] if split in kept else kept[kept["fold"] == "pool"]
    share = setting.trials["train_fraction"] if "train_fraction" in setting.trials else pd.Series([1.0])
    return (training["label_name"].value_counts() * pd.to_numeric(share, errors="coerce").iloc[0]).round()


def baselines(results: Results) -> tuple[float, float]:
    """Return the accuracy of uniform guessing, and on test of always predicting the pool's most frequent class."""
    kept = _kept(results)
    pool, test = kept[kept["fold"] == "pool"]["label"], kept[tested(results, kept)]["label"]
    if pool.empty or test.empty:
        return 1 / max(kept["label"].nunique(), 1), np.nan
    return 1 / kept["label"].nunique(), float((test == pool.mode().iloc[0]).mean())


def dropped(results: Results) -> pd.DataFrame:
    removed = results.manifest[results.manifest["keep"].eq(False)]
    return removed["drop_reason"].value_counts().rename_axis("reason").reset_index(name="files")


def duplicates(results: Results) -> pd.DataFrame:
    """Return one row for each group of duplicates: its kept files, distinct labels and distinct folds."""
    kept = _kept(results)
    copies = "duplicate_of" if "duplicate_of" in kept else "group"  # `group` also holds images that the user grouped
    grouped = kept.groupby(kept[copies].rename("group"))
    table = grouped.agg(
        files=("item", "size"), labels=("label", "nunique"), folds=("fold", "nunique"), example=("path", "first")
    )
    return table[table["files"] > 1].reset_index()


def folds(results: Results) -> pd.DataFrame:
    return _kept(results)["fold"].value_counts().rename_axis("fold").reset_index(name="pictures")
