"""Folders as other tools leave them: WebDataset shards, parquet tables, metadata files."""

import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest

from tests.trees import class_folders, encoded, make_tar, pixels, put, refused, write_parquet
from trainables.data.datasets import read_manifest


def read(data: Path) -> list[tuple[str, int, str, str | None]]:
    manifest = read_manifest("folder", data)
    assert manifest["keep"].all()
    splits = [None if pd.isna(split) else split for split in manifest["official_split"]]
    return list(zip(manifest["path"], manifest["label"], manifest["label_name"], splits, strict=True))


def picture(seed: int, kind: str = "PNG") -> bytes:
    return encoded(pixels(seed), kind)


# ---- WebDataset

SHARD = {
    "0001.jpg": picture(1, "JPEG"),
    "0001.cls": b"10\n",
    "0002.JPG": picture(2, "JPEG"),
    "0002.cls": b"9",
    "0003.png": picture(3),
    "0003.json": b'{"label": 10, "text": "a bus"}',
    "0003.seg.png": picture(4),
    "notes/read.me": b"no sample",
}


def test_shards_with_class_numbers(tmp_path: Path) -> None:
    make_tar(tmp_path / "000.tar", SHARD)
    folder = ".unpacked-pictures/000.tar"
    assert read(tmp_path) == [
        (f"{folder}/0001.jpg", 1, "10", None),
        (f"{folder}/0002.JPG", 0, "9", None),
        (f"{folder}/0003.png", 1, "10", None),
    ]


def test_class_numbers_are_named_by_a_file_and_splits_by_the_shards(tmp_path: Path) -> None:
    names = [f"class {number}" for number in range(11)]
    put(tmp_path / "classes.txt", "\n".join(["zebra", *names[1:]]).encode())
    (tmp_path / "val").mkdir()
    make_tar(
        tmp_path / "pets-train-0.tar", {"a/7.png": picture(1), "a/7.cls": b"0", "b/7.png": picture(2), "b/7.cls": b"9"}
    )
    make_tar(tmp_path / "val/0.tar", {"7.webp": picture(3, "WEBP"), "7.json": b'{"label": "zebra"}'})
    make_tar(tmp_path / "pets-test.tar", {"7.gif": picture(4, "GIF"), "7.cls": b"class 9"})
    folder = ".unpacked-pictures"
    assert read(tmp_path) == [
        (f"{folder}/pets-test.tar/7.gif", 1, "class 9", "test"),
        (f"{folder}/pets-train-0.tar/a/7.png", 0, "zebra", "train"),
        (f"{folder}/pets-train-0.tar/b/7.png", 1, "class 9", "train"),
        (f"{folder}/val/0.tar/7.webp", 0, "zebra", "val"),
    ]


def test_a_shard_is_unpacked_again_only_where_something_changed(tmp_path: Path) -> None:
    shard = make_tar(tmp_path / "0.tar", SHARD)
    first = read(tmp_path)
    unpacked = tmp_path / ".unpacked-pictures/0.tar/0001.jpg"
    written = unpacked.stat().st_ino, unpacked.stat().st_mtime_ns
    assert read(tmp_path) == first
    assert (unpacked.stat().st_ino, unpacked.stat().st_mtime_ns) == written
    put(tmp_path / ".unpacked-pictures/0.tar/0009.jpg", picture(9)).with_suffix(".cls").write_bytes(b"9")
    assert read(tmp_path) == first, "what does not come from the shard goes"
    make_tar(shard, {"x.png": picture(1), "x.cls": b"a", "y.png": picture(2), "y.cls": b"b"})
    os.utime(shard, ns=(1, 1))
    assert [row[2] for row in read(tmp_path)] == ["a", "b"]


