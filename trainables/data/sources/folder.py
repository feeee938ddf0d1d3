"""Anybody's own pictures, in whichever layout lies in the folder.

A CSV of path and label, WebDataset shards, parquet tables, a folder with metadata.csv or metadata.jsonl, a folder
per class, or train/val/test of them.
"""

from pathlib import Path

from trainables.data.manifest import Source
from trainables.data.sources import class_folders, groups, image_folder, parquet, table, webdataset
from trainables.errors import InputError


def candidates(data: Path, test: Path | None) -> Source:
    """Every file that could be a picture; `test` is a folder of class folders apart."""
    if not data.exists():
        raise InputError(f"The data must be a folder or a CSV file, but {data} does not exist: give --data.")
    source = _by_layout(data)
    if test is None:
        return source
    return Source([*source.candidates, *class_folders.own_test(test, source.candidates)], source.label_names)


def _by_layout(data: Path) -> Source:
    if one := data if data.is_file() else _only_table(data):
        return Source(table.from_csv(one))
    if shards := webdataset.shards(data):
        return webdataset.read(data, shards)
    if tables := parquet.tables(data):
        return parquet.read(data, tables)
    if lists := image_folder.lists(data):
        return image_folder.read(data, lists)
    return Source(class_folders.candidates(data))


def _only_table(data: Path) -> Path | None:
    """The folder's only CSV file beside groups.csv, if its columns are those of a list of pictures."""
    tables = sorted(file for file in data.glob("*.csv") if file.name != groups.FILE)
    if len(tables) == 1 and {"path", "label"} <= set(table.read(tables[0]).columns):
        return tables[0]
    return None
