"""What was found of a folder's files is kept between two scans, and never believed of a file that has changed."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tiny import PATIENCE
from tests.trees import class_folders, encoded, pixels, put
from trainables.cache_layout import SCANS
from trainables.data import inspection, inspections, known_files
from trainables.data.grayscale import GrayRanges
from trainables.data.images import Decoded, decode
from trainables.data.manifest import Candidate, manifest_hash, scan
from trainables.data.pixels import open_pixels
from trainables.errors import Unavailable


@pytest.fixture
def data(tmp_path: Path) -> Path:
    root = class_folders(tmp_path / "data", {"a": 4, "b": 4})
    put(root / "a/copy.jpg", encoded(pixels(6), "JPEG", quality=80))
    put(root / "b/bad.png", b"text")
    put(root / "b/deep.png", encoded(np.arange(3000, dtype=np.uint16).reshape(50, 60)))
    settle()
    return root


def settle() -> None:
    """Until what was written is old enough to be believed; no test waits for more."""
    time.sleep(inspection._FINE_TICK / 1e9 + 0.05)


def listed(root: Path) -> list[Candidate]:
    return [Candidate(file.relative_to(root).as_posix(), file.parent.name) for file in root.glob("*/*")]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of all files that are decoded from here on."""
    sizes: list[int] = []

    def counted(data: bytes, gray_ranges: GrayRanges | None = None) -> Decoded:
        sizes.append(len(data))
        return decode(data, gray_ranges)

    monkeypatch.setattr(inspection, "decode", counted)
    return sizes


def store_of(cache: Path) -> Path:
    (file,) = (cache / SCANS).glob("*.sqlite")
    return file


def test_a_second_scan_decodes_nothing_and_finds_the_same(data: Path, tmp_path: Path, decoded: list[int]) -> None:
    without = scan(data, listed(data))
    first = scan(data, listed(data), cache=tmp_path / "cache")
    decoded.clear()
    heard: list[tuple[int, int]] = []
    second = scan(data, listed(data), lambda done, of: heard.append((done, of)), cache=tmp_path / "cache")
    assert decoded == []
    assert heard[:11] == [(done, 11) for done in range(1, 12)]
    for manifest in (first, second):
        pd.testing.assert_frame_equal(manifest, without)
    assert without["group"].tolist() == [0, 1, 2, 3, 4, 5, 6, 4, 8, 9, 10], "the copy of b/2.png is a/copy.jpg"


def rewritten(file: Path) -> None:
    """Other content of the same size at the same time of change: only the system knows."""
    known = file.stat()
    new = encoded(pixels(99))
    file.write_bytes(new + bytes(max(known.st_size - len(new), 0)))
    os.utime(file, ns=(known.st_atime_ns, known.st_mtime_ns))


@pytest.mark.parametrize(
    "change", [rewritten, Path.touch, lambda file: put(file, encoded(pixels(99))), lambda file: put(file, b"")]
)
def test_a_file_that_changed_is_decoded_again(
    data: Path, tmp_path: Path, decoded: list[int], change: Callable[[Path], object]
) -> None:
    put(data / "a/0.png", encoded(pixels(0)) + bytes(3000))
    settle()
    scan(data, listed(data), cache=tmp_path / "cache")
    change(data / "a/0.png")
    decoded.clear()
    manifest = scan(data, listed(data), cache=tmp_path / "cache")
    assert decoded == [(data / "a/0.png").stat().st_size]
    pd.testing.assert_frame_equal(manifest, scan(data, listed(data)))


def test_a_file_that_was_written_just_now_is_not_believed(
    data: Path, tmp_path: Path, decoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    fine, coarse, now = inspection._FINE_TICK, inspection._COARSE_TICK, 5 * inspection._SECOND
    assert [inspection._is_old((1, 1, now + 1), now + 1 + age) for age in (0, fine, fine + 1)] == [False, False, True]
    assert [inspection._is_old((1, 1, now), now + age) for age in (0, coarse, coarse + 1)] == [False, False, True]
    monkeypatch.setattr(inspection, "_FINE_TICK", 3600 * inspection._SECOND)
    for _ in range(2):
        decoded.clear()
        scan(data, listed(data), cache=tmp_path / "cache")
        assert len(decoded) == 12, "all, and the deep one for its range"


def test_deep_images_are_read_again_when_another_changes_their_range(data: Path, tmp_path: Path) -> None:
    first = scan(data, listed(data), cache=tmp_path / "cache")
    put(data / "b/deeper.png", encoded(np.arange(9000, dtype=np.uint16).reshape(90, 100)))
    settle()
    manifest = first
    for _ in range(2):
        manifest = scan(data, listed(data), cache=tmp_path / "cache")
        pd.testing.assert_frame_equal(manifest, scan(data, listed(data)))
    assert (first["white"].max(), manifest["white"].max()) == (4095.0, 16383.0)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.9])
def test_a_torn_store_is_none(data: Path, tmp_path: Path, share: float) -> None:
    cache = tmp_path / "cache"
    expected = scan(data, listed(data), cache=cache)
    file = store_of(cache)
    os.truncate(file, int(share * file.stat().st_size))
    for _ in range(2):
        pd.testing.assert_frame_equal(scan(data, listed(data), cache=cache), expected)


