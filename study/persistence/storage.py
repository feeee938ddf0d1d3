"""Local folders that mirror a remote --out. With a local --out these functions do nothing.

The driver has a mirror below --cache, and the trials of a node share another one. The remote is the source of truth.
Files that a crash must not lose (the ledger, checkpoints, models, predictions) are uploaded with `put` by the process
that writes them, before they take effect. The driver pushes everything that can be made again (tables, report, event
files) from time to time.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from study.persistence.remote import Remote, RemoteError, is_uri, state_of
from study.results import STUDY_FILE
from trainables.cache_layout import MIRRORS

MODELS, CHECKPOINTS = "models", "checkpoints"
RAY_FOLDER = ".ray"  # Tune and Train write here; nobody reads it
_PUT_BY_THEIR_WRITERS = ("ledger", MODELS, CHECKPOINTS)
_AT_ONCE = 16

_MIRRORS: dict[Path, Remote] = {}  # of this process


def home(uri: str, cache: Path) -> Path:
    """Return the folder of a remote's mirrors on this machine."""
    return cache.absolute() / MIRRORS / hashlib.sha256(uri.encode()).hexdigest()[:16]


def mirror(folder: Path, uri: str, names: Iterable[str] = ()) -> None:
    """Make `folder` a mirror of the remote in this process, and download the files and folders called `names`.

    Raises:
        InputError: the address is not supported.
        RemoteError: the remote cannot be reached or read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _MIRRORS[folder] = Remote(uri)
    pull(folder, *names)


def uri_of(out: Path) -> str | None:
    """Return the address that `out` mirrors; None if it is not a mirror."""
    return _MIRRORS[out].uri if out in _MIRRORS else None


def names(out: Path, name: str) -> list[str]:
    """Return the files at or below `name` in `out`. Those of a mirror are the remote's, downloaded or not."""
    if (remote := _MIRRORS.get(out)) is not None:
        return list(remote.listing(name))
    return [file.relative_to(out).as_posix() for file in _files(out / name)]


def for_ray(out: Path, name: str) -> dict[str, Any]:
    """Return the arguments that tell Ray Train's RunConfig to write where all workers of a trial can."""
    remote = _MIRRORS.get(out)
    if remote is None:
        return {"name": name, "storage_path": str((out / RAY_FOLDER).resolve())}
    return {"name": name, "storage_path": f"{remote.root}/{RAY_FOLDER}", "storage_filesystem": remote.files}


@contextmanager
def on_node(out: str, cache: Path, kept: str, *names: str) -> Iterator[Path]:
    """Yield `out` as a folder on this node.

    Args:
        kept: a file of a remote that is downloaded and stays on this node for other trials.
        names: files and folders of a remote that are downloaded, and removed from this node after the block.

    Raises:
        RemoteError: the remote cannot be reached or read.
    """
    if not is_uri(out):
        yield Path(out)
        return
    folder = home(out, cache) / "node"
    if folder not in _MIRRORS:
        mirror(folder, out)
    pull(folder, kept, *names)
    try:
        yield folder
    finally:
        for name in names:
            remove(folder / name)


def remove(place: Path) -> None:
    """Delete a file or a folder on this machine only."""
    if place.is_dir():
        shutil.rmtree(place, ignore_errors=True)
    else:
        place.unlink(missing_ok=True)


def put(file: Path) -> None:
    """Upload a file of a mirror. When this returns, the remote has the complete file.

    Raises:
        RemoteError: the remote cannot be written.
    """
    for folder in _mirrors_of(file):
        _MIRRORS[folder].upload(file, file.relative_to(folder).as_posix())


def drop(file: Path) -> None:
    """Delete a file in a mirror and in its remote."""
    file.unlink(missing_ok=True)
    for folder in _mirrors_of(file):
        _MIRRORS[folder].delete(file.relative_to(folder).as_posix())


def pull(out: Path, *names: str) -> None:
    """If `out` is a mirror, make the files and folders called `names` equal to those in the remote."""
    if (remote := _MIRRORS.get(out)) is None:
        return
    objects = {key: info for name in names for key, info in remote.listing(name).items()}
    for name in names:
        for file in _files(out / name):
            if file.relative_to(out).as_posix() not in objects:
                file.unlink(missing_ok=True)
    changed = [key for key, info in objects.items() if not _is_same(out / key, info)]
    _in_parallel(lambda key: remote.download(objects[key], key, out / key), changed)


def push(out: Path) -> None:
    """If `out` is a mirror, upload its changed files to the remote, and delete there what was deleted here.

    study.json comes last, because a study exists as soon as it has one.

    Raises:
        RemoteError: the remote cannot be written.
    """
    if (remote := _MIRRORS.get(out)) is None:
        return
    files = {file.relative_to(out).as_posix(): file for file in _files(out)}
    changed = {name for name in files if _is_pushed(name) and remote.pushed.get(name) != state_of(files[name])}
    gone = [name for name in remote.pushed if _is_pushed(name) and name not in files]
    _in_parallel(lambda name: remote.upload(files[name], name), changed - {STUDY_FILE})
    _in_parallel(remote.delete, gone)
    if STUDY_FILE in changed:
        remote.upload(files[STUDY_FILE], STUDY_FILE)


def _in_parallel(work: Callable[[str], object], names: Iterable[str]) -> None:
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        try:
            list(threads.map(work, names))
        except RemoteError:
            threads.shutdown(cancel_futures=True)  # the others would time out too, one after the other
            raise


def _mirrors_of(file: Path) -> list[Path]:
    return [folder for folder in _MIRRORS if file.is_relative_to(folder)]


def _is_pushed(name: str) -> bool:
    return name.partition("/")[0] not in _PUT_BY_THEIR_WRITERS


def _is_same(file: Path, info: Any) -> bool:
    return file.is_file() and state_of(file) == (info.size, info.mtime_ns)


def _files(place: Path) -> list[Path]:
    """Return the files at or below a path, without hidden ones, which are unfinished or Tune's."""
    if place.is_file():
        return [place]
    files = []
    for folder, folders, names in os.walk(place):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files += [Path(folder, name) for name in names if not name.startswith(".")]
    return files
