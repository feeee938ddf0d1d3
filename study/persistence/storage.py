"""A study whose --out is remote: a plain folder to work in that mirrors it. With a local one nothing happens here.

Mirrors lie under --cache: one of the driver's, and one that the trials of a node share. The remote is the truth. What a
crash must not lose (the ledger, checkpoints, models, predictions) is `put` there by whoever writes it, before it takes
effect; what can be made again (tables, report, event files) is pushed by the driver every now and then.
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
RAY_FOLDER = ".ray"  # what Tune and Train want to write; nobody reads it
_PUT_BY_THEMSELVES = ("ledger", MODELS, CHECKPOINTS)
_AT_ONCE = 16

_MIRRORS: dict[Path, Remote] = {}  # of this process


def home(uri: str, cache: Path) -> Path:
    """Where the mirrors of a remote lie on a machine."""
    return cache.absolute() / MIRRORS / hashlib.sha256(uri.encode()).hexdigest()[:16]


def mirror(folder: Path, uri: str, names: Iterable[str] = ()) -> None:
    """From here on `folder` mirrors the remote, for this process; what lies there under `names` is brought."""
    folder.mkdir(parents=True, exist_ok=True)
    _MIRRORS[folder] = Remote(uri)
    pull(folder, *names)


def uri_of(out: Path) -> str | None:
    """The address that `out` mirrors; None where it mirrors none."""
    return _MIRRORS[out].uri if out in _MIRRORS else None


def for_ray(out: Path, name: str) -> dict[str, Any]:
    """Where a run of Ray Train may write, in its own words: a place that all its workers see."""
    remote = _MIRRORS.get(out)
    if remote is None:
        return {"name": name, "storage_path": str((out / RAY_FOLDER).resolve())}
    return {"name": name, "storage_path": f"{remote.root}/{RAY_FOLDER}", "storage_filesystem": remote.files}


@contextmanager
def on_node(out: str, cache: Path, kept: str, *names: str) -> Iterator[Path]:
    """`out` as a folder on this node.

    Of a remote it holds the file `kept`, which stays here for others, and within the block what lies under `names`.
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
    """Bring a file of a mirror to its remote: when this returns, it is there, whole."""
    for folder in _mirrors_of(file):
        _MIRRORS[folder].upload(file, file.relative_to(folder).as_posix())


def drop(file: Path) -> None:
    """Delete a file, in a mirror and in its remote."""
    file.unlink(missing_ok=True)
    for folder in _mirrors_of(file):
        _MIRRORS[folder].delete(file.relative_to(folder).as_posix())


def pull(out: Path, *names: str) -> None:
    """Where `out` is a mirror: make what lies under these names as it is in the remote."""
    if (remote := _MIRRORS.get(out)) is None:
        return
    there = {name: info for each in names for name, info in remote.listing(each).items()}
    for each in names:
        for file in _files(out / each):
            if file.relative_to(out).as_posix() not in there:
                file.unlink(missing_ok=True)
    changed = [name for name, info in there.items() if not _is_same(out / name, info)]
    _at_once(lambda name: remote.download(there[name], name, out / name), changed)


def push(out: Path) -> None:
    """Where `out` is a mirror: bring what changed in it to the remote, and delete there what is gone here.

    study.json comes last: with it the study exists.
    """
    if (remote := _MIRRORS.get(out)) is None:
        return
    files = {file.relative_to(out).as_posix(): file for file in _files(out)}
    changed = {each for each in files if _is_pushed(each) and remote.pushed.get(each) != state_of(files[each])}
    gone = [name for name in remote.pushed if _is_pushed(name) and name not in files]
    _at_once(lambda name: remote.upload(files[name], name), changed - {STUDY_FILE})
    _at_once(remote.delete, gone)
    if STUDY_FILE in changed:
        remote.upload(files[STUDY_FILE], STUDY_FILE)


def _at_once(work: Callable[[str], object], names: Iterable[str]) -> None:
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        try:
            list(threads.map(work, names))
        except RemoteError:
            threads.shutdown(cancel_futures=True)  # they would wait as long, one after the other
            raise


def _mirrors_of(file: Path) -> list[Path]:
    return [folder for folder in _MIRRORS if file.is_relative_to(folder)]


def _is_pushed(name: str) -> bool:
    return name.partition("/")[0] not in _PUT_BY_THEMSELVES


def _is_same(file: Path, info: Any) -> bool:
    return file.is_file() and state_of(file) == (info.size, info.mtime_ns)


def _files(place: Path) -> list[Path]:
    """The files at or below a place, but for hidden ones: those being written, and Tune's own."""
    if place.is_file():
        return [place]
    files = []
    for folder, folders, names in os.walk(place):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files += [Path(folder, name) for name in names if not name.startswith(".")]
    return files
