import hashlib
from pathlib import Path

import pytest

from tests import trees
from tests.trees import put
from trainables.data.datasets import DATASETS, read_manifest
from trainables.data.manifest import Candidate
from trainables.data.sources import stanford_cars, stanford_dogs
from trainables.data.splits import drop_leaks
from trainables.errors import InputError

BOX = ["box_left", "box_top", "box_right", "box_bottom"]


# ---- Stanford Dogs


def test_stanford_dogs_by_its_own_lists(tmp_path: Path) -> None:
    manifest = read_manifest("stanford_dogs", trees.stanford_dogs(tmp_path))
    assert len(manifest) == 18
    assert manifest["keep"].all(), "one of them is a PNG called .jpg"
    assert manifest["official_split"].value_counts().to_dict() == {"train": 12, "test": 6}
    labels = manifest.drop_duplicates("label").set_index("label")["label_name"].to_dict()
    assert labels == {0: "Chihuahua", 1: "Shih-Tzu", 2: "black-and-tan_coonhound"}
    assert list(manifest.groupby("label").size()) == [6, 6, 6]
    boxes = manifest.set_index("path")[BOX]
    assert list(boxes.loc["Images/n02085620-Chihuahua/n02085620_3.jpg"]) == [5, 6, 48, 33], "clipped to the image"
    assert list(boxes.loc["Images/n02086240-Shih-Tzu/n02086240_0.jpg"]) == [5, 6, 40, 30]
    leaks = drop_leaks(manifest, official=True)
    assert list(leaks.loc[~leaks["keep"], "path"]) == ["Images/n02085620-Chihuahua/n02085620_0.jpg"]


def test_stanford_dogs_from_the_archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree, data = trees.stanford_dogs(tmp_path / "tree"), tmp_path / "data"
    data.mkdir()
    for archive, brings in stanford_dogs._BRINGS.items():
        trees.make_tar(data / archive, trees.members(tree, *brings))
    with pytest.raises(InputError, match=r"images.tar must have the MD5 1bb1f2a596ae7057f99d7d75860002ef, but has"):
        stanford_dogs.candidates(data, None)
    real = {name: hashlib.md5((data / name).read_bytes()).hexdigest() for name in stanford_dogs.MD5}
    monkeypatch.setattr(stanford_dogs, "MD5", real)
    assert stanford_dogs.candidates(data, None) == stanford_dogs.candidates(tree, None)
    (data / "images.tar").write_bytes(b"")  # unpacked already: not looked at again
    assert stanford_dogs.candidates(data, None) == stanford_dogs.candidates(tree, None)


def test_stanford_dogs_without_lists_has_no_official_split(tmp_path: Path) -> None:
    trees.stanford_dogs(tmp_path)
    for name in ("train", "test"):
        (tmp_path / f"{name}_list.mat").unlink()
    source = stanford_dogs.candidates(tmp_path, None)
    assert len(source.candidates) == 18
    assert {one.official_split for one in source.candidates} == {None}
    (tmp_path / "Annotation/n02086240-Shih-Tzu/n02086240_1").unlink()
    source = stanford_dogs.candidates(tmp_path, None)
    assert Candidate("Images/n02086240-Shih-Tzu/n02086240_1.jpg", "Shih-Tzu") in source.candidates


def test_an_annotation_of_stanford_dogs_that_grows_is_refused(tmp_path: Path) -> None:
    bomb = b'<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;&b;&b;">]><annotation>&c;</annotation>'
    put(trees.stanford_dogs(tmp_path) / f"Annotation/{trees.DOGS[1]}/n02086240_3", bomb)
    with pytest.raises(InputError, match=r"n02086240_3 is not an image annotation \(it declares a document type\)"):
        read_manifest("stanford_dogs", tmp_path)


def test_stanford_dogs_lists_are_checked(tmp_path: Path) -> None:
    def refused(message: str) -> None:
        with pytest.raises(InputError, match=message):
            stanford_dogs.candidates(tmp_path, None)

    refused(r"must have Images/ or images.tar of Stanford Dogs")
    trees.stanford_dogs(tmp_path)
    path = f"{trees.DOGS[1]}/n02086240_1.jpg"
    trees.write_list(tmp_path / "train_list.mat", [(path, 3)])
    refused(f"train_list.mat gives '{path}' the label 3, which is another folder")
    trees.write_list(tmp_path / "train_list.mat", [(path, 0)])
    refused("the label 0, which is another folder")
    trees.write_list(tmp_path / "train_list.mat", [(path, 2), (path.replace("_1", "_9"), 2)])
    refused("1 of 8 images of the lists are not in .*, the first is .*n02086240_9.jpg")
    (tmp_path / "train_list.mat").write_bytes(b"no matrix")
    refused(r"train_list.mat is not a list of Stanford Dogs")
    (tmp_path / "train_list.mat").unlink()
    refused("both train_list.mat and test_list.mat or neither, but has one")
    with pytest.raises(InputError, match="has its own test set"):
        stanford_dogs.candidates(tmp_path, tmp_path)


