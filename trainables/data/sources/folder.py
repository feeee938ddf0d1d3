"""The user's own images, in any known layout.

The layouts are a CSV of images and labels, WebDataset shards, parquet tables, folders with metadata.csv or
metadata.jsonl, and one folder per class, optionally within train/, val/ and test/.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from trainables.data.manifest import Source
from trainables.data.sources import class_folders, class_names, image_folder, label_tables, parquet, table, webdataset
from trainables.data.sources.folds import says_nothing
from trainables.data.sources.tree import Walk, is_image_name, loose_files, passed_by, visible_folders
from trainables.errors import InputError

_NAMED = 5  # files beside the class folders that a note names


def candidates(data: Path, test: Path | None) -> Source:
    """Return every file that could be an image; `test` is a separate folder with one folder per class.

    Raises:
        InputError: The data does not exist, or its layout cannot be read.
    """
    if not data.exists():
        raise InputError(f"The data must be a folder or a CSV file, but {data} does not exist: give --data.")
    if test is not None and test.resolve().is_relative_to(data.resolve()):
        raise InputError(
            f"--test must be outside of the data folder, but {test} is in {data}: move it out, or leave out --test if "
            "train/ and test/ are side by side."
        )
    source = _by_layout(data)
    source = _with(source, class_names.look_alike(candidate.label_name for candidate in source.candidates))
    if test is None:
        return source
    return replace(source, candidates=[*source.candidates, *class_folders.own_test(test, source.candidates)])


def _by_layout(data: Path) -> Source:
    if data.is_file():
        return _listed(data.parent, table.from_csv(data), [data])
    tables, lists = label_tables.look(data), image_folder.lists(data)
    others = [f"left out: {file.name!r}, {why}" for file, why in tables.others.items()]
    if tables.labeled and lists:
        raise InputError(
            f"Only one list of labels is allowed, but {data} has {tables.labeled[0].name} and "
            f"{lists[0].relative_to(data)}: remove one."
        )
    if tables.labeled:
        return _listed(data, label_tables.read(data, tables.labeled), tables.labeled, others)
    if shards := webdataset.shards(data):
        return _with(webdataset.read(data, shards), others)
    if packed := parquet.tables(data):
        return _with(parquet.read(data, packed), others)
    if lists:
        return _listed(data, image_folder.read(data, lists), lists, others)
    return _with(_class_folders(data, tables), [*others, *_other_files(data)])


def _class_folders(data: Path, tables: label_tables.Tables) -> Source:
    """Read class folders; if their names do not look like classes, complain about a table that could not be read.

    The user probably meant that table to give the labels.
    """
    unread = [file for file, why in tables.others.items() if why != label_tables.FORM]
    try:
        source = class_folders.read(data)
    except class_folders.NoClassFolders:
        if unread:
            table.from_csv(unread[0])  # raises with what is wrong with the table
        raise
    if unread and all(says_nothing(candidate.label_name) for candidate in source.candidates):
        table.from_csv(unread[0])
    return source


def _listed(data: Path, source: Source, tables: list[Path], others: Sequence[str] = ()) -> Source:
    walk = Walk(data)
    visible_folders(data, walk)
    beside = table.unlisted(data, source.candidates, tables, walk)
    return _with(source, [*beside, *others, *passed_by(walk)])


def _other_files(data: Path) -> list[str]:
    """Return a note on files beside the class folders that are neither images nor tables, such as archives."""
    names = [name for name in loose_files(data) if not is_image_name(name) and not label_tables.is_table(name)]
    if not names:
        return []
    more = " and others" if names[_NAMED:] else ""
    return [f"left out: {', '.join(map(repr, names[:_NAMED]))}{more}, beside the class folders"]


def _with(source: Source, notes: list[str]) -> Source:
    return replace(source, notes=[*source.notes, *notes])
