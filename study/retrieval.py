"""`python -m study.retrieval OUT`: the winner's features as a space in which images of one class lie together.

Writes two tables into OUT/tables, from the pooled features of evaluation views, on the folds of the winner's trial:

knn.csv        kNN classification, where gallery and queries are of the same classes: neighbors come from the training
               fold, metric and k are chosen on the common validation, and only the choice is shown the test fold.
retrieval.csv  each test image searches the others of its class among the test images. Of a backbone that did not
               train in the study (unfreeze "head") this is "zero-shot": neither images nor labels of the study
               formed the features, whatever the pretraining saw; it is given for all classes and for the second half
               in label order, the half that is kept unseen elsewhere. Of any other backbone it is "closed set": the
               classes are those it was trained to tell apart, and the number is not to be compared with the first.
              Where the study set classes aside (`unseen`), their images are searched too: "zero-shot" for every
              backbone. Such a study writes both tables by itself.

--frozen adds the same for the backbone with its pretrained weights as they came. The test fold must have been opened
by the study itself: its models and the metric and k are fixed by then. Exit status: 0 done, 2 bad input.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from study.arguments import Parser, cache_option, check_cache, fail
from study.persistence.ledger import read_openings
from study.results import KNN_FILE, MANIFEST_FILE, RETRIEVAL_FILE, STUDY_FILE, TABLES_FOLDER, UNSEEN_FILE
from study.writing import in_shell, write_table
from trainables.errors import InputError
from trainables.frozen import embedding_metrics
from trainables.frozen.embedding_metrics import LabeledFeatures, knn_classification, retrieval, second_half

if TYPE_CHECKING:
    from study.products.best import Best
    from trainables.config import TrialConfig
    from trainables.data.pixels import Pixels
    from trainables.place import Place

KNN_COLUMNS = ["backbone", "trained_on", "features", *embedding_metrics.KNN_COLUMNS]
RETRIEVAL_COLUMNS = [
    *("backbone", "trained_on", "protocol", "classes", "pictures"),
    *embedding_metrics.RETRIEVAL_COLUMNS,
    "seconds",
]
_AT_ONCE = 64


def main(arguments: list[str]) -> int:
    try:
        knn, retrieved = run(parse(arguments))
    except InputError as problem:
        return fail(problem)
    for row in knn[knn["fold"] == "test"].itertuples():
        print(f"{row.backbone}, {row.trained_on}: kNN {row.accuracy:.4f} (k = {row.k}, {row.metric}, n = {row.n})")
    for row in retrieved.itertuples():
        print(
            f"{row.backbone}, {row.trained_on}: {row.protocol} retrieval among {row.classes} classes, "
            f"recall at 1 {row.recall_at_1:.4f}, MAP@R {row.map_at_r:.4f} (n = {row.pictures})"
        )
    return 0


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(prog="python -m study.retrieval", description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("out", type=Path, metavar="OUT", help="the --out of a finished study")
    add("--frozen", action="store_true", help="the backbone with its pretrained weights as they came, too")
    add("--data", type=Path, metavar="DIR", help="the images, where they are not where the study found them")
    add("--weights", type=Path, metavar="DIR", help="a folder of pretrained weights, for --frozen")
    add("--cache", **cache_option("decoded images"))
    chosen = parser.parse_args(arguments)
    check_cache(chosen.cache)
    return chosen


def run(chosen: argparse.Namespace) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both tables, as they are written."""
    place = _place(chosen)
    if not read_openings(chosen.out):
        raise InputError(f"The study in {str(chosen.out)!r} has not opened its test fold yet: run it to its end first.")
    return write_retrieval(chosen.out, place, chosen.frozen)


