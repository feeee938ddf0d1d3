"""List the folders and files of a data folder, with the same rules for links and junk in all sources.

Links are followed, even out of the folder, because a subset of a collection is often a folder of links that its owner
created. Each folder is entered once: at its real path if that is in the data, and never from inside itself.
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

# Extensions of image files. Only the content decides what a file is; a name shows what its owner meant.
IMAGE_ENDINGS = ("jpg", "jpeg", "jfif", "png", "webp", "gif", "bmp", "tif", "tiff")

# Left behind by systems and tools, like all names that begin with a dot. In lower case.
_JUNK_FOLDERS = ("__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found")
_JUNK_FILES = ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r")


@dataclass
class Walk:
    """A walk through the data below `root`, with the folders that it entered and the paths that it left out."""

    root: Path
    entered: dict[str, Path] = field(default_factory=dict)  # by real path
    junk: dict[Path, None] = field(default_factory=dict)  # in the order of the walk
    broken: dict[Path, None] = field(default_factory=dict)  # broken links among the class folders
    passed: dict[Path, str] = field(default_factory=dict)  # links to folders that were not followed, with the reason
    outside: list[Path] = field(default_factory=list)  # files that are outside of `root`, behind links


def is_junk(name: str) -> bool:
    """Whether a name belongs to a folder or file that nobody means as a class or an image."""
    return name.startswith(".") or name.lower() in (*_JUNK_FOLDERS, *_JUNK_FILES)


def is_image_name(name: str) -> bool:
    return name.rpartition(".")[2].lower() in IMAGE_ENDINGS and not name.startswith(".")


def visible_folders(folder: Path, walk: Walk | None = None) -> list[Path]:
    """Return the subfolders by name, including links, except for junk and links to folders that are read anyway.

    Raises:
        InputError: The folder cannot be listed.
    """
    walk = walk or Walk(folder)
    entries = _entries(folder, walk)
    walk.broken |= {path: None for path, kind in entries if kind == "broken"}
    return [path for path, kind in entries if kind == "folder" and _may_enter(path, walk)]


def files_below(folder: Path, root: Path, walk: Walk | None = None) -> list[str]:
    """Return the regular files and broken links at any depth, relative to `root`, except for hidden ones.

    Raises:
        InputError: A folder cannot be listed.
    """
    walk = walk or Walk(root)
    real_root = os.path.realpath(root)
    reached: list[Path] = []
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
        reached += files
        beyond = not _lies_in(real, real_root)
        walk.outside += [file for file in files if beyond or _leads_out(file, real_root)]
        folders = [path for path, kind in entries if kind == "folder" and _may_enter(path, walk)]
        pending += sorted(folders, key=lambda path: (not path.is_symlink(), path), reverse=True)  # real ones first
    return sorted(path.relative_to(root).as_posix() for path in reached)


def loose_files(folder: Path) -> list[str]:
    """Return the names of the files directly in a folder, without junk."""
    return [path.name for path, kind in _entries(folder, Walk(folder)) if kind == "file" and not is_junk(path.name)]


def passed_by(walk: Walk) -> list[str]:
    """Return a note on each kind of path that a walk left out, and on links that lead out of the data folder."""
    lines = [f"left out: {_named(path, walk)!r}, {why}" for path, why in sorted(walk.passed.items())]
    if walk.broken:
        lines.append(f"left out: {_counted(walk.broken, 'broken link', walk)}")
    if walk.junk:
        lines.append(f"left out: {_counted(walk.junk, 'hidden or system file', walk)}")
    if walk.outside:
        links = _counted(walk.outside, "file", walk)
        lines.append(f"followed: links to {links}; every machine of a cluster must be able to read the targets")
    return lines


def _counted(paths: Collection[Path], kind: str, walk: Walk) -> str:
    first = _named(next(iter(paths)), walk)
    return f"{len(paths)} {kind}s, such as {first!r}" if len(paths) > 1 else f"1 {kind}, {first!r}"


def files_ending(data: Path, ending: str) -> list[Path]:
    """Return the files with an extension at the top of `data`, in its folder data/ and in the folders of a split.

    The list is empty if there is any other folder: then the folders are classes, and the files are something else.
    """
    folders = visible_folders(data)
    if any(folder.name.lower() != "data" and fold_of(folder.name) is None for folder in folders):
        return []
    by_folder = [sorted(folder.glob(f"*{ending}")) for folder in folders]
    if not all(by_folder):
        return []
    files = [*sorted(data.glob(f"*{ending}")), *(file for files in by_folder for file in files)]
    return [file for file in files if file.is_file() and not is_junk(file.name)]


def _entries(folder: Path, walk: Walk) -> list[tuple[Path, str]]:
    """Return the entries of a folder by name, with their kind, without hidden entries and junk folders."""
    entries = []
    with _readable(folder), os.scandir(folder) as listed:
        for entry in sorted(listed, key=lambda entry: entry.name):
            path = folder / entry.name
            kind = "hidden" if entry.name.startswith(".") else _kind(entry)
            # Junk files that are not hidden are judged by their content like all others, and counted as dropped.
            if kind == "hidden" or (kind == "folder" and is_junk(entry.name)):
                walk.junk[path] = None
                continue
            entries.append((path, kind))
    return entries


def _kind(entry: os.DirEntry[str]) -> str:
    """Return "folder", "file", "broken" (a link to nothing) or "other" (a pipe or device, which may have no end)."""
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
        walk.passed[folder] = "a link to a folder that contains it"
    elif _lies_in(real, root) and not any(map(is_junk, Path(real).relative_to(root).parts)):
        walk.passed[folder] = f"a link to {os.path.relpath(real, root)}, which is read itself"
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
    """Raise if a folder cannot be listed, because a class or its images would be missing silently."""
    try:
        yield
    except OSError as error:
        path, reason = error.filename or str(folder), (error.strerror or "input or output error").lower()
        raise InputError(f"{path!r} cannot be read ({reason}): check its permissions, or move it away.") from error
