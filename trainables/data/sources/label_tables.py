"""The tables at the top of a data folder: which of them list labeled images, and why the others do not."""

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from trainables.data.manifest import Source
from trainables.data.sources import class_names, columns, groups, image_folder, places, table
from trainables.data.sources.folds import FOLDS, fold_in
from trainables.data.sources.tree import loose_files, visible_folders
from trainables.errors import InputError

_HEAD = 100  # rows that tell what a table is
FORM = "a form for predictions"


@dataclass(frozen=True)
class Tables:
    labelled: list[Path] = field(default_factory=list)
    others: dict[Path, str] = field(default_factory=dict)  # and why they are not read


def is_table(name: str) -> bool:
    return name.lower().endswith((".csv", ".tsv"))


def look(data: Path) -> Tables:
    """Every CSV and TSV file of the folder but groups.csv and Hugging Face's metadata.csv."""
    known = {data / groups.FILE, *image_folder.lists(data)}
    found = Tables()
    for name in loose_files(data):
        file = data / name
        if not is_table(name) or file in known:
            continue
        if reason := _why_not(file):
            found.others[file] = reason
        else:
            found.labelled.append(file)
    return found


def read(data: Path, tables: list[Path]) -> Source:
    """One table, or several whose names are those of folds.

    Raises:
        InputError: of several the names do not tell a fold each, train among them, or they list an image twice.
    """
    if len(tables) == 1:
        return table.from_csv(tables[0])
    by_fold = {fold: file for file in tables if (fold := fold_in(file.stem))}
    if "train" not in by_fold or len(by_fold) < len(tables):
        names = ", ".join(file.name for file in tables)
        raise InputError(
            f"One table of labels is enough, but {data} has {names}: leave one, or call them train.csv, val.csv and "
            "test.csv, if they are the folds."
        )
    sources = {fold: table.from_csv(by_fold[fold], fold) for fold in FOLDS if fold in by_fold}
    found = [one for source in sources.values() for one in source.candidates]
    paths = [one.path for one in found]
    if len(set(paths)) < len(paths):
        twice = next(path for number, path in enumerate(paths) if path in set(paths[:number]))
        raise InputError(f"Two tables of {data} list {twice!r}: leave one row.")
    said = [f"{source.layout} ({fold})" for fold, source in sources.items()]
    notes = [note for source in sources.values() for note in source.notes]
    return Source(found, layout="; ".join(said), notes=notes)


def _lists_classes(labels: pd.Series, data: Path) -> bool:
    """Whether a table names class folders that lie beside it, and each once: their numbers, say, and no images."""
    classes = {class_names.clean(folder.name) for folder in visible_folders(data)}
    named = labels.map(class_names.clean)
    return len(named) > 1 and named.is_unique and set(named) <= classes


def _why_not(file: Path) -> str | None:
    if "submission" in file.stem.lower():
        return FORM
    try:
        rows = table.read(file, _HEAD)
        meant = columns.find(rows)
    except InputError as error:
        return str(error)
    except ValueError as error:
        return f"its columns are {error}"
    if (meant.image, meant.label) == ("path", "label"):
        return None
    if rows.empty:
        return "no rows"
    if meant.label and not rows[meant.label].str.strip().any():
        return "no labels"
    if meant.label and _lists_classes(rows[meant.label], file.parent):
        return "a list of the classes"
    if not places.any_of(list(rows[meant.image]), file):
        return f"no image here is {rows[meant.image].iloc[0]!r}"
    return None
