from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.trees import class_folders, encoded, pixels, put
from trainables.data.manifest import Candidate, check, label_names, manifest_hash, scan
from trainables.errors import InputError

COLUMNS = [
    *("item", "path", "label", "label_name", "bytes", "sha256", "width", "height", "mode"),
    *("official_split", "keep", "drop_reason", "group", "duplicate_of"),
    *("box_left", "box_top", "box_right", "box_bottom"),
]


def listed(root: Path) -> list[Candidate]:
    return [Candidate(str(file.relative_to(root)), file.parent.name) for file in root.glob("*/*")]


def test_one_row_per_candidate_sorted_by_path(tmp_path: Path) -> None:
    class_folders(tmp_path, {"b": 1, "a": 2})
    heard: list[tuple[int, int]] = []
    manifest = scan(tmp_path, listed(tmp_path), lambda done, of: heard.append((done, of)))
    assert list(manifest.columns) == COLUMNS
    assert list(manifest["item"]) == [0, 1, 2]
    assert list(manifest["path"]) == ["a/0.png", "a/1.png", "b/0.png"]
    assert list(manifest["label"]) == [0, 0, 1]
    assert list(manifest["group"]) == [0, 1, 2]
    assert set(zip(manifest["width"], manifest["height"], manifest["mode"], strict=True)) == {(48, 40, "RGB")}
    assert manifest["bytes"][2] == (tmp_path / "b/0.png").stat().st_size
    assert manifest["official_split"].isna().all()
    assert manifest["keep"].all()
    assert heard == [(1, 3), (2, 3), (3, 3)]
    assert manifest[COLUMNS[-4:]].isna().all(axis=None)
    check(manifest)


def test_a_source_may_fix_the_order_of_classes(tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 1, "b": 1})
    manifest = scan(tmp_path, listed(tmp_path), label_names=["b", "a"])
    assert list(manifest["label"]) == [1, 0]
    assert label_names(manifest) == ["b", "a"]
    manifest = scan(tmp_path, listed(tmp_path), label_names=["b", "none of these", "a"])
    assert list(manifest["label"]) == [1, 0], "a class without images has no number"


def test_bad_files_stay_as_dropped_rows(tmp_path: Path) -> None:
    class_folders(tmp_path, {"cat": 1, "dog": 1})
    put(tmp_path / "cat/666.jpg", b"")
    put(tmp_path / "cat/Thumbs.db", b"\xd0\xcf\x11\xe0")
    put(tmp_path / "dog/cut.jpg", encoded(pixels(9), "JPEG")[:-300])
    candidates = [*listed(tmp_path), Candidate("dog/gone.jpg", "dog"), Candidate("dog", "dog")]
    manifest = scan(tmp_path, candidates).set_index("path")
    assert manifest["drop_reason"].to_dict() == {
        "cat/0.png": "",
        "cat/666.jpg": "empty file",
        "cat/Thumbs.db": "not a JPEG, PNG, WEBP, GIF, BMP or TIFF image",
        "dog": "unreadable: is a directory",
        "dog/0.png": "",
        "dog/cut.jpg": "truncated",
        "dog/gone.jpg": "unreadable: no such file or directory",
    }
    assert list(manifest["keep"]) == [reason == "" for reason in manifest["drop_reason"]]
    assert manifest["group"].is_unique
    assert manifest.loc["dog/cut.jpg", "label_name"] == "dog"


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    name = b"caf\xe9.png".decode(errors="surrogateescape")
    with pytest.raises(InputError, match=r"File names must be UTF-8, but got 'a/caf\\udce9.png'"):
        scan(tmp_path, [Candidate(f"a/{name}", "a")])


def test_images_outside_the_folder_have_absolute_paths(tmp_path: Path) -> None:
    class_folders(tmp_path / "data", {"a": 1, "b": 1})
    outside = put(tmp_path / "mine/a/x.png", encoded(pixels(7)))
    manifest = scan(tmp_path / "data", [*listed(tmp_path / "data"), Candidate(str(outside), "a", "test")])
    assert manifest["keep"].all()
    assert list(manifest["official_split"].dropna()) == ["test"]


