from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from tests.trees import class_folders, put, refused
from trainables.data.datasets import DATASETS, read_manifest
from trainables.data.sources import digits, folder
from trainables.errors import InputError


def paths(data: Path, test: Path | None = None) -> dict[str, tuple[str, str | None]]:
    return {one.path: (one.label_name, one.official_split) for one in folder.candidates(data, test).candidates}


# ---- folder


def test_every_visible_file_below_a_class_folder_is_a_candidate(tmp_path: Path) -> None:
    for name in (
        "a/1.jpg",
        "a/deep/er/2.PNG",
        "a/Thumbs.db",
        "b/3",
        "a/.DS_Store",
        "a/.git/x.png",
        ".cache/y.png",
    ):
        put(tmp_path / name, b"")
    (tmp_path / "readme.txt").write_text("no class")
    (tmp_path / "empty").mkdir()
    assert paths(tmp_path) == {
        "a/1.jpg": ("a", None),
        "a/Thumbs.db": ("a", None),
        "a/deep/er/2.PNG": ("a", None),
        "b/3": ("b", None),
    }


@pytest.mark.parametrize("val", ["val", "valid", "Validation"])
def test_train_val_and_test_folders_are_an_official_split(tmp_path: Path, val: str) -> None:
    for split in ("train", val, "test"):
        class_folders(tmp_path / split, {"a": 1, "b": 1})
    found = paths(tmp_path)
    assert len(found) == 6
    assert found["train/a/0.png"] == ("a", "train")
    assert found[f"{val}/b/0.png"] == ("b", "val")
    assert found["test/a/0.png"] == ("a", "test")


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    class_folders(tmp_path, {"train": 1, "bus": 1})
    assert set(paths(tmp_path).values()) == {("train", None), ("bus", None)}


def test_a_third_folder_beside_train_and_test_is_refused(tmp_path: Path) -> None:
    for split in ("train", "test", "unlabelled"):
        class_folders(tmp_path / split, {"a": 1})
    refused(tmp_path, "No other folder is allowed beside train/, val/ and test/, but got .*unlabelled")


def test_held_out_classes_must_be_known(tmp_path: Path) -> None:
    class_folders(tmp_path / "train", {"a": 1, "b": 1})
    class_folders(tmp_path / "test", {"a": 1, "c": 1})
    refused(tmp_path, r"'c' \(test/c/0.png\) has none: rename or remove it; the classes are a, b")


def test_the_users_own_test_images(tmp_path: Path) -> None:
    class_folders(tmp_path / "data", {"a": 2, "b": 2})
    class_folders(tmp_path / "mine", {"a": 1, "b": 1}, seed=50)
    manifest = read_manifest("folder", tmp_path / "data", tmp_path / "mine")
    assert list(manifest.loc[manifest["official_split"] == "test", "path"]) == [
        str(tmp_path / "mine/a/0.png"),
        str(tmp_path / "mine/b/0.png"),
    ]
    assert manifest["keep"].all()
    class_folders(tmp_path / "mine", {"cat": 1})
    refused(tmp_path / "data", "'cat' .* has none: rename or remove it", tmp_path / "mine")
    refused(tmp_path / "data", "must be a folder of class folders, but .*nowhere is not", tmp_path / "nowhere")
    for split in ("train", "test"):
        class_folders(tmp_path / "split" / split, {"a": 1, "b": 1})
    refused(tmp_path / "split", "Only one test set is allowed", tmp_path / "mine")


def test_a_table_of_path_and_label(tmp_path: Path) -> None:
    class_folders(tmp_path / "x", {"one": 2, "two": 1})
    rows = "path,label,split\nx/one/0.png,NA,train\n./x/one/1.png, 1,valid\nx/two/0.png,NA,\n"
    put(tmp_path / "labels.csv", rows.encode("utf-8-sig"))
    expected = {"x/one/0.png": ("NA", "train"), "x/one/1.png": ("1", "val"), "x/two/0.png": ("NA", None)}
    assert paths(tmp_path) == expected
    assert paths(tmp_path / "labels.csv") == expected
    manifest = read_manifest("folder", tmp_path / "labels.csv")
    assert manifest["keep"].all()
    assert list(manifest["label_name"]) == ["NA", "1", "NA"]


