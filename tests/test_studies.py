"""The studies on small trees in their datasets' own layouts: every published configuration, and a search.

Images and batches are made smaller than published, so that nets made for GPUs take seconds here.
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat

from study.design.load import DEFINITIONS, load
from study.results import read
from tests.tiny import run, write_study
from tests.trees import CARS, DOGS, car_row, encoded, pixels, put, stanford_dogs, write_cars, write_list

TRAIN, TEST = 6, 3  # images of each class


def picture(seed: int) -> bytes:
    return encoded(pixels(seed, 60, 72), "JPEG")


def dogs(root: Path) -> None:
    for fold, numbers in (("train", range(TRAIN)), ("test", range(TRAIN, TRAIN + TEST))):
        rows = []
        for label, folder in enumerate(DOGS, 1):
            for number in numbers:
                path = f"{folder}/{folder.split('-')[0]}_{number}.jpg"
                put(root / "Images" / path, picture(100 * label + number))
                rows.append((path, label))
        write_list(root / f"{fold}_list.mat", rows)


def dog_breeds(root: Path) -> None:
    rows = ["id,breed"]
    for label, breed in enumerate(("beagle", "dingo", "pug")):
        for number in range(TRAIN + TEST):
            name = f"{100 * label + number:032x}"
            put(root / "train" / f"{name}.jpg", picture(1000 * label + number))
            rows.append(f"{name},{breed}")
    put(root / "labels.csv", ("\n".join(rows) + "\n").encode())


def cats_vs_dogs(root: Path) -> None:
    for label, name in enumerate(("cat", "dog")):
        for number in range(2 * (TRAIN + TEST)):
            put(root / "train" / f"{name}.{number}.jpg", picture(100 * label + number))


def cars(root: Path) -> None:
    for fold, each in (("train", TRAIN), ("test", TEST)):
        rows = []
        for number in range(each * len(CARS)):
            put(root / f"cars_{fold}" / f"{number + 1:05}.jpg", picture(number + 500 * (fold == "test")))
            rows.append(car_row((10, 10, 60, 50)) | {"class": number % len(CARS) + 1, "fname": f"{number + 1:05}.jpg"})
        write_cars(root / ("cars_test_annos_withlabels.mat" if fold == "test" else "devkit/cars_train_annos.mat"), rows)
    savemat(root / "devkit/cars_meta.mat", {"class_names": np.array([CARS], dtype=object)})


TREES = {"dogs": dogs, "dog_breeds": dog_breeds, "cats_vs_dogs": cats_vs_dogs, "cars": cars}


def smaller(name: str, folder: Path) -> Path:
    text = (DEFINITIONS / f"{name}.py").read_text()
    text = re.sub(r'"size": (?:128|224)', '"size": 64', text)
    file = folder / f"{name}.py"
    file.write_text(re.sub(r'"batch_size": \d+', '"batch_size": 8', text))
    return file


@pytest.mark.long
@pytest.mark.parametrize("name", TREES)
def test_what_was_published_runs_on_the_datasets_own_layout(name: str, tmp_path: Path) -> None:
    TREES[name](tmp_path / "data")
    flags = ["--published", "--weights", "none", "--epochs", 1, "--seeds", 1, "--skip-preflight"]
    study = smaller(name, tmp_path)
    run(study, "--data", tmp_path / "data", "--out", tmp_path / "out", "--cache", tmp_path / "cache", *flags)
    published = load(name).study.published
    found = read(tmp_path / "out")
    assert found.trials["phase"].unique().tolist() == ["published"]
    assert found.trials["status"].tolist() == ["completed"] * len(published), found.trials["error"].tolist()
    assert found.trials["published"].tolist() == [each.name for each in published]
    assert set(found.predictions.query("fold == 'test'")["trial"]) == set(found.trials["trial"])
    shown = pd.read_csv(tmp_path / "out" / "tables" / "published.csv")
    numbers = [(each.name, metric) for each in published for metric in (each.metric, *each.also)]
    assert list(zip(shown["name"], shown["metric"], strict=True)) == numbers
    assert (shown["state"] == "measured").all()
    assert published[0].name in (tmp_path / "out" / "report.md").read_text()
    assert (tmp_path / "out" / "best" / "model.safetensors").exists()


def test_the_nine_experiments_are_named_beforehand(tmp_path: Path) -> None:
    cars(tmp_path / "data")
    flags = ["--data", tmp_path / "data", "--weights", "none", "--cache", tmp_path / "cache", "--dry-run"]
    shown = run(smaller("cars", tmp_path), *flags).stdout
    assert [line.split()[1] for line in shown.splitlines() if line.startswith("published ")] == [
        "1.1", "1.2", "1.3", "2.1", "2.2", "2.3", "3.1", "3.2", "3.3",
    ]  # fmt: skip


SMALL_DOGS = """
from dataclasses import replace

from study.definitions.dogs import STUDY as DOGS
from study.spec import Budget

STUDY = replace(
    DOGS,
    factors=dict(DOGS.factors) | {"backbone": ["test_efficientnet", "test_resnet"]},
    fixed={"size": 32, "batch_size": 8},
    budget=Budget(trials=3, epochs=1, refine=1, seeds=1),
)
"""


@pytest.mark.long
def test_the_dogs_study_on_a_small_tree_in_the_real_layout(tmp_path: Path) -> None:
    data = stanford_dogs(tmp_path / "dogs")
    file = write_study(tmp_path, SMALL_DOGS)
    flags = ["--weights", "none", "--skip-preflight"]
    run(file, "--data", data, "--out", tmp_path / "out", "--cache", tmp_path / "cache", *flags)
    study = read(tmp_path / "out")
    assert set(study.trials["status"]) == {"completed"}
    assert {"split_80-10-10", "split_70-15-15", "split_60-30-10"} <= set(study.manifest.columns)
    assert "Shih-Tzu" in set(study.manifest["label_name"])
    assert study.trials["steps_per_epoch"].nunique() == 1
    assert set(study.trials["weights"]) == {"none"}
