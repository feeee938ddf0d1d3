"""Kaggle's dog breeds, and cats and dogs from Kaggle or from Microsoft."""

import hashlib
import shutil
from pathlib import Path

import pytest

from tests import trees
from tests.trees import class_folders, encoded, members, pixels, put, refused
from trainables.data.datasets import DATASETS, read_manifest
from trainables.data.duplicates import conflicting_groups
from trainables.data.sources import cats_vs_dogs, dog_breeds
from trainables.errors import InputError

BULL, DINGO = trees.BREEDS


# ---- Kaggle's dog breeds


def test_dog_breeds_by_their_table(tmp_path: Path) -> None:
    manifest = read_manifest("dog_breeds", trees.dog_breeds(tmp_path))
    assert dict(zip(manifest["path"], manifest["label"], strict=True)) == {
        f"train/{'0' * 32}.jpg": 0,
        f"train/{BULL}.jpg": 0,
        f"train/{DINGO}.jpg": 1,
        f"train/{'f' * 32}.jpg": 1,
    }
    assert list(manifest["label_name"].unique()) == ["boston_bull", "dingo"]
    assert manifest["keep"].all()
    assert manifest["official_split"].isna().all()


def test_dog_breeds_from_the_archives(tmp_path: Path) -> None:
    tree = trees.dog_breeds(tmp_path / "tree")
    expected = dog_breeds.candidates(tree, None)
    bundle, inner, train = tmp_path / "bundle", tmp_path / "inner", tmp_path / "train"
    for folder in (bundle, inner, train):
        folder.mkdir()
    trees.make_zip(bundle / "dog-breed-identification.zip", members(tree))
    trees.make_zip(train / "train.zip", members(tree, "train"))
    shutil.copy(tree / "labels.csv", train)
    packed = {"train.zip": (train / "train.zip").read_bytes(), **members(tree, "labels.csv")}
    trees.make_zip(inner / "dog-breed-identification.zip", packed)
    for data in (bundle, inner, train):
        assert dog_breeds.candidates(data, None) == expected
        assert dog_breeds.candidates(data, None) == expected, "a second time"


def test_a_missing_dog_or_an_unknown_one_is_an_error(tmp_path: Path) -> None:
    picture = trees.dog_breeds(tmp_path) / f"train/{BULL}.jpg"
    picture.rename(tmp_path / f"train/{'1' * 32}.jpg")
    refused(
        tmp_path, f"1 of 4 images of .*labels.csv are not in .*train, the first is '{BULL}.jpg'", dataset="dog_breeds"
    )
    (tmp_path / f"train/{'1' * 32}.jpg").rename(picture)
    put(tmp_path / "train/new.jpg", b"")
    refused(
        tmp_path, "1 of 5 images in .*train are not in labels.csv, the first is 'train/new.jpg'", dataset="dog_breeds"
    )


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("id,breed\n../../../etc/passwd,dingo\n", "are not in .*train, the first is '../../../etc/passwd.jpg'"),
        ("id,label\na,b\n", "must have the columns id and breed, but has id, label"),
        (f"id,breed\n{BULL},\n", f"needs an id and a breed, but got '{BULL}', ''"),
        (f"id,breed\n{BULL},dingo\n{BULL},pug\n", f"lists '{BULL}' twice"),
    ],
)
def test_bad_tables_of_breeds_are_refused(tmp_path: Path, rows: str, message: str) -> None:
    put(trees.dog_breeds(tmp_path) / "labels.csv", rows.encode())
    refused(tmp_path, message, dataset="dog_breeds")


def test_dog_breeds_say_what_to_place(tmp_path: Path) -> None:
    message = "must have labels.csv and train/ of Kaggle's .* or train.zip for train/, or dog-breed-identification.zip"
    refused(tmp_path, message, dataset="dog_breeds")
    fetch = DATASETS["dog_breeds"].download
    assert fetch is not None
    with pytest.raises(InputError, match=message):
        fetch(tmp_path)
    fetch(trees.dog_breeds(tmp_path))


def test_dog_breeds_and_the_users_own_dogs(tmp_path: Path) -> None:
    class_folders(tmp_path / "mine", {"dingo": 1, "boston_bull": 1}, seed=700)
    manifest = read_manifest("dog_breeds", trees.dog_breeds(tmp_path / "data"), tmp_path / "mine")
    assert list(manifest["official_split"].dropna()) == ["test", "test"]
    class_folders(tmp_path / "mine", {"pug": 1})
    with pytest.raises(InputError, match=r"'pug' .* has none: rename or remove it; the classes are boston_bull, dingo"):
        read_manifest("dog_breeds", tmp_path / "data", tmp_path / "mine")


# ---- cats and dogs


def test_cats_and_dogs_in_kaggles_flat_folder(tmp_path: Path) -> None:
    manifest = read_manifest("cats_vs_dogs", trees.cats_flat(tmp_path))
    assert list(zip(manifest["path"], manifest["label"], manifest["label_name"], strict=True)) == [
        ("train/cat.0.jpg", 0, "cat"),
        ("train/cat.1.jpg", 0, "cat"),
        ("train/dog.0.jpg", 1, "dog"),
        ("train/dog.1.jpg", 1, "dog"),
    ]
    assert manifest["keep"].all()
    assert manifest["official_split"].isna().all()