def write_retrieval(out: Path, place: "Place", frozen: bool = False) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both tables of the winner, with `frozen` also of its backbone as the pretrained weights came."""
    from study.products.best import load_best, read_trial
    from trainables.config import from_dict
    from trainables.data.trial_data import open_trial_data

    best, config = load_best(out), from_dict(read_trial(out)["config"])
    if frozen and config.weights != "pretrained":
        raise InputError(f"--frozen is for pretrained backbones, but the winner's {config.backbone} began from none.")
    backbones = {trained_on(config): best}
    if frozen and config.unfreeze != "head":
        backbones["pretraining"] = pretrained(best, config, place)
    pictures = open_trial_data(config, place)
    aside = _set_aside(out, config, place)
    knn: list[dict[str, Any]] = []
    retrieved: list[dict[str, Any]] = []
    for trained, each in backbones.items():
        folds = [
            embed(each, pictures.pixels, items, pictures.labels[items])
            for items in (pictures.train, pictures.val, pictures.test)
        ]
        about = {"backbone": config.backbone, "trained_on": trained}
        knn += [about | {"features": folds[0].features.shape[1]} | row for row in knn_classification(*folds)]
        untrained = each is not best or config.unfreeze == "head"
        searched = _searched(folds[2], pictures.classes, untrained)
        if aside is not None:
            searched.append(("zero-shot", embed(each, *aside)))
        retrieved += [about | _retrieval_row(protocol, some) for protocol, some in searched]
    tables = pd.DataFrame(knn, columns=KNN_COLUMNS), pd.DataFrame(retrieved, columns=RETRIEVAL_COLUMNS)
    (out / TABLES_FOLDER).mkdir(exist_ok=True)
    for table, name in zip(tables, (KNN_FILE, RETRIEVAL_FILE), strict=True):
        write_table(table, out / TABLES_FOLDER / name)
    return tables


def trained_on(config: "TrialConfig") -> str:
    """What formed the features of a trial's backbone."""
    began = "pretraining" if config.weights == "pretrained" else "nothing"
    if config.unfreeze == "head":
        return began
    return "training fold" if began == "nothing" else f"{began}, training fold ({config.unfreeze})"


def pretrained(best: "Best", config: "TrialConfig", place: "Place") -> "Best":
    """The winner's backbone as its pretrained weights are."""
    from dataclasses import replace

    from trainables.nets.models import build
    from trainables.nets.weights import find

    net = build(config.backbone, find(config.backbone, place.weights), seed=0).module
    return replace(best, net=net.requires_grad_(False).to(best.device))


def embed(best: "Best", pixels: "Pixels", items: np.ndarray, labels: np.ndarray) -> LabeledFeatures:
    """The pooled features of these items: what the classifier would be given."""
    from study.products.best import logits, views

    best.net.reset_classifier(0)
    parts = [
        logits(best, views(best, [pixels[int(item)] for item in items[first : first + _AT_ONCE]]))
        for first in range(0, len(items), _AT_ONCE)
    ]
    return LabeledFeatures(np.concatenate(parts), labels)


def _set_aside(out: Path, config: "TrialConfig", place: "Place") -> tuple["Pixels", np.ndarray, np.ndarray] | None:
    """Images, items and labels of the classes that the study set aside; None where it did not."""
    if not (out / UNSEEN_FILE).exists():
        return None
    from trainables.data.pixels import open_pixels

    unseen = pd.read_parquet(out / UNSEEN_FILE)
    pixels = open_pixels(unseen, place.data, config.stored_side, place.cache, place.cache_gib, config.region)
    return pixels, unseen["item"].to_numpy(np.int64), unseen["label"].to_numpy(np.int64)


def _searched(test: LabeledFeatures, classes: int, untrained: bool) -> list[tuple[str, LabeledFeatures]]:
    """What is searched under which protocol among the test images."""
    if untrained:
        return [("zero-shot", test), ("zero-shot", second_half(test, classes))]
    return [("closed set", test)]


def _retrieval_row(protocol: str, some: LabeledFeatures) -> dict[str, Any]:
    began = time.perf_counter()
    scores = retrieval(some)
    about = {"protocol": protocol, "classes": len(np.unique(some.labels)), "pictures": len(some.labels)}
    return about | scores | {"seconds": time.perf_counter() - began}


def _place(chosen: argparse.Namespace) -> "Place":
    """Where the study's images and weights are, and whether they are still there."""
    from study.setup.prepare import check_folders, check_pictures
    from trainables.place import Place

    try:
        known = json.loads((chosen.out / STUDY_FILE).read_text(encoding="utf-8"))["place"]
        manifest = pd.read_parquet(chosen.out / MANIFEST_FILE)
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"OUT must be a finished study, but {str(chosen.out)!r} is none that can be read.") from None
    weights = chosen.weights or (Path(known["weights"]) if known["weights"] else None)
    data = (chosen.data or Path(known["data"])).absolute()
    check_folders(weights if chosen.frozen else None, chosen.cache)
    check_pictures(manifest, data)
    return Place((chosen.out / MANIFEST_FILE).absolute(), data, chosen.cache.absolute(), weights=weights)


def console() -> None:
    """Run this command on the arguments of the process, and exit with its status."""
    sys.exit(in_shell(main))


if __name__ == "__main__":
    console()
