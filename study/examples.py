"""examples/: test pictures the report shows, with what the winner says of them."""

import numpy as np
import pandas as pd
from PIL import Image

from study.course import Course, predictions_file
from study.ledger import Record
from study.results import EXAMPLES_COLUMNS, EXAMPLES_FILE, EXAMPLES_FOLDER, write_table
from trainables.config import from_dict
from trainables.keyed import key, order
from trainables.manifest import label_names
from trainables.place import Place, open_pictures

# As many drawn by key as confident errors: a gallery of errors alone would slander the model.
EACH = 6
_LONGEST_SIDE = 160


def write_examples(course: Course, winner: Record, place: Place, manifest: pd.DataFrame) -> None:
    """Thumbnails of some test pictures drawn by key and of the winner's most confident errors."""
    names = label_names(manifest)
    pixels = open_pictures(from_dict(winner.config), place).pixels
    folder = course.out / EXAMPLES_FOLDER
    folder.mkdir(exist_ok=True)
    rows = []
    for shown in _chosen(pd.read_parquet(predictions_file(course.out, winner.planned.trial)), course.base.study_seed):
        image = Image.fromarray(np.asarray(pixels[shown.item]))
        image.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
        image.save(folder / f"{shown.item}.png")
        rows.append((f"{shown.item}.png", names[shown.label], names[shown.predicted], shown.confidence))
    write_table(pd.DataFrame(rows, columns=list(EXAMPLES_COLUMNS)), folder / EXAMPLES_FILE)


def _chosen(predictions: pd.DataFrame, seed: int) -> list:
    test = predictions[predictions["fold"] == "test"]
    drawn = order(key("examples", seed), test["item"])[:EACH]
    wrong = test[(test["label"] != test["predicted"]) & ~test["item"].isin(drawn)]
    errors = wrong.sort_values(["confidence", "item"], ascending=[False, True]).head(EACH)
    return list(pd.concat([test[test["item"].isin(drawn)], errors]).itertuples())
