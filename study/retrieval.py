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
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from study.arguments import Parser, cache_option, check_cache, fail
from study.persistence.ledger import read_openings
from study.results import MANIFEST_FILE, STUDY_FILE
from study.study_record import PlaceRecord
from study.writing import in_shell
from trainables.errors import InputError

if TYPE_CHECKING:
    from trainables.place import Place


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
    """Write both tables and return them.

    Raises:
        InputError: the study is not finished, or its images or weights are gone.
    """
    place = _place(chosen)
    if not read_openings(chosen.out):
        raise InputError(f"The study in {str(chosen.out)!r} has not opened its test fold yet: run it to its end first.")
    from study.products.retrieval import write_retrieval

    return write_retrieval(chosen.out, place, chosen.frozen)


def _place(chosen: argparse.Namespace) -> "Place":
    """Where the study's images and weights are, and whether they are still there."""
    from study.setup.prepare import check_folders, check_pictures
    from trainables.place import Place

    try:
        known: PlaceRecord = json.loads((chosen.out / STUDY_FILE).read_text(encoding="utf-8"))["place"]
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