def test_cats_and_dogs_from_kaggles_archives(tmp_path: Path) -> None:
    tree = trees.cats_flat(tmp_path / "tree")
    expected = cats_vs_dogs.candidates(tree, None)
    (tmp_path / "single").mkdir()
    trees.make_zip(tmp_path / "single/train.zip", members(tree, "train"))
    trees.make_zip(tmp_path / "single/test1.zip", members(tree, "test1"))
    assert cats_vs_dogs.candidates(tmp_path / "single", None) == expected
    assert not (tmp_path / "single/test1").exists()
    for bundle in ("dogs-vs-cats.zip", "dogs-vs-cats-redux-kernels-edition.zip"):
        data = tmp_path / bundle.removesuffix(".zip")
        data.mkdir()
        trees.make_zip(data / bundle, {"train.zip": (tmp_path / "single/train.zip").read_bytes()})
        assert cats_vs_dogs.candidates(data, None) == expected


def test_another_name_in_the_flat_folder_is_refused(tmp_path: Path) -> None:
    put(trees.cats_flat(tmp_path) / "train/1.jpg", b"")
    refused(tmp_path, "must be named cat.0.jpg, dog.0.jpg, ..., but got 'train/1.jpg'", dataset="cats_vs_dogs")
    shutil.rmtree(tmp_path / "train")
    put(tmp_path / "train/cats/cat.0.jpg", b"")
    refused(tmp_path, "but got 'train/cats/cat.0.jpg'", dataset="cats_vs_dogs")
    shutil.rmtree(tmp_path / "train/cats")
    refused(tmp_path, "but got none", dataset="cats_vs_dogs")


def test_pet_images_are_judged_by_decoding_them(tmp_path: Path) -> None:
    manifest = read_manifest("cats_vs_dogs", trees.pet_images(tmp_path))
    reasons = dict(zip(manifest["path"].str.removeprefix("PetImages/"), manifest["drop_reason"], strict=True))
    assert reasons == {
        "Cat/0.jpg": "",
        "Cat/1.jpg": "",
        "Cat/2.jpg": "truncated",
        "Cat/3.jpg": "",  # no JFIF
        "Cat/4.jpg": "",  # gray
        "Cat/5.jpg": "",
        "Cat/666.jpg": "empty file",
        "Dog/0.jpg": "",
        "Dog/1.jpg": "",
        "Dog/11702.jpg": "empty file",
        "Dog/2.jpg": "",  # a GIF
        "Dog/3.jpg": "",  # bytes after its end
    }
    assert set(zip(manifest["label"], manifest["label_name"], strict=True)) == {(0, "cat"), (1, "dog")}
    by_item = manifest.set_index("item")["path"]
    assert [[by_item[item] for item in group] for group in conflicting_groups(manifest)] == [
        ["PetImages/Cat/5.jpg", "PetImages/Dog/1.jpg"]
    ]


def test_pet_images_from_either_edition_of_the_zip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = trees.pet_images(tmp_path / "tree")
    for name, sha256 in cats_vs_dogs.SHA256.items():
        data = tmp_path / name.removesuffix(".zip")
        data.mkdir()
        trees.make_zip(data / name, members(tree))
        refused(data, f"{name} must have the SHA256 {sha256}, but has", dataset="cats_vs_dogs")
        real = hashlib.sha256((data / name).read_bytes()).hexdigest()
        with monkeypatch.context() as patched:
            patched.setitem(cats_vs_dogs.SHA256, name, real)
            assert cats_vs_dogs.candidates(data, None) == cats_vs_dogs.candidates(tree, None)


def test_both_packagings_at_once_or_none_are_refused(tmp_path: Path) -> None:
    message = "must have Microsoft's PetImages/ or its zip, or Kaggle's train/ .*: add --download to get the first"
    refused(tmp_path, message, dataset="cats_vs_dogs")
    trees.cats_flat(trees.pet_images(tmp_path))
    refused(tmp_path, "share images, but .* has both: keep one", dataset="cats_vs_dogs")
    shutil.rmtree(tmp_path / "train")
    shutil.rmtree(tmp_path / "PetImages/Dog")
    refused(tmp_path, "PetImages must have Cat/ and Dog/, but has no Dog/", dataset="cats_vs_dogs")


def test_only_what_is_not_there_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, Path, str, str]] = []
    monkeypatch.setattr(cats_vs_dogs, "fetch", lambda *arguments: asked.append(arguments))
    cats_vs_dogs.download(tmp_path)
    name = "kagglecatsanddogs_5340.zip"
    assert asked == [(cats_vs_dogs.URL + name, tmp_path / name, "sha256", cats_vs_dogs.SHA256[name])]
    cats_vs_dogs.download(trees.cats_flat(tmp_path / "flat"))
    put(tmp_path / "old/kagglecatsanddogs_3367a.zip", b"")
    cats_vs_dogs.download(tmp_path / "old")
    assert len(asked) == 1


def test_cats_and_dogs_of_the_user(tmp_path: Path) -> None:
    put(tmp_path / "mine/dog/x.png", encoded(pixels(800)))
    put(tmp_path / "mine/cat/x.png", encoded(pixels(801)))
    manifest = read_manifest("cats_vs_dogs", trees.cats_flat(tmp_path / "data"), tmp_path / "mine")
    tests = manifest[manifest["official_split"] == "test"]
    assert list(tests["label_name"]) == ["cat", "dog"]
