"""The user's own groups: groups.csv lists images that belong together, such as all images of a patient or a scene."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from trainables.data.manifest import Candidate, data_folder
from trainables.data.sources import places, table
from trainables.errors import InputError

FILE = "groups.csv"


def add_groups(data: Path, candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates with their groups from groups.csv (path, group) in the data folder; others have none.

    Raises:
        InputError: groups.csv cannot be read, lists unknown images or an image twice, or groups are given elsewhere.
    """
    file = data_folder(data) / FILE
    if not file.is_file():
        return list(candidates)
    if any(candidate.group for candidate in candidates):
        raise InputError(f"Only one source of groups is allowed, but got {file} and a column group: remove one.")
    groups = _read(file)
    unknown = sorted(groups.keys() - {candidate.path for candidate in candidates})
    if unknown:
        raise InputError(
            f"{len(unknown)} of {len(groups)} images of {file} are not in the data, the first is {unknown[0]!r}: "
            "write paths relative to the data folder, or remove the rows."
        )
    return [replace(candidate, group=groups.get(candidate.path)) for candidate in candidates]


def _read(file: Path) -> dict[str, str | None]:
    rows = table.read(file)
    if not {"path", "group"} <= set(rows.columns):
        raise InputError(f"{file} must have the columns path and group, but has {', '.join(rows.columns)}.")
    paths = [_below(path, file) for path in rows["path"]]
    groups = {path: group or None for path, group in zip(paths, rows["group"], strict=True)}
    if len(groups) < len(paths):
        twice = next(path for number, path in enumerate(paths) if path in paths[:number])
        raise InputError(f"{file} lists {twice!r} twice: keep one row.")
    return groups


def _below(path: str, file: Path) -> str:
    """Return a path as in a table of images; any other path may belong to the user's own test images."""
    try:
        return places.below(path, file)
    except InputError:
        return Path(path).as_posix()
