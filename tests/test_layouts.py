"""Folders of images as people leave them: folds under any name, links, junk, empty classes; read, refused, or said."""

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
