"""Builders of small datasets on disk, in the layouts that people have."""

import io
import json
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from scipy.io import savemat

from trainables.data.datasets import read_manifest
from trainables.errors import InputError


def pixels(seed: int, height: int = 40, width: int = 48) -> np.ndarray:
    """Smooth random colors, far from any other seed's and easy for a JPEG."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def encoded(array: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, kind, **options)
    return stream.getvalue()


def put(file: Path, data: bytes) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return file


def make_zip(file: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file


def make_tar(file: Path, members: dict[str, bytes], **special: object) -> Path:
    with tarfile.open(file, "w:gz" if file.suffix in (".gz", ".tgz") else "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for field, value in special.items():
                setattr(info, field, value)
            archive.addfile(info, io.BytesIO(content))
    return file


def members(root: Path, *tops: str) -> dict[str, bytes]:
    """What an archive of these files and folders holds."""
    tops = tops or tuple(path.name for path in root.iterdir())
    files = (file for top in tops for file in ([root / top] if (root / top).is_file() else (root / top).rglob("*")))
    return {file.relative_to(root).as_posix(): file.read_bytes() for file in sorted(files) if file.is_file()}


def class_folders(root: Path, counts: dict[str, int], seed: int = 0) -> Path:
    """`root/NAME/0.png ...`, every image another one."""
    for name, count in counts.items():
        for number in range(count):
            put(root / name / f"{number}.png", encoded(pixels(seed)))
            seed += 1
    return root


def table(groups: dict[str, list[int]], official: dict[int, str] | None = None) -> pd.DataFrame:
    """A manifest without files: for each class the sizes of its duplicate groups; `official` by item."""
    rows, item = [], 0
    for label, (name, sizes) in enumerate(groups.items()):
        for size in sizes:
            first = item
            for _ in range(size):
                rows.append({"item": item, "label": label, "label_name": name, "group": first})
                item += 1
    frame = pd.DataFrame(rows)
    frame["keep"], frame["drop_reason"] = True, ""
    frame["official_split"] = pd.Series([(official or {}).get(i) for i in frame["item"]], dtype=object)
    return frame


DOGS = ("n02085620-Chihuahua", "n02086240-Shih-Tzu", "n02089078-black-and-tan_coonhound")


def stanford_dogs(root: Path) -> Path:
    """Three breeds, four training and two test images each.

    One JPEG is a PNG, and one test image is a copy of a training image of another breed. Each has two objects, and
    the larger of them reaches over the right edge in the first breed.
    """
    lists: dict[str, list[tuple[str, int]]] = {"train": [], "test": []}
    for label, folder in enumerate(DOGS, 1):
        for number in range(6):
            path = f"{folder}/{folder.split('-')[0]}_{number}.jpg"
            kind = "PNG" if (label, number) == (2, 0) else "JPEG"
            put(root / "Images" / path, encoded(pixels(10 * label + number), kind))
            lists["train" if number < 4 else "test"].append((path, label))
            boxes = [(1, 2, 9, 9), (5, 6, 60 if label == 1 else 40, 30 + number)]
            put(root / "Annotation" / path.removesuffix(".jpg"), voc(folder, boxes))
    copy = (root / "Images" / lists["train"][0][0]).read_bytes()
    (root / "Images" / lists["test"][-1][0]).write_bytes(copy)
    lists["file"] = lists["train"] + lists["test"]
    for name, rows in lists.items():
        write_list(root / f"{name}_list.mat", rows)
    return root


def write_list(file: Path, rows: list[tuple[str, int]]) -> None:
    paths = np.empty((len(rows), 1), dtype=object)
    paths[:, 0] = [path for path, _ in rows]
    labels = np.array([[label] for _, label in rows], dtype=np.uint8)
    savemat(file, {"file_list": paths, "annotation_list": paths, "labels": labels})


def voc(name: str, boxes: list[tuple[int, int, int, int]]) -> bytes:
    """An annotation as Stanford Dogs has them, word for word."""
    edges = [dict(zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)) for box in boxes]
    objects = [
        f"\t<object>\n\t\t<name>{name}</name>\n\t\t<pose>Unspecified</pose>\n\t\t<truncated>0</truncated>\n"
        "\t\t<difficult>0</difficult>\n\t\t<bndbox>\n"
        + "".join(f"\t\t\t<{edge}>{value}</{edge}>\n" for edge, value in box.items())
        + "\t\t</bndbox>\n\t</object>\n"
        for box in edges
    ]
    size = "\t<size>\n\t\t<width>48</width>\n\t\t<height>40</height>\n\t\t<depth>3</depth>\n\t</size>\n"
    return f"<annotation>\n\t<folder>0</folder>\n{size}{''.join(objects)}</annotation>\n".encode()


CARS = ("AM General Hummer SUV 2000", "Ram C/V Cargo Van Minivan 2012", "smart fortwo Convertible 2012")


def cars_a(root: Path) -> Path:
    """Layout A: four training and three test images, numbered from 1 in each, of classes in no order.

    The first is gray, and 00003.jpg in test is a copy of 00003.jpg in train; a box of test reaches over all edges.
    """
    for split, labels in (("train", [2, 1, 3, 2]), ("test", [3, 1, 3])):
        rows: list[dict[str, Any]] = []
        for number, label in enumerate(labels, 1):
            picture = pixels(200 + 10 * number + (split == "test" and number != 3))
            gray = (split, number) == ("train", 1)
            put(root / f"cars_{split}" / f"{number:05}.jpg", encoded(picture[:, :, 0] if gray else picture, "JPEG"))
            edges = (0, -1, 49, 99) if (split, number) == ("test", 2) else (3, 4, 40 + number, 30)
            rows.append(car_row(edges) | {"class": label, "fname": f"{number:05}.jpg"})
        file = "cars_test_annos_withlabels.mat" if split == "test" else "devkit/cars_train_annos.mat"
        write_cars(root / file, rows)
    unlabelled = [{name: value for name, value in row.items() if name != "class"} for row in rows]
    write_cars(root / "devkit/cars_test_annos.mat", unlabelled)
    savemat(root / "devkit/cars_meta.mat", {"class_names": np.array([CARS], dtype=object)})
    return root


def cars_b(root: Path) -> Path:
    """Layout B: two images of each class, the second of each is test."""
    rows: list[dict[str, Any]] = []
    for number in range(1, 7):
        path = f"car_ims/{number:06}.jpg"
        put(root / path, encoded(pixels(300 + number), "JPEG"))
        label = (number + 1) // 2
        rows.append({"relative_im_path": path} | car_row((3, 4, 40, 30)) | {"class": label, "test": (number + 1) % 2})
    write_cars(root / "cars_annos.mat", rows, class_names=np.array([CARS], dtype=object))
    return root


def car_row(edges: tuple[int, int, int, int]) -> dict[str, Any]:
    return dict(zip(("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2"), edges, strict=True))


def write_cars(file: Path, rows: list[dict[str, Any]], **more: object) -> None:
    """A 1 x N struct whose numbers are as small as MATLAB makes them."""
    table = np.empty((1, len(rows)), dtype=[(field, object) for field in rows[0]])
    for number, row in enumerate(rows):
        for field, value in row.items():
            small = isinstance(value, int) and 0 <= value < 256
            table[field][0, number] = np.uint8(value) if small else value
    file.parent.mkdir(parents=True, exist_ok=True)
    savemat(file, {"annotations": table, **more})


BREEDS = {"000bec180eb18c7604dcecc8fe0dba07": "boston_bull", "001513dfcb2ffafc82cccf4d8bbaba97": "dingo"}


def dog_breeds(root: Path) -> Path:
    """Kaggle's layout: four labeled images of two breeds and an unlabeled one, under names of 32 characters."""
    rows = ["id,breed"]
    for number, (name, breed) in enumerate([*BREEDS.items(), ("f" * 32, "dingo"), ("0" * 32, "boston_bull")]):
        put(root / "train" / f"{name}.jpg", encoded(pixels(400 + number), "JPEG"))
        rows.append(f"{name},{breed}")
    put(root / "labels.csv", ("\n".join(rows) + "\n").encode())
    put(root / "sample_submission.csv", b"id,boston_bull,dingo\n" + b"e" * 32 + b",0.5,0.5\n")
    put(root / "test" / f"{'e' * 32}.jpg", encoded(pixels(410), "JPEG"))
    return root