def test_an_archive_beside_class_folders_is_no_shard(tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 1, "b": 1})
    make_tar(tmp_path / "backup.tar", SHARD)
    write_parquet(tmp_path / "table.parquet", [(picture(1), None, 1)])
    assert [row[0] for row in read(tmp_path)] == ["a/0.png", "b/0.png"]
    for split in ("train", "test"):
        class_folders(tmp_path / "split" / split, {"a": 1, "b": 1})
    make_tar(tmp_path / "split/backup.tar", SHARD)
    assert len(read(tmp_path / "split")) == 4


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"1.png": b"x"}, r"one image with .cls or .json, but '1' of .*0.tar has .png: fix the shard"),
        ({"1.cls": b"x"}, r"but '1' of .*0.tar has .cls"),
        ({"1.png": b"", "1.jpg": b"", "1.cls": b"1"}, r"but '1' of .*0.tar has .cls, .jpg, .png"),
        ({"1.txt": b"x"}, r"but .*0.tar has none: fix it"),
        ({"a.1.png": b"x", "a.1.cls": b"1"}, r"but .*0.tar has none: fix it"),
        ({"1.png": b"", "1.cls": b"-1"}, r"number from 0 or a name, but '.*1.cls' has -1: fix it, or remove"),
        ({"1.png": b"", "1.cls": b" \n"}, r"but '.*1.cls' has ''"),
        ({"1.png": b"", "1.cls": b"\xff"}, r"1.cls has no valid label \(.*utf-8"),
        ({"1.png": b"", "1.cls": bytes(2**20 + 1)}, r"1.cls has no valid label \(more than 1048576 bytes\)"),
        ({"1.png": b"", "1.cls": b"9" * 5000}, r"1.cls has no valid label \(Exceeds the limit"),
        ({"1.png": b"", "1.json": b"[" * 200_000}, r"1.json has no valid label \(maximum recursion depth"),
        ({"1.png": b"", "1.json": b"{"}, r"1.json has no valid label \(Expecting property name"),
        ({"1.png": b"", "1.json": b'{"class": 3}'}, r"but '.*1.json' has None"),
        ({"1.png": b"", "1.json": b'{"label": true}'}, r"but '.*1.json' has True"),
        ({"1.png": b"", "1.json": b"[3]"}, r"but '.*1.json' has None"),
        (
            {"../1.png": b"", "../1.cls": b"1"},
            r"0.tar cannot be unpacked .*its member '../1.png' would leave the folder",
        ),
    ],
)
def test_bad_shards_are_refused(tmp_path: Path, members: dict[str, bytes], message: str) -> None:
    make_tar(tmp_path / "0.tar", members)
    refused(tmp_path, message)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (b"cat\ndog\n", "Class numbers must be from 0 to 1, but .*0002.cls' has 9|has 10"),
        (b"cat\n\ndog\n", "must name one class per line, but line 2 is empty"),
        (b"cat\ndog\ncat", "must name each class once, but has 'cat' twice"),
        (b"\xff", "classes.txt cannot be read"),
        (b"", "must name one class per line, but line 1 is empty"),
    ],
)
def test_the_names_of_classes_are_checked(tmp_path: Path, names: bytes, message: str) -> None:
    make_tar(tmp_path / "0.tar", SHARD)
    put(tmp_path / "classes.txt", names)
    refused(tmp_path, message)
    make_tar(tmp_path / "0.tar", {"1.png": b"", "1.cls": b"bird"})
    put(tmp_path / "classes.txt", b"cat\ndog")
    refused(tmp_path, "The classes are cat, dog, but .*1.cls' has 'bird'")


# ---- parquet

ROWS = [(picture(1), "one.PNG", 1), (picture(2, "JPEG"), None, 0), (picture(3), "../../../escape.png", 1)]


def test_tables_of_images_with_their_class_names(tmp_path: Path) -> None:
    write_parquet(tmp_path / "data/train-00000-of-00001.parquet", ROWS, ["zebra", "ape"])
    write_parquet(tmp_path / "data/validation-00000-of-00001.parquet", [(picture(4), "x.exe", 0)], ["zebra", "ape"])
    folder = ".unpacked-pictures/data"
    assert read(tmp_path) == [
        (f"{folder}/train-00000-of-00001.parquet/00000000.png", 1, "ape", "train"),
        (f"{folder}/train-00000-of-00001.parquet/00000001", 0, "zebra", "train"),
        (f"{folder}/train-00000-of-00001.parquet/00000002.png", 1, "ape", "train"),
        (f"{folder}/validation-00000-of-00001.parquet/00000000", 0, "zebra", "val"),
    ]
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".parquet") == [
        *("00000000", "00000000.png", "00000001", "00000002.png"),
    ]


def test_tables_without_class_names(tmp_path: Path) -> None:
    table = write_parquet(tmp_path / "all.parquet", [*ROWS, (picture(4), None, 10)])
    assert [row[1:3] for row in read(tmp_path)] == [(1, "1"), (0, "0"), (1, "1"), (2, "10")]
    put(tmp_path / "classes.txt", "\n".join("zyxwvutsrqp").encode())
    assert [row[2] for row in read(tmp_path)] == ["y", "z", "y", "p"]
    (tmp_path / "classes.txt").unlink()
    write_parquet(table, [(content, path, f"class {label}") for content, path, label in ROWS])
    assert [row[1:3] for row in read(tmp_path)] == [(1, "class 1"), (0, "class 0"), (1, "class 1")]


def test_bad_tables_of_images_are_refused(tmp_path: Path) -> None:
    table = tmp_path / "all.parquet"
    write_parquet(table, [*ROWS, (None, "elsewhere.png", 1)])
    refused(tmp_path, "Each row must have an image, but row 3 of .*all.parquet has no bytes")
    write_parquet(table, [*ROWS, (picture(4), None, -1)], ["a", "b"])
    refused(
        tmp_path, "number from 0 or a name, but row 3 of .*all.parquet has -1: fix it, or remove the images without a l"
    )
    write_parquet(table, [*ROWS, (picture(4), None, 2)], ["a", "b"])
    refused(tmp_path, "Class numbers must be from 0 to 1, but row 3 of .*all.parquet has 2")
    write_parquet(table, [(picture(4), None, None)])
    refused(tmp_path, "but row 0 of .*all.parquet has None")
    table.write_bytes(table.read_bytes()[:-20])
    refused(tmp_path, "all.parquet cannot be read as a parquet table .*: download it again")
    read_manifest("folder", class_folders(tmp_path / "x", {"a": 1, "b": 1})).to_parquet(table)
    shutil.rmtree(tmp_path / "x")
    refused(tmp_path, r"must have the columns image \(with bytes and path\) and label, but has item \(int64\), path")


