"""Folders of images as people leave them: folds under any name, links, junk, empty classes; read, refused, or said."""

import os
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from study.predict import list_files
from tests.trees import class_folders, encoded, make_tar, pixels, put, refused
from trainables.data.datasets import find, read_manifest
from trainables.errors import InputError

TWO = {"cat": 2, "dog": 1}


def counts(data: Path) -> dict[tuple[str, str | None], int]:
    """How many images there are of each class and official fold."""
    return dict(Counter((one.label_name, one.official_split) for one in find("folder", data).candidates))


def in_folds(data: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        class_folders(data / name, TWO, 10 * number)
    return data


# ---- folds by name


@pytest.mark.parametrize(
    ("train", "other", "fold"),
    [
        ("Training", "Testing", "test"),
        ("train_set", "test_set", "test"),
        ("TRAIN", "TEST", "test"),
        ("TrainSet", "TestSet", "test"),
        ("trainset", "testset", "test"),
        ("training_images", "valid_set", "val"),
        ("train", "dev", "val"),
        ("train", "eval", "val"),
        ("train", "hold-out", "test"),
        ("train2017", "val2017", "val"),
        ("flowers_train", "flowers_test", "test"),
        ("seg_train/seg_train", "seg_test/seg_test", "test"),
        ("train/images", "validation/images", "val"),
        ("our_train_v2", "the_other_test", "test"),
        ("archive/train", "archive/test", "test"),
        ("data/birds/train", "data/birds/test", "test"),
    ],
)
def test_folders_that_are_folds_by_name_are_folds(tmp_path: Path, train: str, other: str, fold: str) -> None:
    in_folds(tmp_path, train, other)
    put(tmp_path / "__MACOSX/._x", b"")
    assert counts(tmp_path) == {
        ("cat", "train"): 2,
        ("dog", "train"): 1,
        ("cat", fold): 2,
        ("dog", fold): 1,
    }
    layout = find("folder", tmp_path).layout
    assert layout.startswith("one folder per class within each fold: ")
    assert f"/ ({fold})" in layout


@pytest.mark.parametrize("names", [("part1", "part2"), ("val", "test"), ("train", "more"), ("a/a", "b/b", "c/c")])
def test_what_looks_like_folds_without_their_names_is_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    in_folds(tmp_path, *names)
    refused(tmp_path, "look like folds of a data set, but the names .* do not say which: rename them to train/, val/")


def test_folders_that_share_most_of_their_folders_look_like_folds(tmp_path: Path) -> None:
    class_folders(tmp_path / "one", {"cat": 1, "dog": 1, "bird": 1})
    class_folders(tmp_path / "two", {"cat": 1, "dog": 1})
    refused(tmp_path, r"the names 'one', 'two' \(with 'cat', 'dog' in each\) do not say which")


def test_classes_with_folders_of_their_own_stay_classes(tmp_path: Path) -> None:
    class_folders(tmp_path / "cat", {"day": 1, "night": 1})
    class_folders(tmp_path / "dog", {"day": 1, "beach": 1, "snow": 1})
    class_folders(tmp_path / "train_station", {"day": 1})
    class_folders(tmp_path / "bus", {"images": 1})
    assert counts(tmp_path) == {("cat", None): 2, ("dog", None): 3, ("train_station", None): 1, ("bus", None): 1}


def test_folds_within_classes_are_refused(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        class_folders(tmp_path / name, {"Train": 1, "Test": 1})
    refused(tmp_path, "Folders must be nested as train/CLASS, but 'cat', 'dog' contain 'Test', 'Train'")


def test_a_test_folder_without_labels_is_left_out_and_said(tmp_path: Path) -> None:
    """As Intel's scenes and the ASL alphabet come, with images of nobody knows what."""
    in_folds(tmp_path, "seg_train/seg_train", "seg_val/seg_val")
    put(tmp_path / "seg_pred/seg_pred/1.jpg", b"")
    put(tmp_path / "seg_test/1.jpg", b"")
    assert {fold for _, fold in counts(tmp_path)} == {"train", "val"}
    assert find("folder", tmp_path).notes == [
        "left out: 'seg_test/' (1 image), which has no class folders and therefore no labels",
        "left out: 'seg_pred/' (1 image), which has no class folders and is not a fold",
    ]


def test_what_the_names_of_folds_share_says_nothing(tmp_path: Path) -> None:
    """As the ASL alphabet comes: nothing but the names says that the second folder is a fold."""
    in_folds(tmp_path, "asl_alphabet_train/asl_alphabet_train")
    put(tmp_path / "asl_alphabet_test/asl_alphabet_test/A_test.jpg", b"")
    assert counts(tmp_path) == {("cat", "train"): 2, ("dog", "train"): 1}


FOLD_NAMES = {
    "train": ["train", "training"],
    "val": ["val", "valid", "validation", "dev", "eval"],
    "test": ["test", "testing", "holdout"],
}
CASES = st.sampled_from([str.lower, str.upper, str.title])
AROUND = st.sampled_from(["{}", "{}_set", "{}-images", "{} data", "x_{}", "{}1", "set_{}"])


@given(st.data(), st.sets(st.sampled_from(["val", "test"]), min_size=1), CASES, AROUND)
@settings(max_examples=30)
def test_folds_are_never_classes(data: st.DataObject, held_out: set[str], case, around: str) -> None:
    names = {fold: around.format(case(data.draw(st.sampled_from(FOLD_NAMES[fold])))) for fold in {"train", *held_out}}
    with TemporaryDirectory() as folder:
        for name in names.values():
            for label in ("cat", "dog"):
                put(Path(folder) / name / label / "0.png", b"")
        assert counts(Path(folder)) == {(label, fold): 1 for label in ("cat", "dog") for fold in names}


# ---- links


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


# ---- what is passed over is said


def test_empty_classes_are_said_by_name(tmp_path: Path) -> None:
    class_folders(tmp_path, {"cat": 1, "dog": 1})
    put(tmp_path / "bird/.gitkeep", b"")
    (tmp_path / "fox/deep").mkdir(parents=True)
    (line,) = (note for note in find("folder", tmp_path).notes if "class folder" in note)
    assert line == "left out: 'bird/', 'fox/': class folders without images"
    in_folds(tmp_path / "folds", "train", "test")
    (tmp_path / "folds/test/bird").mkdir()
    (line,) = find("folder", tmp_path / "folds").notes
    assert line.startswith("left out: 'test/bird/': class folders without images")


def test_junk_is_no_class_and_no_fold_wherever_it_lies(tmp_path: Path) -> None:
    in_folds(tmp_path, "train", "test")
    for name in ("__MACOSX/train/cat/._0.png", "@eaDir/x.png", "$RECYCLE.BIN/x.png", ".ipynb_checkpoints/x.png"):
        put(tmp_path / name, encoded(pixels(99)))
        put(tmp_path / "train" / name, encoded(pixels(99)))
        put(tmp_path / "train/cat" / name, encoded(pixels(99)))
    put(tmp_path / "train/cat/._0.png", b"\0\5\26\7")
    put(tmp_path / "train/cat/desktop.ini", b"x")
    manifest = read_manifest("folder", tmp_path)
    assert len(manifest) == 7
    assert list(manifest.loc[~manifest["keep"], "path"]) == ["train/cat/desktop.ini"]
    (line,) = (note for note in find("folder", tmp_path).notes if "hidden" in note)
    assert line == "left out: 13 hidden or system files, such as '$RECYCLE.BIN'"


def test_what_lies_beside_class_folders_is_said(tmp_path: Path) -> None:
    class_folders(tmp_path, TWO)
    for name in ("9.jpg", "8.PNG"):
        put(tmp_path / name, b"")
    put(tmp_path / "notes.csv", b"date,weather\n")
    make_tar(tmp_path / "old.tar", {})
    assert find("folder", tmp_path).layout == "one folder per class"
    assert find("folder", tmp_path).notes == [
        "left out: 2 images beside the class folders, without a label; the first is '8.PNG'",
        "left out: 'notes.csv', its columns are date, weather (no known name of an image column)",
        "left out: 'old.tar', beside the class folders",
    ]


# ---- names of classes


def test_class_folders_that_look_the_same_are_one_class(tmp_path: Path) -> None:
    names = ("caf\u00e9", "cafe\u0301", "dog", "dog ", "d\u200bog", "a\u00a0b", "a b", "Cat", "cat")
    class_folders(tmp_path, dict.fromkeys(names, 1))
    assert counts(tmp_path) == {
        ("caf\u00e9", None): 2,
        ("dog", None): 3,
        ("a b", None): 2,
        ("Cat", None): 1,
        ("cat", None): 1,
    }
    assert find("folder", tmp_path).notes == [
        r"merged into one class, 'a b': 'a b' and 'a\xa0b' look the same",
        "merged into one class, 'caf\u00e9': 'cafe\\u0301' and 'caf\\xe9' look the same",
        r"merged into one class, 'dog': 'dog' and 'dog ' and 'd\u200bog' look the same",
        "similar names: the classes 'Cat' and 'cat': if they are the same class, give them one name",
    ]


def test_a_fold_may_write_a_class_in_the_other_form(tmp_path: Path) -> None:
    class_folders(tmp_path / "train", {"caf\u00e9": 1, "tea": 1})
    class_folders(tmp_path / "test", {"cafe\u0301": 1, "tea": 1}, 10)
    assert counts(tmp_path) == {(name, fold): 1 for name in ("caf\u00e9", "tea") for fold in ("train", "test")}


@pytest.mark.parametrize(
    ("names", "order"),
    [
        ([str(number) for number in range(12)], [str(number) for number in range(12)]),
        (["-1", "10", "9", "0.5"], ["-1", "0.5", "9", "10"]),
        (["1", "01", "2"], ["01", "1", "2"]),
        (["class 10", "class 9"], ["class 10", "class 9"]),
    ],
)
def test_numbers_are_in_the_order_of_their_values_in_every_layout(
    tmp_path: Path, names: list[str], order: list[str]
) -> None:
    class_folders(tmp_path, dict.fromkeys(names, 1))
    rows = "".join(f"{name}/0.png,{name}\n" for name in names)

    def labels() -> list[str]:
        manifest = read_manifest("folder", tmp_path)
        return [name for _, name in sorted(set(zip(manifest["label"], manifest["label_name"], strict=True)))]

    assert labels() == order
    put(tmp_path / "metadata.csv", f"file_name,label\n{rows}".encode())
    assert labels() == order
    (tmp_path / "metadata.csv").rename(tmp_path / "any.csv")
    assert labels() == order


# ---- folds among class folders


@pytest.mark.parametrize("fold", ["val", "test", "Testing", "dev"])
def test_a_fold_beside_the_classes_it_holds_is_no_class(tmp_path: Path, fold: str) -> None:
    class_folders(tmp_path, TWO)
    class_folders(tmp_path / fold, TWO, 10)
    refused(tmp_path, f"but 'cat' is both in the fold .*{fold} and beside it: move the class folders into train/")


def test_a_class_may_be_called_as_a_fold(tmp_path: Path) -> None:
    class_folders(tmp_path, {"train": 2, "car": 1, "boat": 1})
    assert set(counts(tmp_path)) == {("train", None), ("car", None), ("boat", None)}


def test_what_has_no_classes_beside_a_lone_train_is_left_out(tmp_path: Path) -> None:
    class_folders(tmp_path / "train", TWO)
    class_folders(tmp_path, {"unlabeled": 3}, 20)
    assert counts(tmp_path) == {("cat", "train"): 2, ("dog", "train"): 1}
    assert (
        "left out: 'unlabeled/' (3 images), which has no class folders and is not a fold"
        in find("folder", tmp_path).notes
    )


def test_the_users_own_test_images_lie_outside_of_the_data(tmp_path: Path) -> None:
    class_folders(tmp_path, TWO)
    class_folders(tmp_path / "mine", {"cat": 1, "dog": 1}, 10)
    with pytest.raises(InputError, match=r"mine is in .*: move it out"):
        find("folder", tmp_path, tmp_path / "mine")