def test_the_hash_follows_the_data_and_not_the_machine(tmp_path: Path) -> None:
    def version(place: str, seed: int = 0, label: str = "a") -> str:
        class_folders(tmp_path / place / "data", {label: 2, "b": 1}, seed)
        test = put(tmp_path / place / "mine/x.png", encoded(pixels(99)))
        candidates = [*listed(tmp_path / place / "data"), Candidate(str(test), label, "test")]
        manifest = scan(tmp_path / place / "data", candidates)
        assert manifest_hash(manifest) == manifest_hash(manifest.sample(frac=1, random_state=1))
        return manifest_hash(manifest)

    assert version("here") == version("there")
    assert len({version("one"), version("two", seed=50), version("three", label="c")}) == 3


def test_the_hash_notices_each_decision(tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 2, "b": 1})
    manifest = scan(tmp_path, listed(tmp_path))
    changes = {
        "keep": False,
        "group": 1,
        "official_split": "test",
        "label_name": "c",
        "sha256": "0",
        "path": "a/x",
    }
    hashes = {manifest_hash(manifest)}
    for column, value in changes.items():
        changed = manifest.copy()
        changed.loc[0, column] = value
        hashes.add(manifest_hash(changed))
    assert len(hashes) == 1 + len(changes)


def test_boxes_count_only_where_they_are(tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 2, "b": 1})
    put(tmp_path / "a/bad.png", b"")
    plain = listed(tmp_path)
    boxed = [replace(one, box=(0, 1, 20, 90)) if one.path in ("a/1.png", "a/bad.png") else one for one in plain]
    manifest = scan(tmp_path, boxed)
    boxes = manifest[COLUMNS[-4:]].astype(object).to_numpy().tolist()
    assert boxes == [[pd.NA] * 4, [0, 1, 20, 40], [pd.NA] * 4, [pd.NA] * 4], "clipped; none on what is dropped"
    without = scan(tmp_path, plain)
    assert manifest_hash(without) == manifest_hash(without.drop(columns=COLUMNS[-5:])), "as before there were any"
    moved = scan(tmp_path, [(one.box and replace(one, box=(0, 2, 20, 90))) or one for one in boxed])
    assert len({manifest_hash(one) for one in (without, manifest, moved)}) == 3
    manifest.to_parquet(tmp_path / "manifest.parquet")
    assert manifest_hash(pd.read_parquet(tmp_path / "manifest.parquet")) == manifest_hash(manifest)
    assert manifest_hash(manifest.astype(dict.fromkeys(COLUMNS[-4:], float))) == manifest_hash(manifest)


def test_the_hash_of_a_manifest_without_boxes_stays(tmp_path: Path) -> None:
    put(tmp_path / "a/x.png", b"one")
    put(tmp_path / "b/y.png", b"two")
    before = "e8581a705e8ef2dd36397a1db3815f3aac688f591f8ca80cbe389a045447732c"
    assert manifest_hash(scan(tmp_path, listed(tmp_path))) == before


def test_the_hash_of_images_with_a_twin_stays(tmp_path: Path) -> None:
    for number in range(4):
        put(tmp_path / "ab"[number % 2] / f"{number}.bmp", encoded(pixels(number), "BMP"))
    twin = np.clip(pixels(2).astype(int) + 3, 0, 255).astype(np.uint8)
    put(tmp_path / "b/again.bmp", encoded(twin, "BMP"))
    put(tmp_path / "a/x.bmp", b"text")
    manifest = scan(tmp_path, listed(tmp_path))
    assert manifest["group"].tolist() == [0, 1, 2, 3, 4, 1]
    assert manifest_hash(manifest) == "fcca60189aa4dce8c419ba9bb988224e4dc7daa78cc4c7d5e6461f50b7746934"


def test_what_cannot_be_learned_from_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="At least two images are needed, but got none"):
        check(scan(tmp_path, []))
    class_folders(tmp_path, {"only": 2})
    with pytest.raises(InputError, match="two classes are needed, but got only 'only'"):
        check(scan(tmp_path, listed(tmp_path)))
    put(tmp_path / "bad/x.png", b"text")
    with pytest.raises(InputError, match=r"Class 'bad' has no image that can be decoded \(1 dropped.*'not a JPEG"):
        check(scan(tmp_path, listed(tmp_path)))
    with pytest.raises(InputError, match=r"None of the 1 files can be decoded, the first is 'bad/x.png' \(not a"):
        check(scan(tmp_path, [Candidate("bad/x.png", "bad")]))
