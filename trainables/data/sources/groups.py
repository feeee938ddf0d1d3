"""The user's own groups: groups.csv names images that belong together, such as those of one patient or one scene."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from trainables.data.manifest import Candidate, data_folder
from trainables.data.sources import places, table
from trainables.errors import InputError

FILE = "groups.csv"


def add_groups(data: Path, candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates with the groups that groups.csv (path, group) in the data folder names; others have none."""
    file = data_folder(data) / FILE
    if not file.is_file():
        return list(candidates)
    if any(one.group for one in candidates):
        raise InputError(f"One table of groups is enough, but {file} is a second: take it or the column group away.")
    groups = _read(file)
    unknown = sorted(groups.keys() - {one.path for one in candidates})
    if unknown:
        raise InputError(
            f"{len(unknown)} of {len(groups)} images of {file} are not in the data, the first is {unknown[0]!r}: "
            "write paths from the data folder on, or take the rows out."
        )
    return [replace(one, group=groups.get(one.path)) for one in candidates]


def _read(file: Path) -> dict[str, str | None]:
    rows = table.read(file)
    if not {"path", "group"} <= set(rows.columns):
        raise InputError(f"{file} must have the columns path and group, but has {', '.join(rows.columns)}.")
    paths = [_below(path, file) for path in rows["path"]]
    groups = {path: group or None for path, group in zip(paths, rows["group"], strict=True)}
    if len(groups) < len(paths):
        twice = next(path for number, path in enumerate(paths) if path in paths[:number])
        raise InputError(f"{file} lists {twice!r} twice: leave one row.")
    return groups


def _below(path: str, file: Path) -> str:
    """As in a table of images; any other path may be that of the user's own test images, outside of the data."""
    try:
        return places.below(path, file)
    except InputError:
        return Path(path).as_posix()
