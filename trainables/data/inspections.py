"""Inspection of all files of a data set on all cores; unchanged files are not inspected again."""

import os
import sqlite3
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from trainables.data.greys import Greys
from trainables.data.helper import Helper
from trainables.data.inspection import Inspection, Stamp, inspect, stamp_of
from trainables.data.known_files import Row, Store, name_of

_BATCH = 64  # files per task: scheduling one costs as much as inspecting a tiny file
_ROWS = 4096  # inspections per transaction, during which nothing else can write
# A helper takes half a second of a core to start, as long as inspecting 1,500 tiny files. 16 of them fit into 1 GiB.
_WORTH_HELPERS = 3000
_MOST_HELPERS = 16

_Found = list[tuple[str, Inspection, Stamp | None, bool]]  # path, what, its stamp, whether it was inspected now


def inspections(
    folder: Path, paths: Sequence[str], store: Store, greys: Greys | None = None
) -> Iterator[list[Inspection]]:
    """Yield the inspections in the order of `paths`, in batches, without thumbnails (they are in the store)."""
    workers = _Workers(folder, greys)
    fresh: list[tuple[str, Inspection, Stamp | None]] = []
    batches = [paths[start : start + _BATCH] for start in range(0, len(paths), _BATCH)]
    with ThreadPoolExecutor(workers.count) as pool:
        try:
            for found in _ahead(pool, workers.found, batches, store, 4 * workers.count):
                fresh += [(path, one, stamp) for path, one, stamp, is_fresh in found if is_fresh]
                if len(fresh) >= _ROWS:
                    store.add(fresh, greys)
                    fresh = []
                yield [_without_thumbnail(one) for _, one, _, _ in found]
            store.add(fresh, greys)
            fresh = []
        finally:
            workers.stop()
            pool.shutdown(cancel_futures=True)
            with suppress(sqlite3.Error):  # what was found before an interruption
                store.add(fresh, greys)


def _ahead(
    pool: ThreadPoolExecutor,
    work: Callable[[Sequence[str], dict[str, Row]], _Found],
    batches: Sequence[Sequence[str]],
    store: Store,
    ahead: int,
) -> Iterator[_Found]:
    """Like `pool.map`, but with a bounded number of pending results."""
    waiting: deque[Future[_Found]] = deque()
    for batch in batches:
        waiting.append(pool.submit(work, batch, store.rows(batch)))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


class _Workers:
    """Threads that inspect files; when there are many files, each thread delegates to a helper process."""

    def __init__(self, folder: Path, greys: Greys | None) -> None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.count = min(cores + 2, _MOST_HELPERS)  # two more wait for the disk
        self._folder, self._greys = folder, greys
        self._inspected = 0
        self._mine = threading.local()
        self._helpers: list[Helper] = []
        self._stopped = threading.Event()

    def found(self, paths: Sequence[str], known: dict[str, Row]) -> _Found:
        files = {path: os.path.join(self._folder, path) for path in paths}
        same = {path: row for path, row in known.items() if self._holds(row, files[path])}
        changed = [path for path in paths if path not in same]
        anew = dict(zip(changed, self._inspect([files[path] for path in changed]), strict=True))
        return [
            (path, same[path][0], same[path][1], False) if path in same else (path, *anew[path], True) for path in paths
        ]

    def _holds(self, row: Row, file: str) -> bool:
        _, stamp, greys = row
        return stamp == stamp_of(file) and (self._greys is None or greys == name_of(self._greys))

    def _inspect(self, files: Sequence[str]) -> list[tuple[Inspection, Stamp | None]]:
        self._inspected += len(files)  # of several threads, but nothing depends on its being exact
        if files and self._inspected > _WORTH_HELPERS:
            with suppress(OSError, EOFError):  # there is none to be had, or it died
                return self._helper().inspect(files, self._greys)
        return [inspect(file, self._greys) for file in files if not self._stopped.is_set()]

    def _helper(self) -> Helper:
        if not hasattr(self._mine, "helper"):
            self._mine.helper = Helper()
            self._helpers.append(self._mine.helper)
        return self._mine.helper

    def stop(self) -> None:
        """Stop after the current files; the remaining results are not needed."""
        self._stopped.set()
        for helper in self._helpers:
            helper.stop()


def _without_thumbnail(one: Inspection) -> Inspection:
    """Drop the thumbnail, and intern strings: there may be a million inspections."""
    return replace(one, mode=sys.intern(one.mode), drop_reason=sys.intern(one.drop_reason), thumbnail=None)
