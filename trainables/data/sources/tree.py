"""What lies in a data folder: class folders and files. One rule for links and for junk, for all sources.

Links are followed, also out of the folder: a subset of a collection is often a folder of links to it, and its owner
made them. A folder is entered once, at its real place where it has one in the data, and never from within itself.
"""

import errno
import os
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from trainables.data.sources.folds import fold_of
from trainables.errors import InputError

# What image files are called. What a file is tells its content alone; a name tells only what was meant.
IMAGE_ENDINGS = ("jpg", "jpeg", "jfif", "png", "webp", "gif", "bmp", "tif", "tiff")

# Left by systems and tools, like all that begins with a dot. Names in lower case.
_JUNK_FOLDERS = ("__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found")
_JUNK_FILES = ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r")


@dataclass
class Walk:
    """A walk through the data below `root`: which folders it entered, and what it passed by."""

    root: Path
    entered: dict[str, Path] = field(default_factory=dict)  # by their real place
    junk: dict[Path, None] = field(default_factory=dict)  # in the order met
    broken: dict[Path, None] = field(default_factory=dict)  # links to nothing among the class folders
    passed: dict[Path, str] = field(default_factory=dict)  # links to folders that are not followed, and why
    outside: list[Path] = field(default_factory=list)  # files behind links that lead out of `root`


def is_junk(name: str) -> bool:
    """A folder or file that nobody means by a class or an image."""
    return name.startswith(".") or name.lower() in (*_JUNK_FOLDERS, *_JUNK_FILES)


def is_image_name(name: str) -> bool:
    return name.rpartition(".")[2].lower() in IMAGE_ENDINGS and not name.startswith(".")


def visible_folders(folder: Path, walk: Walk | None = None) -> list[Path]:
    """Subfolders by name, also behind links; junk and links to what is read anyway are none."""
    walk = walk or Walk(folder)
    entries = _entries(folder, walk)
    walk.broken |= {path: None for path, kind in entries if kind == "broken"}
    return [path for path, kind in entries if kind == "folder" and _may_enter(path, walk)]


def files_below(folder: Path, root: Path, walk: Walk | None = None) -> list[str]:
    """Regular files and broken links at any depth, relative to `root`; hidden ones are none."""
    walk = walk or Walk(root)
    real_root = os.path.realpath(root)
    found: list[Path] = []
    pending = [folder]
    while pending:
        here = pending.pop()
        real = os.path.realpath(here)
        if real in walk.entered:
            walk.passed[here] = f"the same folder as {_named(walk.entered[real], walk)}"
            continue
        walk.entered[real] = here
        entries = _entries(here, walk)
        files = [path for path, kind in entries if kind in ("file", "broken")]
        found += files
        beyond = not _lies_in(real, real_root)
        walk.outside += [file for file in files if beyond or _leads_out(file, real_root)]
        folders = [path for path, kind in entries if kind == "folder" and _may_enter(path, walk)]
        pending += sorted(folders, key=lambda path: (not path.is_symlink(), path), reverse=True)  # real ones first
    return sorted(path.relative_to(root).as_posix() for path in found)


def loose_files(folder: Path) -> list[str]:
    """The names of the files in a folder itself, without junk."""
    return [path.name for path, kind in _entries(folder, Walk(folder)) if kind == "file" and not is_junk(path.name)]


def passed_by(walk: Walk) -> list[str]:
    """A line for each kind of thing that a walk left out, and for links that other machines must be able to follow."""
    lines = [f"left out: {_named(path, walk)!r}, {why}" for path, why in sorted(walk.passed.items())]
    if walk.broken:
        lines.append(f"left out: {_counted(walk.broken, 'broken link', walk)}")
    if walk.junk:
        lines.append(f"left out: {_counted(walk.junk, 'hidden or system file', walk)}")
    if walk.outside:
        links = _counted(walk.outside, "file", walk)
        lines.append(f"followed: links to {links}: each machine of a cluster must see the targets")
    return lines


def _counted(paths: Collection[Path], kind: str, walk: Walk) -> str:
    first = _named(next(iter(paths)), walk)
    return f"{len(paths)} {kind}s, the first is {first!r}" if len(paths) > 1 else f"1 {kind}, {first!r}"


def files_ending(data: Path, ending: str) -> list[Path]:
    """Files of one kind at the top of `data` and in its folders data/ and those of an official split.

    Empty where another folder stands beside them: then the folders are classes, and the files something else.
    """
    folders = visible_folders(data)
    if any(folder.name.lower() != "data" and fold_of(folder.name) is None for folder in folders):
        return []
    found = [sorted(folder.glob(f"*{ending}")) for folder in folders]
    if not all(found):
        return []
    files = [*sorted(data.glob(f"*{ending}")), *(file for files in found for file in files)]
    return [file for file in files if file.is_file() and not is_junk(file.name)]


def _entries(folder: Path, walk: Walk) -> list[tuple[Path, str]]:
    """What lies in a folder, by name and with its kind, without what nobody means."""
    entries = []
    with _readable(folder), os.scandir(folder) as listed:
        for entry in sorted(listed, key=lambda entry: entry.name):
            path = folder / entry.name
            kind = "hidden" if entry.name.startswith(".") else _kind(entry)
            # Junk files with plain names are judged by their content like all others: they are counted as dropped.
            if kind == "hidden" or (kind == "folder" and is_junk(entry.name)):
                walk.junk[path] = None
                continue
            entries.append((path, kind))
    return entries


def _kind(entry: os.DirEntry[str]) -> str:
    """Folder, file or broken (a link to nothing); anything else is a pipe or a device, which has no end."""
    try:
        mode = entry.stat().st_mode if entry.is_symlink() else None
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return "broken"
        raise
    if entry.is_dir() if mode is None else stat.S_ISDIR(mode):
        return "folder"
    return "file" if (entry.is_file() if mode is None else stat.S_ISREG(mode)) else "other"


def _may_enter(folder: Path, walk: Walk) -> bool:
    if not folder.is_symlink():
        return True
    real, root = os.path.realpath(folder), os.path.realpath(walk.root)
    if _lies_in(root, real) or _lies_in(os.path.realpath(folder.parent), real):
        walk.passed[folder] = "a link to a folder around it"
    elif _lies_in(real, root) and not any(map(is_junk, Path(real).relative_to(root).parts)):
        walk.passed[folder] = f"a link to {os.path.relpath(real, root)}, which is read at its own place"
    else:
        return True
    return False


def _lies_in(inner: str, outer: str) -> bool:
    return Path(inner).is_relative_to(outer)


def _leads_out(file: Path, real_root: str) -> bool:
    return file.is_symlink() and os.path.exists(file) and not _lies_in(os.path.realpath(file), real_root)


def _named(path: Path, walk: Walk) -> str:
    return path.relative_to(walk.root).as_posix() if path.is_relative_to(walk.root) else str(path)


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """A folder that cannot be listed would be a class without its images, or a class less."""
    try:
        yield
    except OSError as error:
        place, reason = error.filename or str(folder), (error.strerror or "input or output error").lower()
        raise InputError(f"{place!r} cannot be read ({reason}): allow it, or move it out of the data.") from error