def cats_flat(root: Path) -> Path:
    """Kaggle's layout: two cats, two dogs, and an unlabeled test1/ whose numbers start from 1."""
    for number in range(2):
        put(root / "train" / f"cat.{number}.jpg", encoded(pixels(500 + number), "JPEG"))
        put(root / "train" / f"dog.{number}.jpg", encoded(pixels(510 + number), "JPEG"))
    put(root / "test1/1.jpg", encoded(pixels(520), "JPEG"))
    put(root / "sampleSubmission.csv", b"id,label\n1,0\n")
    return root


def pet_images(root: Path) -> Path:
    """Microsoft's layout with what is odd about it.

    Empty, cut and foreign files, a JPEG without its JFIF segment, bytes after the end, gray, a dog among the cats.
    """
    for number, label in enumerate(("Cat", "Dog")):
        folder = root / "PetImages" / label
        for other in range(2):
            put(folder / f"{other}.jpg", encoded(pixels(600 + 10 * number + other), "JPEG"))
        put(folder / "Thumbs.db", b"\xd0\xcf\x11\xe0")
    cats, dogs = root / "PetImages/Cat", root / "PetImages/Dog"
    put(cats / "666.jpg", b"")
    put(dogs / "11702.jpg", b"")
    put(cats / "2.jpg", encoded(pixels(620), "JPEG")[:-400])
    put(cats / "3.jpg", without_jfif(encoded(pixels(621), "JPEG")))
    put(cats / "4.jpg", encoded(pixels(622)[:, :, 0], "JPEG"))
    put(cats / "5.jpg", (dogs / "1.jpg").read_bytes())
    put(dogs / "2.jpg", encoded(pixels(623), "GIF"))
    put(dogs / "3.jpg", encoded(pixels(624), "JPEG") + bytes(2226))
    put(root / "readme[1].txt", b"see also")
    return root


