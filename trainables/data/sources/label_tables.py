"""Find the tables at the top of a data folder that list labeled images, and say why the others do not."""

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from trainables.data.manifest import Source
from trainables.data.sources import class_names, columns, groups, image_folder, places, table
from trainables.data.sources.folds import FOLDS, fold_in
from trainables.data.sources.tree import loose_files, visible_folders
from trainables.errors import InputError

_HEAD = 100  # rows read to find out what a table is
FORM = "a submission template"


@dataclass(frozen=True)
class Tables:
    """The tables with labels, and the other tables with the reason why they are not read."""

    labeled: list[Path] = field(default_factory=list)
    others: dict[Path, str] = field(default_factory=dict)


def is_table(name: str) -> bool:
    return name.lower().endswith((".csv", ".tsv"))


def look(data: Path) -> Tables:
    """Sort all CSV and TSV files of the folder, except groups.csv and Hugging Face's metadata.csv."""
    known = {data / groups.FILE, *image_folder.lists(data)}
    tables = Tables()
    for name in loose_files(data):
        file = data / name
        if not is_table(name) or file in known:
            continue
        if reason := _why_not(file):
            tables.others[file] = reason
        else:
            tables.labeled.append(file)
    return tables


def read(data: Path, tables: list[Path]) -> Source:
    """Read one table, or several tables with the names of folds.

    Raises:
        InputError: Several tables are not named after folds that include train, list an image twice, or cannot be read.
    """
    if len(tables) == 1:
        return table.from_csv(tables[0])
    by_fold = {fold: file for file in tables if (fold := fold_in(file.stem))}
    if "train" not in by_fold or len(by_fold) < len(tables):
        names = ", ".join(file.name for file in tables)
        raise InputError(
            f"Only one table of labels is allowed, but {data} has {names}: keep one, or name them train.csv, val.csv "
            "and test.csv if they are the folds."
        )
    sources = {fold: table.from_csv(by_fold[fold], fold) for fold in FOLDS if fold in by_fold}
    candidates = [candidate for source in sources.values() for candidate in source.candidates]
    paths = [candidate.path for candidate in candidates]
    if len(set(paths)) < len(paths):
        twice = next(path for number, path in enumerate(paths) if path in set(paths[:number]))
        raise InputError(f"Two tables of {data} list {twice!r}: keep one row.")
    layouts = [f"{source.layout} ({fold})" for fold, source in sources.items()]
    notes = [note for source in sources.values() for note in source.notes]
    return Source(candidates, layout="; ".join(layouts), notes=notes)


def _lists_classes(labels: pd.Series, data: Path) -> bool:
    """Whether a table lists class folders that are beside it, each once: then it does not list images."""
    classes = {class_names.clean(folder.name) for folder in visible_folders(data)}
    named = labels.map(class_names.clean)
    return len(named) > 1 and named.is_unique and set(named) <= classes


def _why_not(file: Path) -> str | None:
    if "submission" in file.stem.lower():
        return FORM
    try:
        rows = table.read(file, _HEAD)
        roles = columns.find(rows)
    except InputError as error:
        return str(error)
    except ValueError as error:
        return f"its columns are {error}"
    if (roles.image, roles.label) == ("path", "label"):
        return None
    if rows.empty:
        return "no rows"
    if roles.label and not rows[roles.label].str.strip().any():
        return "no labels"
    if roles.label and _lists_classes(rows[roles.label], file.parent):
        return "a list of the classes"
    if not places.any_of(list(rows[roles.image]), file):
        return f"no image {rows[roles.image].iloc[0]!r} here"
    return None
