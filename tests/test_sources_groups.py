"""Images that the user puts together stay together."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from analysis.confirmed import images
from study.results import Results
from tests import trees
from tests.trees import class_folders, encoded, pixels, put
from trainables.data.datasets import read_manifest
from trainables.data.duplicates import conflicting_groups
from trainables.data.manifest import manifest_hash
from trainables.data.splits import add_folds, drop_leaks
from trainables.errors import InputError


def grouped(data: Path, rows: str, name: str = "folder") -> dict[str, int]:
    put(data / "groups.csv", rows.encode())
    manifest = read_manifest(name, data)
    return dict(zip(manifest["path"], manifest["group"], strict=True))


def groups_refused(data: Path, rows: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        grouped(data, rows)
    assert "\n" not in str(caught.value)


def test_a_group_is_numbered_by_its_first_item_and_joins_duplicates(tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 3, "b": 3})
    put(tmp_path / "b/9.png", encoded(pixels(2)))  # a copy of a/2.png
    rows = "path,group\nb/0.png,night\na/1.png, night\n./b/9.png,night\na/0.png,\nb/1.png,day\nb/2.png,day\n"
    assert grouped(tmp_path, rows) == {
        **{"a/0.png": 0, "a/1.png": 1, "a/2.png": 1},
        **{"b/0.png": 1, "b/1.png": 4, "b/2.png": 4, "b/9.png": 1},
    }
    manifest = read_manifest("folder", tmp_path)
    assert list(manifest["duplicate_of"]) == [0, 1, 2, 3, 4, 5, 2]
    assert conflicting_groups(manifest) == [[2, 6]], "only copies should carry one label"
    copies = images.duplicates(cast(Results, SimpleNamespace(manifest=manifest.assign(fold="pool"))))
    assert copies[["files", "labels", "example"]].to_numpy().tolist() == [[2, 2, "a/2.png"]], "in the report"


def test_a_file_that_cannot_be_used_joins_nothing(tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 2, "b": 1})
    put(tmp_path / "a/bad.png", b"")
    found = grouped(tmp_path, "path,group\na/bad.png,x\na/0.png,x\nb/0.png,x\n")
    assert found == {"a/0.png": 0, "a/1.png": 1, "a/bad.png": 2, "b/0.png": 0}


def test_no_group_straddles_folds(tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 24, "b": 24})
    lines = [f"{label}/{number}.png,{label}{number // 4}" for label in "ab" for number in range(24)]
    grouped(tmp_path, "path,group\n" + "\n".join(lines))
    alone = read_manifest("folder", tmp_path)
    assert alone.groupby("group").size().tolist() == [4] * 12
    for seed in range(5):
        folds = add_folds(alone, ["60-20-20"], seed, official=True, split_is_factor=False)
        assert set(folds["fold"]) == {"pool", "val", "test"}
        assert (folds.groupby("group")["fold"].nunique() == 1).all()


def test_a_column_group_in_the_table_of_images(tmp_path: Path) -> None:
    class_folders(tmp_path / "x", {"a": 2, "b": 2})
    put(tmp_path / "all.csv", b"path,label,group\nx/a/0.png,a,\nx/a/1.png,a,1\nx/b/0.png,b,2\nx/b/1.png,b,1\n")
    manifest = read_manifest("folder", tmp_path)
    assert list(manifest["group"]) == [0, 1, 2, 1]
    assert list(read_manifest("folder", tmp_path / "all.csv")["group"]) == [0, 1, 2, 1]
    groups_refused(
        tmp_path, "path,group\nx/a/0.png,1\n", "Only one source of groups is allowed, but got .*groups.csv and a column"
    )


def test_groups_beside_a_table_of_images_and_in_a_known_dataset(tmp_path: Path) -> None:
    class_folders(tmp_path / "own/x", {"a": 2, "b": 2})
    put(tmp_path / "own/all.csv", b"path,label\nx/a/0.png,a\nx/a/1.png,a\nx/b/0.png,b\nx/b/1.png,b\n")
    assert list(grouped(tmp_path / "own", "path,group\nx/a/0.png,1\nx/b/1.png,1\n").values()) == [0, 1, 2, 0]
    trees.cats_flat(tmp_path / "cats")
    found = grouped(tmp_path / "cats", "path,group\ntrain/cat.1.jpg,1\ntrain/dog.0.jpg,1\n", "cats_vs_dogs")
    assert list(found.values()) == [0, 1, 1, 3]


def test_a_group_across_an_official_boundary_loses_its_training_images(tmp_path: Path) -> None:
    class_folders(tmp_path / "train", {"a": 3, "b": 3})
    class_folders(tmp_path / "test", {"a": 1, "b": 1}, seed=50)
    put(tmp_path / "train/b/9.png", encoded(pixels(51)))  # a copy of test/b/0.png
    grouped(tmp_path, "path,group\ntrain/a/0.png,one\ntest/a/0.png,one\n")
    left = drop_leaks(read_manifest("folder", tmp_path), official=True)
    assert dict(left.loc[~left["keep"], ["path", "drop_reason"]].to_numpy()) == {
        "train/a/0.png": "in one group with a test image",
        "train/b/9.png": "duplicate of a test image",
    }


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            "path,group\na/0.png,1\na/7.png,1\n",
            "1 of 2 images of .*groups.csv are not in the data, the first is 'a/7",
        ),
        ("path,group\n../a/0.png,1\n", "are not in the data, the first is '../a/0.png'"),
        ("path,group\na/0.png,1\n./a/0.png,2\n", "lists 'a/0.png' twice"),
        ("file,group\na/0.png,1\n", "must have the columns path and group, but has file, group"),
        ("", "groups.csv cannot be read as a CSV file"),
    ],
)
def test_bad_tables_of_groups_are_refused(tmp_path: Path, rows: str, message: str) -> None:
    groups_refused(class_folders(tmp_path, {"a": 1, "b": 1}), rows, message)


def test_groups_are_part_of_the_version(tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 2, "b": 2})
    before = manifest_hash(read_manifest("folder", tmp_path))
    grouped(tmp_path, "path,group\na/0.png,1\n")
    assert manifest_hash(read_manifest("folder", tmp_path)) == before, "a group of one is none"
    grouped(tmp_path, "path,group\na/0.png,1\nb/1.png,1\n")
    assert manifest_hash(read_manifest("folder", tmp_path)) != before