@pytest.mark.parametrize("content", [b"no database" * 1000, b"SQLite format 3\0" + bytes(5000)])
def test_what_is_no_store_is_replaced(data: Path, tmp_path: Path, decoded: list[int], content: bytes) -> None:
    cache = tmp_path / "cache"
    expected = scan(data, listed(data), cache=cache)
    store_of(cache).write_bytes(content)
    for _ in range(2):
        pd.testing.assert_frame_equal(scan(data, listed(data), cache=cache), expected)
    decoded.clear()
    scan(data, listed(data), cache=cache)
    assert decoded == []


def test_a_cache_that_cannot_be_written_is_none(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = scan(data, listed(data), cache=data / "a/0.png")
    pd.testing.assert_frame_equal(manifest, scan(data, listed(data)))
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "is not cached in" in said


SCANNER = """
import sys
from pathlib import Path
from tests.test_known_files import listed
from trainables.data.manifest import manifest_hash, scan
data = Path(sys.argv[1])
for _ in range(5):
    print(manifest_hash(scan(data, listed(data), cache=Path(sys.argv[2]))))
"""


def test_two_processes_at_once_find_the_same(data: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCANNER, str(data), str(tmp_path / "cache")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=PATIENCE) for process in both]
    assert [errors for _, errors in said] == ["", ""]
    assert {line for output, _ in said for line in output.split()} == {manifest_hash(scan(data, listed(data)))}


def test_the_stores_unused_for_longest_make_room(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    for number, name in enumerate(("oldest", "older", "newest")):
        root = class_folders(tmp_path / name, {"a": 5})
        before = set((cache / SCANS).glob("*"))
        scan(root, listed(root), cache=cache)
        (file,) = set((cache / SCANS).glob("*")) - before
        os.utime(file, (number, number))
        file.rename(file.with_name(f"{name}.sqlite"))
    size = (cache / SCANS / "older.sqlite").stat().st_size
    monkeypatch.setattr(known_files, "_MOST_BYTES", 2 * size)
    put(cache / SCANS / "oldest.sqlite-journal", b"of a killed writer")
    scan(data, listed(data), cache=cache)
    left = {file.name for file in (cache / SCANS).iterdir()}
    assert {"older.sqlite", "newest.sqlite"} < left
    assert len(left) == 3


def test_helpers_find_what_is_found_without_them(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = scan(data, listed(data))
    monkeypatch.setattr(inspections, "_WORTH_HELPERS", 0)
    monkeypatch.setattr(inspections, "_BATCH", 3)
    monkeypatch.setattr(inspections, "_ROWS", 4)
    pd.testing.assert_frame_equal(scan(data, listed(data), cache=tmp_path / "cache"), expected)
    monkeypatch.setattr(sys, "executable", "/bin/false")  # helpers that die at once
    pd.testing.assert_frame_equal(scan(data, listed(data)), expected)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    pd.testing.assert_frame_equal(scan(data, listed(data)), expected)


@settings(max_examples=10, deadline=None)
@given(
    st.lists(st.sampled_from(["0", "1", "ä", "Z", "~", "\U0001f600", "\uffff", "a b", "'"]), unique=True, min_size=1)
)
def test_any_names_are_found_again(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    root = tmp_path_factory.mktemp("names")
    for number, name in enumerate(["one", *names]):
        put(root / "data" / "a" / name, encoded(pixels(number, 8, 8)))
    settle()
    first = scan(root / "data", listed(root / "data"), cache=root / "cache")
    with known_files.opened(root / "cache", root / "data") as store:
        assert set(store.rows(list(first["path"]))) == set(first["path"])
    pd.testing.assert_frame_equal(scan(root / "data", listed(root / "data"), cache=root / "cache"), first)


def test_a_time_beyond_all_clocks_is_not_kept(data: Path, tmp_path: Path, decoded: list[int]) -> None:
    os.utime(data / "a/0.png", (9_300_000_000, 9_300_000_000))  # in the year 2264
    first = scan(data, listed(data), cache=tmp_path / "cache")
    assert first["keep"].sum() == len(first) - 1  # of bad.png
    decoded.clear()
    scan(data, listed(data), cache=tmp_path / "cache")
    assert len(decoded) == 1


def test_what_was_found_before_an_interruption_is_kept(data: Path, tmp_path: Path, decoded: list[int]) -> None:
    def interrupt(done: int, of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan(data, listed(data), interrupt, cache=tmp_path / "cache")
    known = len(decoded)
    decoded.clear()
    scan(data, listed(data), cache=tmp_path / "cache")
    assert (known, len(decoded)) == (11, 1)  # deep.png again, in the range that is known by now


def test_a_study_that_begins_anew_looks_again_at_what_had_changed(data: Path, tmp_path: Path) -> None:
    manifest = scan(data, listed(data), cache=tmp_path / "cache")
    assert store_of(tmp_path / "cache").exists()
    put(data / "a/0.png", encoded(pixels(99)))
    with pytest.raises(Unavailable, match="changed since the data was scanned"):
        open_pixels(manifest, data, 16, tmp_path / "cache")
    assert not list((tmp_path / "cache" / SCANS).glob("*.sqlite"))