def without_jfif(data: bytes) -> bytes:
    """A JPEG that begins with its tables: as valid as any other."""
    assert data[2:4] == b"\xff\xe0"
    return data[:2] + data[4 + int.from_bytes(data[4:6], "big") :]


def write_parquet(
    file: Path, rows: Sequence[tuple[bytes | None, str | None, object]], names: Sequence[str] | None = None
) -> Path:
    """A table of (bytes, path, label) as the Hugging Face library writes it; `names` are those of class numbers."""
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pictures = pa.array([{"bytes": content, "path": path} for content, path, _ in rows], type=image)
    table = pa.table({"image": pictures, "label": pa.array([label for *_, label in rows])})
    if names is not None:
        label = {"names": list(names), "_type": "ClassLabel"}
        features = {"info": {"features": {"image": {"_type": "Image"}, "label": label}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, file)
    return file


def png_chunk(name: bytes, body: bytes, checksum: int = 0) -> bytes:
    """Return a PNG chunk; any `checksum` but 0 makes its CRC wrong."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body) ^ checksum)


def refused(data: Path, message: str, test: Path | None = None, dataset: str = "folder") -> None:
    """Expect that the data cannot be read, with an error of one line that matches `message`."""
    with pytest.raises(InputError, match=message) as caught:
        read_manifest(dataset, data, test)
    assert "\n" not in str(caught.value)
