import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.tiny import PATIENCE
from tests.trees import class_folders, encoded, pixels, put
from trainables.data.manifest import scan
from trainables.data.pixels import Pixels, open_pixels
from trainables.data.sources import folder
from trainables.errors import InputError


@pytest.fixture
def data(tmp_path: Path) -> Path:
    root = class_folders(tmp_path / "data", {"a": 3, "b": 3})
    put(root / "a/broken.png", b"text")
    return root


def read(data: Path) -> pd.DataFrame:
    return scan(data, folder.candidates(data, None).candidates)


def files(cache: Path) -> list[Path]:
    return sorted(cache.glob("*.pixels"))


def test_small_images_come_back_exactly_and_large_ones_reduced(data: Path, tmp_path: Path) -> None:
    wide = pixels(50, 100, 301)
    put(data / "b/wide.png", encoded(wide))
    manifest = read(data)
    opened = open_pixels(manifest, data, 48, tmp_path / "cache")
    for number, item in enumerate(manifest.loc[manifest["path"].str.match("a/[0-9]"), "item"]):
        np.testing.assert_array_equal(opened[item], pixels(number))
    item = manifest.loc[manifest["path"] == "b/wide.png", "item"].item()
    expected = Image.fromarray(wide).resize((144, 48), Image.Resampling.LANCZOS)  # 301 x 0.48 = 144.48
    np.testing.assert_array_equal(opened[item], np.asarray(expected))
    with pytest.raises(KeyError):
        opened[manifest.loc[~manifest["keep"], "item"].item()]


def test_a_view_is_read_only_and_no_copy(data: Path, tmp_path: Path) -> None:
    opened = open_pixels(read(data), data, 48, tmp_path / "cache")
    assert np.shares_memory(opened[1], opened[1])
    with pytest.raises(ValueError, match="read-only"):
        opened[1][0, 0, 0] = 1


def test_a_second_caller_needs_no_image(data: Path, tmp_path: Path) -> None:
    manifest = read(data)
    first = open_pixels(manifest, data, 48, tmp_path / "cache")
    second = open_pixels(manifest.sample(frac=1, random_state=0), tmp_path / "nowhere", 48, tmp_path / "cache")
    np.testing.assert_array_equal(first[2], second[2])
    assert len(files(tmp_path / "cache")) == 1


def test_other_content_is_another_file(data: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    open_pixels(read(data), data, 48, cache)
    open_pixels(read(data), data, 20, cache)
    put(data / "a/0.png", encoded(pixels(77)))
    np.testing.assert_array_equal(open_pixels(read(data), data, 48, cache)[0], pixels(77))
    (data / "a/1.png").unlink()
    open_pixels(read(data), data, 48, cache)
    assert len(files(cache)) == 4


def test_an_image_that_went_or_changed_is_named(data: Path, tmp_path: Path) -> None:
    manifest = read(data)
    put(data / "b/1.png", encoded(pixels(78)))
    with pytest.raises(InputError, match=r"b/1.png' changed since the data was scanned"):
        open_pixels(manifest, data, 48, tmp_path / "cache")
    (data / "b/1.png").unlink()
    with pytest.raises(InputError, match=r"b/1.png' was removed since the data was scanned"):
        open_pixels(manifest, data, 48, tmp_path / "cache")
    assert [file.name for file in (tmp_path / "cache").iterdir()] == ["pixels.lock"]


GIB_OF_ONE = 6 * 48 * 40 * 3 / 2**30  # the six images of `data`


def test_the_longest_unused_make_room(data: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    manifest = read(data)
    for age, side in ((300, 48), (200, 39), (100, 38)):
        open_pixels(manifest, data, side, cache)
        newest = max(files(cache), key=lambda file: file.stat().st_mtime)
        os.utime(newest, (time.time() - age, time.time() - age))
    old, middle, new = sorted(files(cache), key=lambda file: file.stat().st_mtime)
    open_pixels(manifest, data, 48, cache)  # used again, so the one of side 39 is now the oldest
    open_pixels(manifest, data, 37, cache, cache_gib=3.0 * GIB_OF_ONE)
    assert old.exists()
    assert not middle.exists()
    assert new.exists()


def test_a_file_in_use_is_never_removed(data: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    manifest = read(data)
    in_use = open_pixels(manifest, data, 48, cache)
    with pytest.raises(InputError, match=r"need 3.0.e-05 GiB, but .*cache has 2.25e-06 GiB left"):
        open_pixels(manifest, data, 39, cache, cache_gib=1.07 * GIB_OF_ONE)
    np.testing.assert_array_equal(in_use[0], pixels(0))
    del in_use
    open_pixels(manifest, data, 39, cache, cache_gib=1.07 * GIB_OF_ONE)
    assert len(files(cache)) == 1


def test_a_cache_that_cannot_be_a_folder_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be created \(Not a directory\): give --cache"):
        open_pixels(read(data), data, 48, data / "a/0.png/cache")


def test_a_cache_too_small_for_this_study_alone_says_both_numbers(data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"need 3.22e-05 GiB, but the cache is limited to 1e-05 GiB: .*--cache-gib"):
        open_pixels(read(data), data, 48, tmp_path / "cache", cache_gib=1e-5)


BUILDER = """
import sys, time
from pathlib import Path
import pandas as pd
import trainables.data.pixels as module
decode, delay = module.decode, float(sys.argv[4])
def slow(*data):
    sys.stdout.write("decoding\\n")  # one write: print would write the end of the line apart
    sys.stdout.flush()
    time.sleep(delay)
    return decode(*data)
module.decode = slow
print(module.open_pixels(pd.read_pickle(sys.argv[1]), Path(sys.argv[2]), 48, Path(sys.argv[3]))[0].sum())
"""


def builder(manifest: Path, data: Path, cache: Path, delay: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", BUILDER, str(manifest), str(data), str(cache), str(delay)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def opened_by(process: subprocess.Popen[str]) -> list[str]:
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    return output.split()


def test_of_two_processes_one_builds(data: Path, tmp_path: Path) -> None:
    read(data).to_pickle(tmp_path / "manifest")
    both = [builder(tmp_path / "manifest", data, tmp_path / "cache", 0.2) for _ in range(2)]
    outputs = sorted(opened_by(process) for process in both)
    total = str(pixels(0).sum())
    assert outputs == [[total], ["decoding"] * 6 + [total]]


def test_a_killed_builder_leaves_a_usable_cache(data: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    read(data).to_pickle(tmp_path / "manifest")
    process = builder(tmp_path / "manifest", data, cache, 60)
    assert process.stdout is not None
    assert process.stdout.readline() == "decoding\n"  # it holds the lock and writes
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(list(cache.glob("*.part"))) == 1
    put(cache / "of-another-study.part", b"rest")
    opened: Pixels = open_pixels(read(data), data, 48, cache)
    np.testing.assert_array_equal(opened[0], pixels(0))
    assert list(cache.glob("*.part")) == []
