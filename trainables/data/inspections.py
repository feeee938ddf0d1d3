"""Inspect all files of a data set on all cores; unchanged files are not inspected again."""

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

from trainables.data.grayscale import GrayRanges
from trainables.data.helper import Helper
from trainables.data.inspection import Inspection, Stamp, inspect, stamp_of
from trainables.data.known_files import Row, Store, name_of

_BATCH = 64  # files per task: scheduling a task costs as much as inspecting a tiny file
_ROWS = 4096  # inspections per transaction, which blocks other writers
# A helper takes half a second of a core to start, as long as inspecting 1,500 tiny files. 16 of them fit into 1 GiB.
_WORTH_HELPERS = 3000
_MOST_HELPERS = 16

_Results = list[tuple[str, Inspection, Stamp | None, bool]]  # path, inspection, stamp, whether it is new


def inspections(
    folder: Path, paths: Sequence[str], store: Store, gray_ranges: GrayRanges | None = None
) -> Iterator[list[Inspection]]:
    """Yield the inspections in the order of `paths`, in batches, without thumbnails (they are in the store)."""
    workers = _Workers(folder, gray_ranges)
    fresh: list[tuple[str, Inspection, Stamp | None]] = []
    batches = [paths[start : start + _BATCH] for start in range(0, len(paths), _BATCH)]
    with ThreadPoolExecutor(workers.count) as pool:
        try:
            for batch in _ahead(pool, workers.inspect, batches, store, 4 * workers.count):
                fresh += [(path, inspection, stamp) for path, inspection, stamp, is_new in batch if is_new]
                if len(fresh) >= _ROWS:
                    store.add(fresh, gray_ranges)
                    fresh = []
                yield [_without_thumbnail(inspection) for _, inspection, _, _ in batch]
            store.add(fresh, gray_ranges)
            fresh = []
        finally:
            workers.stop()
            pool.shutdown(cancel_futures=True)
            with suppress(sqlite3.Error):  # keep the results before an interruption
                store.add(fresh, gray_ranges)


def _ahead(
    pool: ThreadPoolExecutor,
    work: Callable[[Sequence[str], dict[str, Row]], _Results],
    batches: Sequence[Sequence[str]],
    store: Store,
    ahead: int,
) -> Iterator[_Results]:
    """Like `pool.map`, but with a bounded number of pending results."""
    waiting: deque[Future[_Results]] = deque()
    for batch in batches:
        waiting.append(pool.submit(work, batch, store.rows(batch)))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


class _Workers:
    """Threads that inspect files; when there are many files, each thread delegates to a helper process."""

    def __init__(self, folder: Path, gray_ranges: GrayRanges | None) -> None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.count = min(cores + 2, _MOST_HELPERS)  # two more, because some wait for the disk
        self._folder, self._gray_ranges = folder, gray_ranges
        self._inspected = 0
        self._mine = threading.local()
        self._helpers: list[Helper] = []
        self._stopped = threading.Event()

    def inspect(self, paths: Sequence[str], known: dict[str, Row]) -> _Results:
        """Inspect the files whose known row is not valid any more."""
        files = {path: os.path.join(self._folder, path) for path in paths}
        valid = {path: row for path, row in known.items() if self._is_valid(row, files[path])}
        changed = [path for path in paths if path not in valid]
        new = dict(zip(changed, self._inspect([files[path] for path in changed]), strict=True))
        return [(path, *valid[path][:2], False) if path in valid else (path, *new[path], True) for path in paths]

    def _is_valid(self, row: Row, file: str) -> bool:
        _, stamp, gray_ranges = row
        return stamp == stamp_of(file) and (self._gray_ranges is None or gray_ranges == name_of(self._gray_ranges))

    def _inspect(self, files: Sequence[str]) -> list[tuple[Inspection, Stamp | None]]:
        self._inspected += len(files)  # a race between threads is harmless: the count need not be exact
        if files and self._inspected > _WORTH_HELPERS:
            with suppress(OSError, EOFError):  # a helper could not start, or died
                return self._helper().inspect(files, self._gray_ranges)
        return [inspect(file, self._gray_ranges) for file in files if not self._stopped.is_set()]

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


def _without_thumbnail(inspection: Inspection) -> Inspection:
    """Drop the thumbnail, and intern strings: there may be a million inspections."""
    mode, reason = sys.intern(inspection.mode), sys.intern(inspection.drop_reason)
    return replace(inspection, mode=mode, drop_reason=reason, thumbnail=None)
