"""Builders of small datasets on disk, in the layouts that people have."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy.io import savemat


def pixels(seed: int, height: int = 40, width: int = 48) -> np.ndarray:
    """Smooth random colours, far from any other seed's and easy for a JPEG."""
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


def class_folders(root: Path, counts: dict[str, int], seed: int = 0) -> Path:
    """`root/NAME/0.png ...`, every picture another one."""
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
    """Three breeds, four training and two test pictures each.

    One JPEG is a PNG, and one test picture is a copy of a training picture of another breed.
    """
    lists: dict[str, list[tuple[str, int]]] = {"train": [], "test": []}
    for label, folder in enumerate(DOGS, 1):
        for number in range(6):
            path = f"{folder}/{folder.split('-')[0]}_{number}.jpg"
            kind = "PNG" if (label, number) == (2, 0) else "JPEG"
            put(root / "Images" / path, encoded(pixels(10 * label + number), kind))
            lists["train" if number < 4 else "test"].append((path, label))
            put(root / "Annotation" / path.removesuffix(".jpg"), b"<annotation/>")
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
