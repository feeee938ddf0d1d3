"""Tables of labels as they are found beside images: any known header, any number of tables; read, refused, or said."""

from pathlib import Path

import pytest

from tests.trees import class_folders, encoded, pixels, put, refused
from trainables.data.datasets import find, read_manifest
from trainables.data.manifest import Source

NAMES = ("a.jpg", "b.jpg", "c.jpg", "d.jpg")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four images in images/."""
    for number, name in enumerate(NAMES):
        put(tmp_path / "data/images" / name, encoded(pixels(number), "JPEG"))
    return tmp_path / "data"


def found(data: Path) -> dict[str, str]:
    return {one.path: one.label_name for one in find("folder", data).candidates}


def folds(source: Source) -> dict[str, str | None]:
    return {one.path: one.official_split for one in source.candidates}


ALL = {"images/a.jpg": "x", "images/b.jpg": "y", "images/c.jpg": "x", "images/d.jpg": "y"}

# ---- which columns


@pytest.mark.parametrize(
    "rows",
    [
        "path,label\nimages/a.jpg,x\nimages/b.jpg,y\nimages/c.jpg,x\nimages/d.jpg,y\n",
        "image_id,label\na,x\nb,y\nc,x\nd,y\n",
        "file_name,label\na.jpg,x\nb.jpg,y\nc.jpg,x\nd.jpg,y\n",
        "filename,class\nimages/a.jpg,x\nb.jpg,y\nimages/c,x\nd,y\n",
        "image;label\na.jpg;x\nb.jpg;y\nc.jpg;x\nd.jpg;y\n",
        "id,breed\na,x\nb,y\nc,x\nd,y\n",
        ",Image Name,Labels\n0,a.jpg,x\n1,b.jpg,y\n2,c.jpg,x\n3,d.jpg,y\n",
        "Unnamed: 0,id,filepaths,label,class_name\n0,9,images/a.jpg,x,u\n1,8,images/b.jpg,y,u\n"
        "2,7,images/c.jpg,x,u\n3,6,images/d.jpg,y,u\n",
        "image_id,x,y\na,1,0\nb,0,1\nc,1.0,0.0\nd,0,1\n",
        ",image,x,y\n0,a,1,0\n1,b,0,1\n2,c,1,0\n3,d,0,1\n",
    ],
)
@pytest.mark.parametrize("name", ["labels.csv", "Train.CSV", "all.tsv"])
def test_a_table_is_read_under_the_headers_that_people_write(data: Path, rows: str, name: str) -> None:
    put(data / name, (rows.replace(",", "\t") if name.endswith("tsv") else rows).encode())
    assert found(data) == ALL
    assert found(data / name) == ALL
    source = find("folder", data)
    assert source.layout.startswith(f"{name}, where ")
    assert source.notes == []


def test_what_was_read_is_said(data: Path) -> None:
    put(data / "labels.csv", b"image_id,breed,usage\na,x,Training\nb,y,PublicTest\n")
    put(data / "images/.DS_Store", b"")
    source = find("folder", data)
    assert source.layout == "labels.csv, where 'image_id' names the image, 'breed' is its label, 'usage' its fold"
    assert folds(source) == {"images/a.jpg": "train", "images/b.jpg": "test"}
    assert source.notes == [
        "left out: 2 images in the folder are not in labels.csv; the first is 'images/c.jpg'",
        "left out: 1 hidden or system file, 'images/.DS_Store'",
    ]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            "foo,bar\na,x\n",
            r"must have the columns path and label, but has foo, bar \(no known name of an image column\)",
        ),
        ("a.jpg,x\nb.jpg,y\n", r"but has a.jpg, x \(no known name of an image column\): rename them"),
        ("image,age\na.jpg,3\nb.jpg,4\n", r"but has image, age \(no known name of a label column\): rename them"),
        ("image,breed,species\na,x,y\n", r"\(breed and species could both be the label\): rename them"),
        ("image_id,label\na,\nb,\n", "Each row of .*labels.csv needs a path and a label, but got 'a', ''"),
        ("image_id,x,y\na,1,0\nb,1,1\n", r"'b' of .*labels.csv has a 1 in 2 columns \(x, y\): keep one label"),
        ("image_id,x,y\na,1,0\nb,0,0\n", r"'b' of .*labels.csv has a 1 in 0 columns \(none\)"),
        ("image_id,label\na,x\nz,y\n", "1 of 2 images of .*labels.csv do not exist, the first is 'z'"),
        ("id,label\n0,x\n1,y\n", "2 of 2 images of .*labels.csv do not exist, the first is '0'"),
        ("image_id,label\na,x\na.jpg,y\n", "labels.csv lists 'images/a.jpg' twice: keep one row"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_by_name(data: Path, rows: str, message: str) -> None:
    put(data / "labels.csv", rows.encode())
    refused(data, message)
    refused(data / "labels.csv", message)


def test_other_tables_beside_class_folders_are_said(tmp_path: Path) -> None:
    class_folders(tmp_path, {"cat": 1, "dog": 1})
    put(tmp_path / "history.csv", b"image,label\nelsewhere.png,cat\n")
    put(tmp_path / "submission.csv", b"image,label\n0,cat\n")
    put(tmp_path / "captions.csv", b"image,caption\n0.png,a dog\n")
    assert found(tmp_path) == {"cat/0.png": "cat", "dog/0.png": "dog"}
    assert find("folder", tmp_path).notes == [
        "left out: 'captions.csv', its columns are image, caption (no known name of a label column)",
        "left out: 'history.csv', no image 'elsewhere.png' here",
        "left out: 'submission.csv', a submission template",
    ]


# ---- which file


def test_an_id_that_fits_two_files_is_refused_unless_the_table_tells_the_folder(data: Path) -> None:
    put(data / "test/a.jpg", b"")
    put(data / "train_images/a.jpg", b"")
    put(data / "labels.csv", b"image_id,label\na,x\nb,y\n")
    refused(data, "labels.csv must match one file, but 'a' matches 'images/a.jpg' and 'test/a.jpg': write the path rel")
    (data / "labels.csv").rename(data / "train.csv")
    assert found(data) == {"train_images/a.jpg": "x", "images/b.jpg": "y"}


def test_absolute_paths_below_the_folder_and_those_of_windows(data: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("data")
    rows = f"path,label\n{data}/images/a.jpg,x\nimages\\b.jpg,y\n{tmp_path}/link/images/c.jpg,x\n.\\images\\d.jpg,y\n"
    put(data / "labels.csv", rows.encode())
    put(data / "groups.csv", rb"path,group" + f"\nimages\\a.jpg,1\n{data}/images/b.jpg,1\n".encode())
    assert found(data) == ALL
    assert found(tmp_path / "link") == ALL
    assert list(read_manifest("folder", data)["group"]) == [0, 0, 2, 3]


def test_a_name_with_a_backslash_is_that_file(data: Path) -> None:
    put(data / "images\\b.jpg", b"")
    put(data / "labels.csv", b"path,label\nimages\\b.jpg,x\n")
    assert found(data) == {"images\\b.jpg": "x"}


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (r"C:\data\images\a.jpg", "is an absolute Windows path: write it relative to that folder, with forward sl"),
        (r"\\server\images\a.jpg", "is an absolute Windows path"),
        (r"..\secret\a.jpg", "must be below its folder, but .* is not"),
        ("/somewhere/images/a.jpg", "must be below its folder, but '/somewhere/images/a.jpg' is not: move .* or write"),
    ],
)
def test_paths_of_elsewhere_are_refused_in_true_words(data: Path, path: str, message: str) -> None:
    put(data / "labels.csv", f"path,label\n{path},x\n".encode())
    refused(data, message)


def test_a_table_may_list_links(data: Path, tmp_path: Path) -> None:
    put(tmp_path / "store/e.jpg", encoded(pixels(9), "JPEG"))
    (data / "images/e.jpg").symlink_to(tmp_path / "store/e.jpg")
    (data / "images/f.jpg").symlink_to("nowhere")
    put(data / "labels.csv", b"image_id,label\na,x\ne,y\nf,y\n")
    manifest = read_manifest("folder", data).set_index("path")
    assert manifest["drop_reason"].to_dict() == {"images/a.jpg": "", "images/e.jpg": "", "images/f.jpg": "broken link"}


# ---- several tables, several folds


def test_tables_named_as_folds_are_the_official_split(data: Path) -> None:
    put(data / "train_labels.csv", b"image,label\na.jpg,x\nb.jpg,y\n")
    put(data / "test_labels.csv", b"image,label\nc.jpg,x\nd.jpg,y\n")
    put(data / "sample_submission.csv", b"image,label\nc.jpg,x\nd.jpg,x\n")
    source = find("folder", data)
    assert found(data) == ALL
    assert sorted(map(str, folds(source).values())) == ["test", "test", "train", "train"]
    assert folds(source)["images/c.jpg"] == "test"
    assert source.layout == (
        "train_labels.csv, where 'image' names the image, 'label' is its label (train); "
        "test_labels.csv, where 'image' names the image, 'label' is its label (test)"
    )
    put(data / "test_labels.csv", b"image,label\na.jpg,x\nd.jpg,y\n")
    refused(data, "Two tables of .* list 'images/a.jpg': keep one row")


def test_a_test_table_without_labels_is_left_out_and_said(data: Path) -> None:
    put(data / "train.csv", b"image_id,label\na,x\nb,y\n")
    put(data / "test.csv", b"image_id\nc\nd\n")
    put(data / "val.csv", b"image_id,label\nc,\nd,\n")
    source = find("folder", data)
    assert folds(source) == {"images/a.jpg": None, "images/b.jpg": None}
    assert source.notes == [
        "left out: 2 images in the folder are not in train.csv; the first is 'images/c.jpg'",
        "left out: 'test.csv', its columns are image_id (no known name of a label column)",
        "left out: 'val.csv', no labels",
    ]


def test_two_tables_whose_names_tell_no_folds_are_refused(data: Path) -> None:
    put(data / "labels.csv", b"image,label\na.jpg,x\n")
    put(data / "more.csv", b"path,label\nimages/b.jpg,y\n")
    refused(
        data, "Only one table of labels is allowed, but .* has labels.csv, more.csv: keep one, or name them train.csv"
    )
    (data / "more.csv").unlink()
    put(data / "metadata.jsonl", b'{"file_name": "images/b.jpg", "label": "y"}')
    refused(data, "Only one list of labels is allowed, but .* has labels.csv and metadata.jsonl: remove one")


def test_the_folder_of_an_image_tells_its_fold_where_train_is_one(tmp_path: Path) -> None:
    for number, name in enumerate(("train/a", "Testing/b", "control/c")):
        put(tmp_path / f"{name}.png", encoded(pixels(number)))
    put(tmp_path / "labels.csv", b"path,label\ntrain/a.png,x\nTesting/b.png,x\n")
    assert folds(find("folder", tmp_path)) == {"train/a.png": "train", "Testing/b.png": "test"}
    put(tmp_path / "labels.csv", b"path,label\ncontrol/c.png,x\nTesting/b.png,x\n")
    assert set(folds(find("folder", tmp_path)).values()) == {None}
    put(tmp_path / "labels.csv", b"path,label,split\ntrain/a.png,x,val\nTesting/b.png,x,\n")
    assert folds(find("folder", tmp_path)) == {"train/a.png": "val", "Testing/b.png": None}


# ---- labels


def test_blanks_and_forms_that_nobody_sees_make_no_class(data: Path) -> None:
    labels = ["caf\u00e9", "cafe\u0301 ", "\u00a0caf\u00e9", "tea\u200b"]
    rows = "\n".join(f"{name},{label}" for name, label in zip("abcd", labels, strict=True))
    put(data / "labels.csv", f"id,label\n{rows}\n".encode())
    assert sorted(found(data).values()) == ["caf\u00e9"] * 3 + ["tea"]
    assert any("look the same" in note for note in find("folder", data).notes)


@pytest.mark.parametrize("joined", ["x;y", "x|y", "x; y", '"x,y"', '"y, x"', "x y", "\"['x', 'y']\"", "x + y", "x;z"])
@pytest.mark.parametrize("file", ["labels.csv", "metadata.csv"])
def test_several_labels_in_a_cell_are_refused(data: Path, joined: str, file: str) -> None:
    put(data / file, f"file_name,label\nimages/a.jpg,x\nimages/b.jpg,y\nimages/c.jpg,{joined}\n".encode())
    refused(data, f"An image must have one label, but .*{file} has .* beside '[xy]'.*: keep one label per image")


@pytest.mark.parametrize("label", ["golden retriever", '"Washington, D.C."', "n/a", "R&B", "a;b"])
def test_a_label_of_several_words_is_a_label(data: Path, label: str) -> None:
    put(data / "labels.csv", f"id,label\na,retriever\nb,Washington\nc,{label}\n".encode())
    assert found(data)["images/c.jpg"] == label.strip('"')


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("metadata.csv", "file_name,path,breed\nimages/a.jpg,/old/a.jpg,x\nimages/b.jpg,/old/b.jpg,y\n"),
        (
            "metadata.jsonl",
            '{"file_name": "images/a.jpg", "class": "x"}\n{"file_name": "images/b.jpg", "class": "y"}\n',
        ),
        ("images/metadata.csv", "file_name,label\na.jpg,x\nb.jpg,y\n"),
    ],
)
def test_metadata_gives_labels_under_other_headers_too(data: Path, file: str, content: str) -> None:
    put(data / file, content.encode())
    if "/" in file:
        (data / "images").rename(data / "training")
        assert found(data) == {"training/a.jpg": "x", "training/b.jpg": "y"}
    else:
        assert found(data) == {"images/a.jpg": "x", "images/b.jpg": "y"}
        assert find("folder", data).layout.startswith(f"{file}, where 'file_name' names the image, ")


# ---- folds in tables


def test_a_row_that_names_no_fold_leaves_the_column_its_meaning(data: Path) -> None:
    (data / "labels.csv").write_text("image,label,Set\na,x,Train\nb,y,Test\nc,x,\nd,y,train\n")
    assert folds(find("folder", data)) == {
        "images/a.jpg": "train",
        "images/b.jpg": "test",
        "images/c.jpg": None,
        "images/d.jpg": "train",
    }


def test_a_row_knows_its_fold_better_than_the_name_of_its_table(data: Path) -> None:
    (data / "train.csv").write_text("image,label,split\na,x,train\nb,y,val\nc,x,\n")
    (data / "test.csv").write_text("image,label\nd,y\n")
    assert list(folds(find("folder", data)).values()) == ["train", "val", "train", "test"]


def test_a_list_of_the_classes_is_no_list_of_images(tmp_path: Path) -> None:
    data = class_folders(tmp_path / "data", {"cats": 3, "dogs": 3})
    (data / "classes.csv").write_text("id,class\n0,cats\n1,dogs\n")
    source = find("folder", data)
    assert len(source.candidates) == 6
    assert "left out: 'classes.csv', a list of the classes" in source.notes
