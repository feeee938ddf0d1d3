"""Divide a data set into training, validation and test folds: per class, in a keyed order of duplicate groups.

The test fold depends on the seed alone, or is one fold of a k-fold over all images. The rest is reordered for every
(seed, repeat): a split level trains on groups from the front of the order and validates on groups from its end.
Training sets are therefore nested, and the smallest validation fold is common to all levels.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trainables.data.duplicates import copies
from trainables.errors import InputError
from trainables.keyed import key, order

_FOLD_NAMES = {"val": "validation", "test": "test"}
_RATIO = re.compile(r"(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class Folds:
    """The folds of one repeat: sorted item numbers."""

    test: NDArray[np.int64]
    val: NDArray[np.int64]  # common to all levels
    train: dict[str, NDArray[np.int64]]  # by level, at the requested fraction
    pool: NDArray[np.int64]  # all items that any level may train on, at any fraction


@dataclass(frozen=True)
class _Members:
    """The groups of one class in plain arrays; data frames would take seconds per thousand classes."""

    group: NDArray[np.int64]
    size: NDArray[np.int64]
    split: NDArray[np.object_]  # the official fold "test" or "val", else "rest"

    def select(self, mask: NDArray[np.bool_] | NDArray[np.int64]) -> "_Members":
        return _Members(self.group[mask], self.size[mask], self.split[mask])


def parse_ratio(level: str) -> tuple[float, float, float]:
    """Parse "80-10-10" into training, validation and test in percent.

    Raises:
        InputError: The text is not three positive numbers that sum to 100.
    """
    match = _RATIO.fullmatch(level)
    train, val, test = (float(part) for part in match.groups()) if match else (0.0, 0.0, 0.0)
    if min(train, val, test) <= 0 or abs(train + val + test - 100) > 1e-9:
        raise InputError(
            f"A split is train-val-test in percent, each above 0 and summing to 100, but got {level!r}: "
            "write one like 80-10-10."
        )
    return train, val, test


def drop_leaks(manifest: pd.DataFrame, official: bool) -> pd.DataFrame:
    """Drop training images that share a group with a held-out image, if the official split is used.

    Returns:
        A copy of the manifest, where dropped images have `keep` false and a `drop_reason`.
    """
    manifest = manifest.copy()
    for fold, inner in (("test", ("test",)), ("val", ("test", "val"))):
        split = manifest["official_split"]
        held_out = manifest.loc[manifest["keep"] & (split == fold), "group"]
        leaks = manifest["keep"] & manifest["group"].isin(held_out) & ~split.isin(inner)
        if official and leaks.any():
            manifest.loc[leaks, "keep"] = False
            same = copies(manifest).isin(copies(manifest)[held_out.index])
            manifest.loc[leaks & same, "drop_reason"] = f"duplicate of a {_FOLD_NAMES[fold]} image"
            manifest.loc[leaks & ~same, "drop_reason"] = f"in one group with a {_FOLD_NAMES[fold]} image"
    return manifest


def divide(
    manifest: pd.DataFrame,
    levels: Sequence[str],
    seed: int,
    repeat: int = 0,
    official: bool = True,
    folds: int | None = None,
    fraction: float = 1.0,
    test_folds: int | None = None,
) -> Folds:
    """Return the folds of one repeat.

    Args:
        manifest: A row per image, with its group and official split.
        levels: The split levels, which share a common test and validation fold.
        seed: The study's seed; it alone determines a drawn test fold.
        repeat: 0 in the search, 1 to S in the confirmation.
        official: Use the dataset's own test and validation folds if it has them. An official validation fold is used as
            it is in repeat 0, and sets the size per class in the other repeats.
        folds: k of a repeated k-fold: every image outside of the test fold validates once in repeats 1 to k, and
            again in repeats k + 1 to 2k.
        fraction: Share of every class of a training set to keep, at least one group. Smaller shares are subsets of
            larger ones.
        test_folds: k of a repeated k-fold over all images: every kept image tests once in repeats 1 to k, and again in
            repeats k + 1 to 2k, in another partition. The test folds of a round hold the same number of groups per
            class, plus or minus one. The rest is divided as usual, without an official split.

    Raises:
        InputError: A class has too few different images, or the official split does not fit.
    """
    ratios = {level: parse_ratio(level) for level in levels}
    kept = drop_leaks(manifest, official).query("keep").sort_values("item")
    classes = _groups_by_class(kept, official)
    count = sum(len(members.group) for members in classes.values())
    if test_folds is not None and count < test_folds:
        raise InputError(
            f"{test_folds} test folds need at least as many different images, but got {count}: use fewer folds."
        )
    given = {split for members in classes.values() for split in members.split} - {"rest"}
    if len(levels) > 1 and "val" in given:
        raise InputError(
            f"An official validation fold leaves no ratio to compare, but got the splits {', '.join(levels)}: "
            "name one split, or do not use the official split."
        )
    test: list[int] = []
    val: list[int] = []
    train: dict[str, list[int]] = {level: [] for level in levels}
    pool: set[int] = set()
    dealt = 0
    for label, name in sorted(set(zip(manifest["label"], manifest["label_name"], strict=True))):
        members = classes.get(label, _NONE)
        _check_class(name, members, given, test_folds)
        class_test = (
            _test_fold_of(members, seed, repeat, test_folds, dealt)
            if test_folds is not None and repeat > 0
            else _test_groups(members, given, min(ratio[2] for ratio in ratios.values()), seed)
        )
        dealt += len(members.group)
        rest = members.select(~np.isin(members.group, class_test))
        validations = {
            level: _fold_of(rest, seed, repeat, folds)
            if folds is not None and repeat > 0
            else _validation_groups(rest, ratio[1] / (ratio[0] + ratio[1]), key("partition", seed, repeat), repeat)
            for level, ratio in ratios.items()
        }
        test.extend(class_test)
        val.extend(min(validations.values(), key=len))
        for level, validation in validations.items():
            left = rest.select(~np.isin(rest.group, validation))
            train[level].extend(_training_groups(left, key("partition", seed, repeat), fraction))
            pool.update(left.group.tolist())
    return Folds(
        test=_items(kept, test),
        val=_items(kept, val),
        train={level: _items(kept, train[level]) for level in levels},
        pool=_items(kept, list(pool)),
    )


def add_folds(
    manifest: pd.DataFrame, levels: Sequence[str], seed: int, official: bool, split_is_factor: bool
) -> pd.DataFrame:
    """Add repeat 0 as the column `fold` and, if the split is a factor, `split_LEVEL` columns; None if dropped."""
    folds = divide(manifest, levels, seed, official=official)
    manifest = drop_leaks(manifest, official)
    manifest["fold"] = _column(manifest, "pool", {"val": folds.val, "test": folds.test})
    for level in levels if split_is_factor else ():
        parts = {"train": folds.train[level], "val": folds.val, "test": folds.test}
        manifest[f"split_{level}"] = _column(manifest, "unused", parts)
    return manifest


_NONE = _Members(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, object))


def _groups_by_class(kept: pd.DataFrame, official: bool) -> dict[int, _Members]:
    """Return the groups of every label; a group has the label of its first item."""
    groups = kept.groupby("group").agg(
        label=("label", "first"), size=("item", "size"), split=("official_split", "first")
    )
    groups["split"] = groups["split"].where(groups["split"].isin(["test", "val"]) & official, "rest")
    everything = _Members(groups.index.to_numpy(), groups["size"].to_numpy(), groups["split"].to_numpy(object))
    rows = groups.groupby("label").indices
    return {int(cast(int, label)): everything.select(np.asarray(positions)) for label, positions in rows.items()}


def _check_class(name: str, members: _Members, given: set[str], test_folds: int | None) -> None:
    for fold in sorted(given):
        if not (members.split == fold).any():
            raise InputError(
                f"Every class needs a {_FOLD_NAMES[fold]} image, but {name!r} has none in the official "
                "split: add one or remove the class."
            )
    need = 4 if test_folds == 2 else 3 - len(given)  # a test fold takes half of them, and at least two must be left
    rest = members.select(~np.isin(members.split, list(given)))
    if len(rest.group) < need:
        purpose = ", ".join(["training", *(text for fold, text in _FOLD_NAMES.items() if fold not in given)])
        raise InputError(
            f"Class {name!r} needs at least {need} different images for {purpose}, but has "
            f"{rest.size.sum()} ({len(rest.group)} different): add images or remove the class."
        )


def _test_groups(members: _Members, given: set[str], percent: float, seed: int) -> NDArray[np.int64]:
    if "test" in given:
        return members.group[members.split == "test"]
    free = members.select(members.split == "rest")
    spare = 1 if "val" in given else 2  # for training, and for validation unless that is given
    ordered = order(key("test fold", seed), free.group)
    return ordered[: _nearest(free, ordered, members.size.sum() * percent / 100, len(ordered) - spare)]


def _test_fold_of(members: _Members, seed: int, repeat: int, test_folds: int, dealt: int) -> NDArray[np.int64]:
    """Return the test groups of a class: groups are dealt like cards, large ones first, on from the last class."""
    round_, number = divmod(repeat - 1, test_folds)
    ordered = order(key("test k-fold", seed, round_), members.group)
    size_of = dict(zip(members.group.tolist(), members.size.tolist(), strict=True))
    sizes = np.array([size_of[group] for group in ordered.tolist()])
    largest_first = ordered[np.argsort(-sizes, kind="stable")]
    return largest_first[(dealt + np.arange(len(ordered))) % test_folds == number]


def _validation_groups(rest: _Members, share: float, stream: int, repeat: int) -> NDArray[np.int64]:
    given = rest.select(rest.split == "val")
    if len(given.group) and repeat == 0:
        return given.group
    target = given.size.sum() if len(given.group) else rest.size.sum() * share
    from_the_end = order(stream, rest.group)[::-1]
    return from_the_end[: _nearest(rest, from_the_end, target, len(rest.group) - 1)]


def _fold_of(rest: _Members, seed: int, repeat: int, folds: int) -> NDArray[np.int64]:
    """Return one of `folds` nearly equal parts of a class; a class with fewer groups than folds reuses them."""
    round_, number = divmod(repeat - 1, folds)
    ordered = order(key("k-fold", seed, round_), rest.group)
    if len(ordered) < folds:  # every fold needs an image of the class to train on, and one to validate on
        return ordered[number % len(ordered)][None]
    return np.array_split(ordered, folds)[number]


def _training_groups(left: _Members, stream: int, fraction: float) -> NDArray[np.int64]:
    """Return the groups of a class that make up the given fraction of its training set."""
    ordered = order(stream, left.group)
    if fraction == 1:
        return ordered
    return ordered[: _nearest(left, ordered, left.size.sum() * fraction, len(ordered))]


def _nearest(members: _Members, ordered: NDArray[np.int64], target: float, most: int) -> int:
    """Return how many leading groups (1 to `most`) come closest to a target number of images."""
    size = dict(zip(members.group.tolist(), members.size.tolist(), strict=True))
    totals = np.cumsum([size[group] for group in ordered.tolist()])
    return 1 + int(np.argmin(np.abs(totals[:most] - target)))


def _items(kept: pd.DataFrame, groups: Sequence[int]) -> NDArray[np.int64]:
    return np.sort(kept.loc[kept["group"].isin(groups), "item"].to_numpy(dtype=np.int64))


def _column(manifest: pd.DataFrame, other: str, parts: dict[str, NDArray[np.int64]]) -> pd.Series:
    column = pd.Series(other, index=manifest.index, dtype=object)
    column[~manifest["keep"]] = None
    for name, items in parts.items():
        column[manifest["item"].isin(items)] = name
    return column
