"""Evaluate the winner's features by kNN classification and image retrieval; see study/retrieval.py."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from study.products.best import Best, load_best, logits, read_trial, views
from study.results import KNN_FILE, RETRIEVAL_FILE, TABLES_FOLDER, UNSEEN_FILE
from study.writing import write_table
from trainables.config import TrialConfig, from_dict
from trainables.data.pixels import Pixels, open_pixels
from trainables.data.trial_data import open_trial_data
from trainables.errors import InputError
from trainables.frozen import embedding_metrics
from trainables.frozen.embedding_metrics import LabeledFeatures, knn_classification, retrieval, second_half
from trainables.nets.models import build
from trainables.nets.weights import find
from trainables.place import Place

KNN_COLUMNS = ["backbone", "trained_on", "features", *embedding_metrics.KNN_COLUMNS]
RETRIEVAL_COLUMNS = [
    *("backbone", "trained_on", "protocol", "classes", "pictures"),
    *embedding_metrics.RETRIEVAL_COLUMNS,
    "seconds",
]
_AT_ONCE = 64


def write_retrieval(out: Path, place: Place, frozen: bool = False) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Write and return knn.csv and retrieval.csv.

    Args:
        frozen: also evaluate the winner's backbone with its original pretrained weights.

    Raises:
        InputError: there is no winner, or `frozen` is asked for a backbone that was trained from scratch.
    """
    best, config = load_best(out), from_dict(read_trial(out)["config"])
    if frozen and config.weights != "pretrained":
        raise InputError(
            f"--frozen needs a pretrained backbone, but the winner's {config.backbone} was trained from scratch: leave "
            "it out."
        )
    backbones = {trained_on(config): best}
    if frozen and config.unfreeze != "head":
        backbones["pretraining"] = pretrained(best, config, place)
    pictures = open_trial_data(config, place)
    unseen = _unseen_images(out, config, place)
    knn: list[dict[str, Any]] = []
    retrieved: list[dict[str, Any]] = []
    for trained, backbone in backbones.items():
        folds = [
            embed(backbone, pictures.pixels, items, pictures.labels[items])
            for items in (pictures.train, pictures.val, pictures.test)
        ]
        about = {"backbone": config.backbone, "trained_on": trained}
        knn += [about | {"features": folds[0].features.shape[1]} | row for row in knn_classification(*folds)]
        untrained = backbone is not best or config.unfreeze == "head"
        searched = _searched(folds[2], pictures.classes, untrained)
        if unseen is not None:
            searched.append(("zero-shot", embed(backbone, *unseen)))
        retrieved += [about | _retrieval_row(protocol, features) for protocol, features in searched]
    tables = pd.DataFrame(knn, columns=KNN_COLUMNS), pd.DataFrame(retrieved, columns=RETRIEVAL_COLUMNS)
    (out / TABLES_FOLDER).mkdir(exist_ok=True)
    for table, name in zip(tables, (KNN_FILE, RETRIEVAL_FILE), strict=True):
        write_table(table, out / TABLES_FOLDER / name)
    return tables


def trained_on(config: TrialConfig) -> str:
    """Return what the features of a trial's backbone were trained on."""
    start = "pretraining" if config.weights == "pretrained" else "nothing"
    if config.unfreeze == "head":
        return start
    return "training fold" if start == "nothing" else f"{start}, training fold ({config.unfreeze})"


def pretrained(best: Best, config: TrialConfig, place: Place) -> Best:
    """Return the winner's backbone with its original pretrained weights.

    Raises:
        InputError: the weights are not found.
    """
    net = build(config.backbone, find(config.backbone, place.weights), seed=0).module
    return replace(best, net=net.requires_grad_(False).to(best.device))


def embed(best: Best, pixels: Pixels, items: NDArray[np.int64], labels: NDArray[np.int64]) -> LabeledFeatures:
    """Return the pooled features of these items, which are the input of the classifier."""
    best.net.reset_classifier(0)  # pyright: ignore[reportCallIssue] (a method of every timm net)
    parts = [
        logits(best, views(best, [pixels[int(item)] for item in items[first : first + _AT_ONCE]]))
        for first in range(0, len(items), _AT_ONCE)
    ]
    return LabeledFeatures(np.concatenate(parts), labels)


def _unseen_images(
    out: Path, config: TrialConfig, place: Place
) -> tuple[Pixels, NDArray[np.int64], NDArray[np.int64]] | None:
    """Return images, items and labels of the classes that the study set aside; None if it set none aside."""
    if not (out / UNSEEN_FILE).exists():
        return None
    unseen = pd.read_parquet(out / UNSEEN_FILE)
    pixels = open_pixels(unseen, place.data, config.stored_side, place.cache, place.cache_gib, config.region)
    return pixels, unseen["item"].to_numpy(np.int64), unseen["label"].to_numpy(np.int64)


def _searched(test: LabeledFeatures, classes: int, untrained: bool) -> list[tuple[str, LabeledFeatures]]:
    """Return the sets of test images to search, each with the name of its protocol."""
    if untrained:
        return [("zero-shot", test), ("zero-shot", second_half(test, classes))]
    return [("closed set", test)]


def _retrieval_row(protocol: str, features: LabeledFeatures) -> dict[str, Any]:
    began = time.perf_counter()
    scores = retrieval(features)
    about = {"protocol": protocol, "classes": len(np.unique(features.labels)), "pictures": len(features.labels)}
    return about | scores | {"seconds": time.perf_counter() - began}
