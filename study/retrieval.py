"""`python -m study.retrieval OUT`: evaluate the winner's features by kNN classification and image retrieval.

Writes two tables into OUT/tables, from the pooled features of evaluation views, on the folds of the winner's trial:

knn.csv        kNN classification with the training fold as gallery. The distance and k are selected on the validation
               fold, and only the selected ones are evaluated on the test fold.
retrieval.csv  Every test image queries all other test images for its class. A backbone that the study did not train
               (unfreeze "head") is evaluated "zero-shot", because no image or label of the study formed its features:
               on all classes, and on the second half of them in label order, as the literature does. Any other
               backbone is evaluated "closed set", on the classes that it was trained on; that number is not comparable
               with zero-shot retrieval. If the study set classes aside (`unseen`), their images are evaluated too,
               "zero-shot" for every backbone. Such a study writes both tables by itself.

--frozen adds the backbone with its original pretrained weights. The study must have opened its test fold before, so
that its models are final. Exit status: 0 done, 2 bad input.
"""

import json
import sys
from dataclasses import dataclass
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


@dataclass(frozen=True, kw_only=True)
class RetrievalFlags:
    """The command line of `study.retrieval`."""

    out: Path
    frozen: bool
    data: Path | None
    weights: Path | None
    cache: Path


def main(arguments: list[str]) -> int:
    """Run the command line and return its exit status."""
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


def parse(arguments: list[str]) -> RetrievalFlags:
    """Parse and check the flags.

    Raises:
        InputError: a flag is unknown, has no value or has a wrong value.
    """
    parser = Parser(prog="python -m study.retrieval", description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("out", type=Path, metavar="OUT", help="the --out of a finished study")
    add("--frozen", action="store_true", help="also evaluate the backbone with its original pretrained weights")
    add("--data", type=Path, metavar="DIR", help="the images, if they have moved since the study")
    add("--weights", type=Path, metavar="DIR", help="a folder of pretrained weights, for --frozen")
    add("--cache", **cache_option("decoded images"))
    values = vars(parser.parse_args(arguments))
    check_cache(values["cache"])
    return RetrievalFlags(**values)


def run(flags: RetrievalFlags) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Write both tables and return them.

    Raises:
        InputError: the study is not finished, or its images or weights are gone.
    """
    place = _place(flags)
    if not read_openings(flags.out):
        raise InputError(f"The study in {str(flags.out)!r} has not opened its test fold yet: let it finish first.")
    from study.products.retrieval import write_retrieval

    return write_retrieval(flags.out, place, flags.frozen)


def _place(flags: RetrievalFlags) -> "Place":
    """Return the folders of the study's images and weights, after checking that they still exist."""
    from study.setup.prepare import check_folders, check_pictures
    from trainables.place import Place

    try:
        recorded: PlaceRecord = json.loads((flags.out / STUDY_FILE).read_text(encoding="utf-8"))["place"]
        manifest = pd.read_parquet(flags.out / MANIFEST_FILE)
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"OUT must be a finished study, but {str(flags.out)!r} cannot be read as one.") from None
    weights = flags.weights or (Path(recorded["weights"]) if recorded["weights"] else None)
    data = (flags.data or Path(recorded["data"])).absolute()
    check_folders(weights if flags.frozen else None, flags.cache)
    check_pictures(manifest, data)
    return Place((flags.out / MANIFEST_FILE).absolute(), data, flags.cache.absolute(), weights=weights)


def console() -> None:
    """Run this command on the arguments of the process, and exit with its status."""
    sys.exit(in_shell(main))


if __name__ == "__main__":
    console()