def test_other_tables_in_a_folder_of_classes_are_left_alone(tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 1})
    put(tmp_path / "notes.csv", b"date,weather\n")
    assert list(paths(tmp_path)) == ["a/0.png"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            "path,label\na.png,x\ngone.png,x\nlost.png,y\n",
            "2 of 3 images of .* do not exist, the first is 'gone.png'",
        ),
        ("path,label\n../a.png,x\n", "must be below its folder, but '../a.png' is not"),
        ("path,label\nx/../a.png,x\n", "must be below its folder, but 'x/../a.png' is not"),
        ("path,label\n/etc/passwd,x\n", "must be below its folder, but '/etc/passwd' is not"),
        ("path,label\na.png,\n", "needs a path and a label, but got 'a.png', ''"),
        ("path,label,split\na.png,x,dev\n", "train, val, test or empty, but 'a.png' has 'dev'"),
        ("path,label\na.png,x\n./a.png,y\n", "lists 'a.png' twice"),
        ("path,label\n", "must list images, but has no rows"),
        ("file,class\na.png,x\n", "must have the columns path and label, but has file, class"),
        ("", "cannot be read as a CSV file"),
        ('path,label\n"a.png,x\n', "cannot be read as a CSV file"),
    ],
)
def test_bad_tables_are_refused(tmp_path: Path, rows: str, message: str) -> None:
    put(tmp_path / "data/a.png", b"")
    refused(put(tmp_path / "data/labels.csv", rows.encode()), message)


def test_missing_and_empty_folders_are_refused(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "must be a folder or a CSV file, but .*nowhere does not exist")
    refused(tmp_path, "must have one subfolder with images per class, but .* has none")
    put(tmp_path / "flat.png", b"")
    refused(tmp_path, "must have one subfolder with images per class, but .* has none")
    class_folders(tmp_path, {"only": 2})
    refused(tmp_path, "At least two classes are needed, but got only 'only'")


# ---- digits


def test_the_digits_are_written_once_and_read_like_a_folder(tmp_path: Path) -> None:
    manifest = read_manifest("digits", tmp_path / "digits")
    assert len(manifest) == 1797
    assert manifest["keep"].all()
    assert manifest["group"].is_unique
    assert list(manifest.groupby("label").size()) == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert set(zip(manifest["width"], manifest["height"], manifest["mode"], strict=True)) == {(8, 8, "L")}
    stored = np.asarray(Image.open(tmp_path / "digits" / "0" / "0000.png"))
    np.testing.assert_array_equal(stored, np.rint(cast(Any, load_digits()).images[0] * (255 / 16)))
    written = (tmp_path / "digits" / "0").stat().st_mtime_ns
    digits.candidates(tmp_path / "digits", None)
    assert (tmp_path / "digits" / "0").stat().st_mtime_ns == written
    assert [file.name for file in tmp_path.iterdir()] == ["digits"]


def test_the_digits_refuse_other_folders_and_test_images(tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 2})
    with pytest.raises(InputError, match=r"must have 1797 images, but .* has 2: give an empty folder"):
        digits.candidates(tmp_path, None)
    with pytest.raises(InputError, match=r"cannot be written to .* \(File exists\)"):
        digits.candidates(tmp_path / "a/0.png/digits", None)
    with pytest.raises(InputError, match="The digits do not support your own test images"):
        digits.candidates(tmp_path / "digits", tmp_path)


# ---- the table of datasets


def test_the_datasets_by_name(tmp_path: Path) -> None:
    assert {name: one.name for name, one in DATASETS.items()} == {name: name for name in DATASETS}
    overlap = {name: one.pretraining_overlap for name, one in DATASETS.items()}
    assert overlap == {
        "digits": "none",
        "folder": "unknown",
        "stanford_dogs": "full",
        "dog_breeds": "full",
        "cats_vs_dogs": "unknown",
        "stanford_cars": "none",
    }
    with pytest.raises(InputError, match="No dataset is named 'dgos': use one of digits, folder, stanford_dogs, dog_"):
        read_manifest("dgos", tmp_path)
