"""Hugging Face's parquet tables of images: the columns are image (bytes and path) and label."""

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from trainables.data.archives import MAX_MEMBERS, MAX_RATIO, SMALL
from trainables.data.manifest import Candidate, Source
from trainables.data.sources import class_names
from trainables.data.sources.folds import split_of
from trainables.data.sources.tree import IMAGE_ENDINGS, files_below, files_ending
from trainables.data.sources.unpacked import unpack
from trainables.errors import InputError

_BATCH = 64  # rows in memory at once; each holds an image of a few megabytes at most


def tables(data: Path) -> list[Path]:
    return files_ending(data, ".parquet")


def read(data: Path, tables: list[Path]) -> Source:
    """Unpack the images of all tables; class numbers are named by the table itself, else by classes.txt.

    Raises:
        InputError: A table cannot be read, lacks a column, or has a row without image or label.
    """
    listed = class_names.read(data)
    candidates: list[Candidate] = []
    order: dict[str, None] = {}
    for table in tables:
        labels, own = _labels(table)
        names = own or listed
        folder = unpack(table, data, lambda part, table=table: _write(table, part))
        for row, (path, label) in enumerate(zip(files_below(folder, data), labels, strict=True)):
            name = class_names.name_of(label, names, f"row {row} of {table}")
            candidates.append(Candidate(path, name, split_of(table, data)))
        order |= dict.fromkeys(names or ())
    if not order:
        class_names.check_single((candidate.label_name for candidate in candidates), str(data))
    layout = f"{len(tables)} parquet table{'s' if len(tables) > 1 else ''}"
    label_names = [candidate.label_name for candidate in candidates]
    return Source(candidates, class_names.in_order(label_names, list(order) or None), layout)


def _labels(table: Path) -> tuple[list[Any], list[str] | None]:
    """Return the column label, and the class names if the table has them."""
    try:
        import pyarrow.parquet as pq

        schema = pq.read_schema(table)
        if "label" in schema.names and _holds_bytes(schema):
            return pq.read_table(table, columns=["label"])["label"].to_pylist(), _names(schema.metadata or {})
    except Exception as error:  # pyarrow passes on any error of its parsers
        raise _unreadable(table, error) from error
    raise InputError(
        f"{table} must have the columns image (with bytes and path) and label, but has "
        f"{', '.join(f'{field.name} ({field.type})' for field in schema)}: rename them."
    )


def _holds_bytes(schema: Any) -> bool:
    from pyarrow import types

    if "image" not in schema.names:
        return False
    image = schema.field("image").type
    if not types.is_struct(image) or image.get_field_index("bytes") < 0:
        return False
    content = image.field("bytes").type
    return types.is_binary(content) or types.is_large_binary(content)


def _names(metadata: dict[bytes, bytes]) -> list[str] | None:
    try:
        names = json.loads(metadata[b"huggingface"])["info"]["features"]["label"]["names"]
    except (
        KeyError,
        TypeError,
        ValueError,
        RecursionError,
    ):  # no class labels, or not a table of Hugging Face's library
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    return [class_names.clean(name) or name for name in names]


def _write(table: Path, folder: Path) -> None:
    """Write each image as ROW.SUFFIX; the untrusted path contributes only its suffix, and only a known one."""
    allowance = table.stat().st_size * MAX_RATIO + SMALL
    for row, image in enumerate(_images(table, allowance)):
        if not image or not (content := image["bytes"]):
            raise InputError(f"Each row must have an image, but row {row} of {table} has no bytes: download it again.")
        allowance -= len(content)
        if allowance < 0 or row >= MAX_MEMBERS:
            raise InputError(f"{table} would grow more than {MAX_RATIO}-fold, or has too many rows: download it again.")
        suffix = PurePosixPath(str(image.get("path"))).suffix.lower()
        (folder / f"{row:08}{suffix if suffix[1:] in IMAGE_ENDINGS else ''}").write_bytes(content)


def _images(table: Path, allowance: int) -> Iterator[dict[str, Any] | None]:
    try:
        import pyarrow.parquet as pq

        with pq.ParquetFile(table) as opened:
            groups = (opened.metadata.row_group(number) for number in range(opened.metadata.num_row_groups))
            if sum(group.total_byte_size for group in groups) > allowance:
                raise ValueError(f"it would grow more than {MAX_RATIO}-fold")
            for batch in opened.iter_batches(_BATCH, columns=["image"]):
                yield from batch.column("image").to_pylist()
    except Exception as error:
        raise _unreadable(table, error) from error


def _unreadable(table: Path, error: Exception) -> InputError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return InputError(f"{table} cannot be read as a parquet table ({reason}): download it again.")
