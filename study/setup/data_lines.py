"""Describe the data in lines of text: how it was read, its classes, its folds, and what was skipped."""

from collections.abc import Sequence
from typing import get_args

import pandas as pd

from study.spec import Study
from study.writing import count, printable
from trainables.data.duplicates import conflicting_groups, copies
from trainables.data.folds import OfficialFold
from trainables.data.grayscale import described
from trainables.data.manifest import Source, label_names

_CLASSES = 20  # listed in full; above that, only the first and the last few
_NOTES = 20


def layout_lines(source: Source) -> list[str]:
    """Return how the data was read, and what was skipped and why."""
    layout = [f"read as: {source.layout}"] if source.layout else []
    more = len(source.notes) - _NOTES
    rest = [f"and {more} more lines like these"] if more > 0 else []
    return [printable(line) for line in [*layout, *source.notes[:_NOTES], *rest]]


def class_line(manifest: pd.DataFrame) -> str:
    """Return every class in label order with its number of usable images; with many classes, some and the extremes."""
    counts = manifest[manifest["keep"]].groupby("label_name").size()
    names = [name for name in label_names(manifest) if name in counts]
    parts = [f"{printable(name)!r} {counts[name]}" for name in names]
    if len(parts) <= _CLASSES:
        return f"classes: {', '.join(parts)}"
    return (
        f"classes: {', '.join(parts[: _CLASSES // 2])} ... {', '.join(parts[-3:])}; "
        f"from {counts.min()} to {counts.max()} images each"
    )


def split_line(manifest: pd.DataFrame, official: bool) -> str:
    """Return where the folds come from."""
    official_counts = manifest.loc[manifest["keep"], "official_split"].value_counts()
    folds = [fold for fold in get_args(OfficialFold) if official_counts.get(fold)]
    counts = ", ".join(f"{fold} {official_counts[fold]}" for fold in folds)
    held_out = [fold for fold in folds if fold != "train"]
    if not held_out:
        return "folds: drawn, because the data has none"
    if not official:
        return f"folds: drawn; the data's own ({counts}) are not used"
    drawn = {"val": "validation is drawn", "test": "test is drawn"}
    rest = [text for fold, text in drawn.items() if fold not in held_out]
    return f"folds: the data's own ({counts})" + (f"; {', '.join(rest)}" if rest else "")


def fold_lines(manifest: pd.DataFrame, study: Study, layout: Sequence[str] = ()) -> list[str]:
    """Return lines about the images of the study, and about those it left out.

    Args:
        layout: the lines of `layout_lines`.
    """
    lines = counted_lines(manifest, study.uses_official_split(), layout)
    if "split" in study.factors:
        kept = manifest[manifest["keep"]]
        sizes = [f"{level}: {int((kept[f'split_{level}'] == 'train').sum())}" for level in study.levels("split")]
        lines.append(f"training images by split: {', '.join(sizes)}; the official split is ignored")
    if study.budget.test_folds:
        lines.append(
            f"these folds are for the search; in the confirmation every image is tested once per seed, in "
            f"{study.budget.test_folds} test folds, and nuisances are refined for each; the official split is ignored"
        )
    return [*lines, *special_lines(manifest)]


def counted_lines(manifest: pd.DataFrame, official: bool, layout: Sequence[str]) -> list[str]:
    """Return the numbers of images by fold and class, how the data was read, and where the folds come from."""
    kept = manifest[manifest["keep"]]
    counts = kept["fold"].value_counts()
    return [
        f"{len(kept)} images of {kept['label'].nunique()} classes: {counts.get('test', 0)} test, "
        f"{counts.get('val', 0)} common validation, {counts.get('pool', 0)} for training",
        *layout,
        class_line(manifest),
        split_line(manifest, official),
    ]


def special_lines(manifest: pd.DataFrame) -> list[str]:
    """Return a line about each kind of image that is dropped, scaled, a duplicate, or has two labels."""
    dropped = manifest.loc[~manifest["keep"], "drop_reason"].value_counts()
    lines = [f"dropped: {count(files, 'file')}, {reason}" for reason, files in dropped.items()]
    lines += described(manifest)
    twins = int(copies(manifest[manifest["keep"]]).duplicated().sum())
    if twins:
        found = (
            "1 image is an exact or near duplicate" if twins == 1 else f"{twins} images are exact or near duplicates"
        )
        lines.append(f"{found}: kept in the same fold as the first copy")
    conflicts = conflicting_groups(manifest)
    if conflicts:
        found = "1 image has" if len(conflicts) == 1 else f"{len(conflicts)} images have"
        lines.append(f"{found} two labels, the first as {_paths(manifest, conflicts[0])}")
    return lines


def _paths(manifest: pd.DataFrame, items: list[int]) -> str:
    rows = manifest[manifest["item"].isin(items)]
    return " and ".join(f"{path!r}" for path in rows["path"])
