"""Folders of images that are links, or hold them: followed once, and never in circles."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from study.predict import list_files
from tests.trees import class_folders, put, refused
from trainables.data.datasets import find, read_manifest

TWO = {"cat": 2, "dog": 1}


def test_links_are_followed_once_and_never_in_circles(tmp_path: Path) -> None:
    store, data = class_folders(tmp_path / "store", {"bird": 2, "cat": 1}), tmp_path / "data"
    class_folders(data, {"a": 1, "b": 1}, 50)
    (data / "a/link.png").symlink_to(store / "cat/0.png")
    (data / "a/same.png").symlink_to(data / "b/0.png")
    (data / "a/broken.png").symlink_to("nowhere.png")
    (data / "a/self.png").symlink_to("self.png")
    (data / "bird").symlink_to(store / "bird")
    (data / "bird2").symlink_to(store / "bird")
    (data / "gone").symlink_to(store / "gone")
    (data / "again").symlink_to("b")
    (data / "b/loop").symlink_to(data)
    (store / "bird/up").symlink_to(store)
    os.mkfifo(data / "b/pipe.png")
    manifest = read_manifest("folder", data)
    assert dict(zip(manifest["path"], manifest["drop_reason"], strict=True)) == {
        "a/0.png": "",
        "a/broken.png": "broken link",
        "a/link.png": "",
        "a/same.png": "",
        "a/self.png": "broken link",
        "b/0.png": "",
        "bird/0.png": "",
        "bird/1.png": "",
    }
    assert list(manifest["keep"]) == [reason == "" for reason in manifest["drop_reason"]]
    assert find("folder", data).notes == [
        "left out: 'again', a link to b, which is read itself",
        "left out: 'b/loop', a link to a folder that contains it",
        "left out: 'bird/up', a link to a folder that contains it",
        "left out: 'bird2', the same folder as bird",
        "left out: 1 broken link, 'gone'",
        "followed: links to 3 files, such as 'a/link.png'; every machine of a cluster must be able to read the targets",
    ]


def test_a_data_folder_may_be_nothing_but_links(tmp_path: Path) -> None:
    """A subset as people make it: links beside the store, into a hidden store within, and a link as --data."""
    class_folders(tmp_path / "store", {"cat": 1, "dog": 1})
    class_folders(tmp_path / "store/subset/.cache", {"bird": 1}, 10)
    for name in ("cat", "dog"):
        (tmp_path / "store/subset" / name).symlink_to(f"../{name}")
    (tmp_path / "store/subset/bird").symlink_to(".cache/bird")
    (tmp_path / "data").symlink_to("store/subset")
    for data in (tmp_path / "data", tmp_path / "store/subset"):
        assert list(read_manifest("folder", data)["path"]) == ["bird/0.png", "cat/0.png", "dog/0.png"]


def test_folders_of_nothing_but_dead_links_or_links_to_one_place_say_so(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/cat").symlink_to("nowhere")
    refused(tmp_path / "data", r"data has none \(left out: 1 broken link, 'cat'\): sort the images")
    store = class_folders(tmp_path / "store", {"cat": 1, "dog": 1})
    for fold in ("train", "test"):
        (tmp_path / "folds" / fold).mkdir(parents=True)
        for name in ("cat", "dog"):
            (tmp_path / "folds" / fold / name).symlink_to(store / name)
    refused(tmp_path / "folds", r"test has none \(left out: 'test/cat', the same folder as train/cat\): sort")


def test_predict_finds_what_links_name(tmp_path: Path) -> None:
    class_folders(tmp_path / "store", {"cat": 2})
    put(tmp_path / "new/0.png", b"")
    (tmp_path / "new/cat").symlink_to(tmp_path / "store/cat")
    (tmp_path / "new/broken.png").symlink_to("nowhere.png")
    (tmp_path / "new/cat/loop").symlink_to(tmp_path / "new")
    found = [file.relative_to(tmp_path / "new").as_posix() for file in list_files([tmp_path / "new"])]
    assert found == ["0.png", "broken.png", "cat/0.png", "cat/1.png"]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=8))
@settings(max_examples=25)
def test_any_links_between_folders_end(links: list[tuple[int, int]]) -> None:
    """Folders 0 to 2 lie in the data, 3 to 5 outside and in each other; every file has one place in the end."""
    with TemporaryDirectory() as folder:
        root = Path(folder)
        places = [root / place for place in ("data/0", "data/1", "data/2", "out/3", "out/3/4", "out/5")]
        for number, place in enumerate(places):
            put(place / f"{number}.png", b"")
        for number, (start, end) in enumerate(links):
            (places[start] / f"link{number}").symlink_to(places[end])
        found = [one.path for one in find("folder", root / "data").candidates]
        assert {"0/0.png", "1/1.png", "2/2.png"} <= set(found)
        names = [path.rpartition("/")[2] for path in found]
        assert len(set(names)) == len(names)