def test_a_table_that_grows_is_refused(tmp_path: Path) -> None:
    write_parquet(tmp_path / "0.parquet", [(bytes(2**19), None, 0)] * 20)  # stored once
    refused(tmp_path, "0.parquet (would|cannot be read as a parquet table .it would) grow more than 100-fold")
    assert not list(tmp_path.rglob("00000000*"))


# ---- metadata.csv and metadata.jsonl


def test_metadata_in_each_split(tmp_path: Path) -> None:
    for seed, name in enumerate(("train/a.png", "train/deep/b.png", "validation/a.png", "test/a.png")):
        put(tmp_path / name, picture(seed))
    put(tmp_path / "train/metadata.csv", b"file_name,label,note\na.png,10,x\ndeep/b.png,9,y\n")
    put(tmp_path / "validation/metadata.jsonl", b'{"file_name": "a.png", "label": 9, "boxes": [[1, 2]]}\n\n')
    put(tmp_path / "test/metadata.jsonl", b'{"label": "10", "file_name": "a.png"}')
    assert sorted(read(tmp_path)) == [
        ("test/a.png", 1, "10", "test"),
        ("train/a.png", 1, "10", "train"),
        ("train/deep/b.png", 0, "9", "train"),
        ("validation/a.png", 0, "9", "val"),
    ]
    (tmp_path / "test/metadata.jsonl").unlink()
    refused(tmp_path, "test/ needs metadata with file_name and label, but .*test has none")


def test_one_metadata_file_for_all(tmp_path: Path) -> None:
    for seed, name in enumerate(("train/1.png", "test/1.png", "more/1.png", "more/2.png")):
        put(tmp_path / name, picture(seed))
    lines = [
        {"file_name": "train/1.png", "label": "b", "group": "x"},
        {"file_name": "test/1.png", "label": "a"},
        {"file_name": "more/1.png", "label": "a", "group": "x"},
        {"file_name": "more/2.png", "label": "b", "split": "val"},
    ]
    put(tmp_path / "metadata.jsonl", "\n".join(map(json.dumps, lines)).encode())
    assert read(tmp_path) == [
        ("more/1.png", 0, "a", None),
        ("more/2.png", 1, "b", "val"),
        ("test/1.png", 0, "a", "test"),
        ("train/1.png", 1, "b", "train"),
    ]
    assert list(read_manifest("folder", tmp_path)["group"]) == [0, 1, 2, 0]


def test_metadata_without_labels_leaves_the_class_folders_alone(tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 1, "b": 1})
    put(tmp_path / "metadata.csv", b"file_name,text\na/0.png,a dog\n")
    assert [row[0] for row in read(tmp_path)] == ["a/0.png", "b/0.png"]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("metadata.csv", b"file_name,label\n../a.png,x\n", "must be below its folder, but '../a.png' is not"),
        ("metadata.csv", b"file_name,label\n/a.png,x\n", "must be below its folder, but '/a.png' is not"),
        ("metadata.csv", b"file_name,label\nb.png,x\n", "1 of 1 images of .* do not exist, the first is 'b.png'"),
        ("metadata.csv", b"file_name,label\na.png,\n", "needs a path and a label, but got 'a.png', ''"),
        ("metadata.jsonl", b'{"file_name": "a.png", "label": null}', "needs a path and a label, but got 'a.png', ''"),
        ("metadata.jsonl", b'{"file_name": "a\\u0000", "label": 1}', "must be below its folder"),
        ("metadata.jsonl", b'{"file_name": "a.png", "label": 1}\n{"file', r"line 2 of .*metadata.jsonl is not \(Unt"),
        ("metadata.jsonl", b"3", r"must be a JSON object, but line 1 of .*metadata.jsonl is not: fix it"),
        ("metadata.jsonl", b"[" * 200_000, r"line 1 of .*metadata.jsonl is not \(maximum recursion"),
        ("metadata.jsonl", b"\xff", "metadata.jsonl cannot be read"),
    ],
)
def test_bad_metadata_is_refused(tmp_path: Path, file: str, content: bytes, message: str) -> None:
    put(tmp_path / "data/a.png", b"")
    put(tmp_path / "a.png", b"")
    put(tmp_path / "data" / file, content)
    refused(tmp_path / "data", message)


def test_an_image_in_two_metadata_files_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "train/a.png", picture(0))
    put(tmp_path / "metadata.csv", b"file_name,label\ntrain/a.png,x\n")
    put(tmp_path / "train/metadata.csv", b"file_name,label\na.png,x\n")
    refused(tmp_path, "Two metadata files list 'train/a.png'")