def test_download_takes_all_archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, Path, str, str]] = []
    monkeypatch.setattr(stanford_dogs, "fetch", lambda *arguments: asked.append(arguments))
    stanford_dogs.download(tmp_path)
    base = "http://vision.stanford.edu/aditya86/ImageNetDogs/"
    assert asked == [
        (base + "images.tar", tmp_path / "images.tar", "md5", "1bb1f2a596ae7057f99d7d75860002ef"),
        (base + "lists.tar", tmp_path / "lists.tar", "md5", "edbb9f16854ec66506b5f09b583e0656"),
        (base + "annotation.tar", tmp_path / "annotation.tar", "md5", "4298cc0031f6bc6e74612ac83b5988e2"),
    ]


# ---- Stanford Cars


def refused_cars(data: Path, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_manifest("stanford_cars", data)
    assert "\n" not in str(caught.value)


def test_cars_in_layout_a(tmp_path: Path) -> None:
    manifest = read_manifest("stanford_cars", trees.cars_a(tmp_path)).set_index("path")
    assert manifest["keep"].all()
    assert list(manifest.index) == [
        *(f"cars_test/0000{number}.jpg" for number in (1, 2, 3)),
        *(f"cars_train/0000{number}.jpg" for number in (1, 2, 3, 4)),
    ]
    assert list(manifest["label"]) == [2, 0, 2, 1, 0, 2, 1], "published from 1"
    assert list(manifest["official_split"]) == ["test"] * 3 + ["train"] * 4
    assert manifest.loc["cars_train/00001.jpg", "label_name"] == "Ram C/V Cargo Van Minivan 2012"
    assert list(manifest["mode"]) == ["RGB"] * 3 + ["L"] + ["RGB"] * 3
    assert list(manifest.loc["cars_train/00002.jpg", BOX]) == [3, 4, 42, 30]
    assert list(manifest.loc["cars_test/00002.jpg", BOX]) == [0, 0, 48, 40], "clipped to the image"
    leaks = drop_leaks(manifest.reset_index(), official=True)
    assert list(leaks.loc[~leaks["keep"], "path"]) == ["cars_train/00003.jpg"]


def test_cars_in_layout_b(tmp_path: Path) -> None:
    manifest = read_manifest("stanford_cars", trees.cars_b(tmp_path)).set_index("path")
    assert list(manifest.index) == [f"car_ims/00000{number}.jpg" for number in range(1, 7)]
    assert list(manifest["label"]) == [0, 0, 1, 1, 2, 2]
    assert list(manifest["label_name"][::2]) == list(trees.CARS)
    assert list(manifest["official_split"]) == ["train", "test"] * 3
    assert list(manifest.loc["car_ims/000006.jpg", BOX]) == [3, 4, 40, 30]


def test_cars_in_torchvisions_folder_a_nested_mirror_and_with_the_labels_in_the_devkit(tmp_path: Path) -> None:
    root = trees.cars_a(tmp_path / "stanford_cars")
    plain = [(one.label_name, one.official_split, one.box) for one in stanford_cars.candidates(root, None).candidates]
    (root / "cars_test_annos_withlabels.mat").rename(root / "devkit/cars_test_annos_withlabels.mat")
    for name in ("cars_train", "cars_test"):
        (root / name).rename(root / "inner")
        (root / name).mkdir()
        (root / "inner").rename(root / name / name)
    found = stanford_cars.candidates(tmp_path, None).candidates
    assert [(one.label_name, one.official_split, one.box) for one in found] == plain
    assert found[0].path == "stanford_cars/cars_train/cars_train/00001.jpg"
    assert read_manifest("stanford_cars", tmp_path)["keep"].all()


def test_cars_from_the_archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for tree, data, brings in (
        (trees.cars_a(tmp_path / "a"), tmp_path / "from_a", stanford_cars._BRINGS),
        (trees.cars_b(tmp_path / "b"), tmp_path / "from_b", stanford_cars._BRINGS_B),
    ):
        data.mkdir()
        for archive, folder in brings.items():
            trees.make_tar(data / archive, trees.members(tree, folder))
        for file in tree.glob("*.mat"):
            trees.put(data / file.name, file.read_bytes())
        refused_cars(data, f"{next(iter(brings))} must have the MD5 {stanford_cars.MD5[next(iter(brings))]}, but has")
        real = {name: hashlib.md5((data / name).read_bytes()).hexdigest() for name in brings}
        monkeypatch.setattr(stanford_cars, "MD5", stanford_cars.MD5 | real)
        assert stanford_cars.candidates(data, None) == stanford_cars.candidates(tree, None)


def test_cars_without_test_labels_name_the_file_to_get(tmp_path: Path) -> None:
    (trees.cars_a(tmp_path) / "cars_test_annos_withlabels.mat").unlink()
    refused_cars(
        tmp_path,
        r"devkit/cars_test_annos.mat has no field class and so no labels: "
        r"put cars_test_annos_withlabels.mat \(MD5 b0a2b23655a3edd16d84508592a98d10\) beside devkit/",
    )
    (tmp_path / "devkit/cars_test_annos.mat").unlink()
    refused_cars(
        tmp_path, r"needs .*/cars_test_annos_withlabels.mat, which does not exist: download cars_test_annos_withlab"
    )


def test_the_two_layouts_of_cars_are_never_mixed(tmp_path: Path) -> None:
    trees.cars_a(tmp_path / "a")
    trees.cars_b(tmp_path / "b")
    (tmp_path / "b/cars_annos.mat").rename(tmp_path / "a/cars_annos.mat")
    assert len(stanford_cars.candidates(tmp_path / "a", None).candidates) == 7, "not read"
    (tmp_path / "a/devkit").rename(tmp_path / "devkit")
    refused_cars(tmp_path / "a", "cars_annos.mat describes the images of car_ims/, not of cars_train/: download car_")
    refused_cars(tmp_path / "b", "cars_annos.mat, which does not exist: download cars_annos.mat")
    (tmp_path / "devkit").rename(tmp_path / "a/devkit")
    (tmp_path / "a/car_ims.tgz").write_bytes(b"")
    refused_cars(tmp_path / "a", "number the images differently, but .*a has both: keep one")


def test_cars_cannot_be_fetched_and_say_what_to_place(tmp_path: Path) -> None:
    assert DATASETS["stanford_cars"].download is not None
    with pytest.raises(
        InputError, match="must have the files of Stanford Cars, which its authors no longer offer"
    ) as caught:
        DATASETS["stanford_cars"].download(tmp_path)
    for name, md5 in stanford_cars.MD5.items():
        assert f"{name} (MD5 {md5})" in str(caught.value)
    refused_cars(tmp_path, "must have the files of Stanford Cars, which its authors no longer offer")
    DATASETS["stanford_cars"].download(trees.cars_b(tmp_path))
    with pytest.raises(InputError, match="has its own test set"):
        stanford_cars.candidates(tmp_path, tmp_path)


def test_the_annotations_of_cars_are_checked(tmp_path: Path) -> None:
    trees.cars_a(tmp_path)
    (tmp_path / "cars_train/00004.jpg").rename(tmp_path / "cars_train/00009.jpg")
    refused_cars(tmp_path, "1 of .*cars_train_annos.mat are not in .*cars_train, the first is '00004.jpg'")
    row = trees.car_row((1, 1, 9, 9))
    train = [row | {"class": 1, "fname": f"0000{number}.jpg"} for number in (1, 2, 3)]
    trees.write_cars(tmp_path / "devkit/cars_train_annos.mat", train)
    refused_cars(tmp_path, "1 of .*cars_train are not in .*cars_train_annos.mat, the first is '00009.jpg'")
    (tmp_path / "cars_train/00009.jpg").unlink()
    trees.write_cars(tmp_path / "devkit/cars_train_annos.mat", [*train, train[0]])
    refused_cars(tmp_path, "cars_train_annos.mat must list each image once, but lists 3 images in 4 rows")
    for label in (0, 4):
        trees.write_cars(tmp_path / "devkit/cars_train_annos.mat", [*train[:2], train[2] | {"class": label}])
        refused_cars(
            tmp_path, f"Classes must be from 1 to 3, but .*cars_train_annos.mat gives '00003.jpg' the class {label}"
        )
    trees.write_cars(tmp_path / "devkit/cars_train_annos.mat", [one | {"fname": "../../x.jpg"} for one in train])
    refused_cars(tmp_path, r"1 of .*cars_train_annos.mat are not in .*, the first is '../../x.jpg'")
    (tmp_path / "devkit/cars_train_annos.mat").write_bytes(b"no matrix")
    refused_cars(tmp_path, r"cars_train_annos.mat is not a file of Stanford Cars \(\w+\): download it again")
    (tmp_path / "cars_train").rename(tmp_path / "elsewhere")
    refused_cars(tmp_path, "must have the files of Stanford Cars")
