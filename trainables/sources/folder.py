"""Anybody's own pictures: a folder of class folders, train/val/test of them, or a CSV of path and label."""

import os
from pathlib import Path

import pandas as pd

from trainables.errors import InputError
from trainables.manifest import Candidate, Source

_SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def candidates(data: Path, test: Path | None) -> Source:
    """Every file that could be a picture; `test` is a folder of class folders apart."""
    if not data.exists():
        raise InputError(f"The data must be a folder or a CSV file, but {data} does not exist: give --data.")
    table = data if data.is_file() else _only_table(data)
    found = _from_table(table) if table else _from_folders(data)
    if test is not None:
        found += _from_test(test, found)
    return Source(found)


def visible_folders(folder: Path) -> list[Path]:
    """Subfolders by name; hidden ones and links out of the folder are none."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and _belongs(path, folder))


def files_below(folder: Path, root: Path) -> list[str]:
    """Regular files at any depth, relative to `root`; hidden ones and links out of `root` are none."""
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files = (Path(parent) / name for name in names)
        found += [file.relative_to(root).as_posix() for file in files if file.is_file() and _belongs(file, root)]
    return sorted(found)


def _belongs(path: Path, root: Path) -> bool:
    return not path.name.startswith(".") and path.resolve().is_relative_to(root.resolve())


def _from_folders(data: Path) -> list[Candidate]:
    folders = visible_folders(data)
    splits = [folder for folder in folders if folder.name.lower() in _SPLITS]
    names = {_SPLITS[folder.name.lower()] for folder in splits}
    if "train" not in names or (len(names) == 1 and len(folders) > 1):  # a class may be called "train"
        return _from_classes(data, data)
    if len(splits) < len(folders):
        other = next(folder for folder in folders if folder not in splits)
        raise InputError(f"Beside train/, val/ and test/ no other folder may stand, but {other} does: move it away.")
    found = [
        Candidate(one.path, one.label_name, _SPLITS[folder.name.lower()])
        for folder in splits
        for one in _from_classes(folder, data)
    ]
    known = {one.label_name for one in found if one.official_split == "train"}
    _check_known([one for one in found if one.official_split != "train"], known)
    return found


def _from_classes(folder: Path, root: Path) -> list[Candidate]:
    found = [Candidate(path, one.name) for one in visible_folders(folder) for path in files_below(one, root)]
    if not found:
        raise InputError(
            f"A folder of pictures has one subfolder with pictures per class, but {folder} has none: "
            "sort the pictures into subfolders (links out of the folder are not followed)."
        )
    return found


def _from_test(test: Path, training: list[Candidate]) -> list[Candidate]:
    if not test.is_dir():
        raise InputError(f"The test pictures must be a folder of class folders, but {test} is none: give --test.")
    if any(one.official_split == "test" for one in training):
        raise InputError(f"One test set is enough, but the data has one and {test} is another: leave one out.")
    root = test.absolute()
    found = [Candidate(str(root / one.path), one.label_name, "test") for one in _from_classes(root, root)]
    _check_known(found, {one.label_name for one in training})
    return found


def _check_known(found: list[Candidate], known: set[str]) -> None:
    for one in found:
        if one.label_name not in known:
            raise InputError(
                f"Each held-out class needs training pictures, but {one.label_name!r} ({one.path}) has none: "
                f"rename it or take it away; the classes are {', '.join(sorted(known)[:10])}."
            )


def _only_table(data: Path) -> Path | None:
    """The folder's only CSV file, if its columns are those of a list of pictures."""
    tables = sorted(data.glob("*.csv"))
    if len(tables) == 1 and {"path", "label"} <= set(_read(tables[0]).columns):
        return tables[0]
    return None


def _from_table(table: Path) -> list[Candidate]:
    rows = _read(table)
    if not {"path", "label"} <= set(rows.columns):
        raise InputError(f"{table} must have the columns path and label, but has {', '.join(rows.columns)}.")
    if rows.empty:
        raise InputError(f"{table} must list pictures, but has no rows: add some.")
    splits = rows["split"].str.lower() if "split" in rows else pd.Series("", index=rows.index)
    root = table.parent.resolve()
    for path, label, split in zip(rows["path"], rows["label"], splits, strict=True):
        if not path or not label:
            raise InputError(f"Each row of {table} needs a path and a label, but got {path!r}, {label!r}: fill it in.")
        if not (root / path).resolve().is_relative_to(root) or Path(path).is_absolute():
            raise InputError(f"The paths of {table} stay below its folder, but {path!r} does not: move the picture.")
        if split and split not in _SPLITS:
            raise InputError(f"A split in {table} is train, val, test or empty, but {path!r} has {split!r}.")
    _check_files(table, list(rows["path"]))
    return [
        Candidate(Path(path).as_posix(), label, _SPLITS.get(split))
        for path, label, split in zip(rows["path"], rows["label"], splits, strict=True)
    ]


def _check_files(table: Path, paths: list[str]) -> None:
    missing = [path for path in paths if not (table.parent / path).is_file()]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(paths)} pictures of {table} do not exist, the first is {missing[0]!r}: "
            "put them there or take the rows out."
        )
    twice = pd.Series([Path(path).as_posix() for path in paths])
    if twice.duplicated().any():
        raise InputError(f"{table} lists {twice[twice.duplicated()].iloc[0]!r} twice: leave one row.")


def _read(table: Path) -> pd.DataFrame:
    """All columns as text, so a class may be called 1 or NA."""
    try:
        return pd.read_csv(table, dtype=str, keep_default_na=False, encoding="utf-8-sig", skipinitialspace=True)
    except (OSError, ValueError) as error:  # pandas' parser errors and bad UTF-8 are ValueErrors
        reason = " ".join(str(error).split())
        raise InputError(f"{table} cannot be read as a CSV file ({reason}): save it as UTF-8.") from error
