"""examples/: test images the report shows, with what the winner says of them and what it looked at."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from study.persistence.ledger import Record
from study.products.best import Best, load_best
from study.products.explain import explain, in_view, overlay
from study.results import EXAMPLES_COLUMNS, EXAMPLES_FILE, EXAMPLES_FOLDER, EXAMPLES_MORE_COLUMNS
from study.schedule.state import StudyState, predictions_file
from study.writing import write_table
from trainables.config import from_dict
from trainables.data.manifest import label_names
from trainables.data.trial_data import open_trial_data
from trainables.keyed import key, order
from trainables.nets.gradcam import box_share, energy_in_box
from trainables.place import Place

# As many drawn by key as confident errors: a gallery of errors alone would slander the model.
EACH = 6
PAIRS = 3  # of the most confused classes, an image in each direction
# Columns that a manifest has where the data set says where its object is: pixels of the original image.
BOX_COLUMNS = ["box_left", "box_top", "box_right", "box_bottom"]
_LONGEST_SIDE = 160


@dataclass(frozen=True)
class _Heat:
    """What speaks for the predicted class in one view, and where that view lies in its image."""

    values: NDArray[np.float32]  # (size, size)
    crop: float


def write_examples(state: StudyState, winner: Record, place: Place, manifest: pd.DataFrame) -> None:
    """Some test images drawn by key, the most confident errors, and of each pair of the most confused classes one
    taken for the other; each as a thumbnail and, where the net has one, with a heat map of the predicted class."""
    names = label_names(manifest)
    pixels = open_trial_data(from_dict(winner.config), place).pixels
    folder = state.out / EXAMPLES_FOLDER
    folder.mkdir(exist_ok=True)
    chosen = choose(pd.read_parquet(predictions_file(state.out, winner.planned.trial)), state.base.study_seed)
    pictures = [np.asarray(pixels[item]) for item in chosen["item"]]
    heats = _heats(state, pictures, chosen["predicted"].tolist())
    places = manifest.set_index("item")
    rows = []
    for shown, picture, heat in zip(chosen.itertuples(), pictures, heats, strict=True):
        image = Image.fromarray(picture)
        image.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
        image.save(folder / f"{shown.item}.png")
        row = {"file": f"{shown.item}.png", "label": names[shown.label], "predicted": names[shown.predicted]}
        row |= {"confidence": shown.confidence, "kind": shown.kind}
        if heat is not None:
            row["heatmap"] = f"{shown.item}-heat.png"
            overlay(np.asarray(image), heat.values, heat.crop).save(folder / row["heatmap"])
            row |= _pointing(heat, places.loc[shown.item])
        rows.append(row)
    columns = [*EXAMPLES_COLUMNS, *EXAMPLES_MORE_COLUMNS]
    write_table(pd.DataFrame(rows, columns=columns), folder / EXAMPLES_FILE)


def choose(predictions: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The test images to show and why, in the column `kind`; each image once."""
    test = predictions[predictions["fold"] == "test"].sort_values("item")
    drawn = test[test["item"].isin(order(key("examples", seed), test["item"])[:EACH])]
    wrong = test[(test["label"] != test["predicted"]) & ~test["item"].isin(drawn["item"])]
    wrong = wrong.sort_values(["confidence", "item"], ascending=[False, True])
    errors = wrong.head(EACH)
    confused = _confused(test, wrong[~wrong["item"].isin(errors["item"])])
    kinds = {"drawn": drawn, "error": errors, "confused": confused}
    return pd.concat([rows.assign(kind=kind) for kind, rows in kinds.items()], ignore_index=True)


def _confused(test: pd.DataFrame, left: pd.DataFrame) -> pd.DataFrame:
    """From the images that are left the most confident one for each direction of the most confused pairs."""
    wrong = test[test["label"] != test["predicted"]]
    ends = wrong[["label", "predicted"]]
    counts = wrong.groupby([ends.min(axis=1), ends.max(axis=1)]).size().sort_values(ascending=False, kind="stable")
    directions = [each for low, high in counts.index[:PAIRS] for each in ((low, high), (high, low))]
    found = [left[(left["label"] == label) & (left["predicted"] == predicted)][:1] for label, predicted in directions]
    return pd.concat([left[:0], *found])


def _heats(state: StudyState, pictures: Sequence[NDArray[np.uint8]], classes: Sequence[int]) -> list[_Heat | None]:
    """None where the winner cannot be explained: that spoils no study."""
    try:
        best: Best = load_best(state.out)
        return [_Heat(values, best.contract.crop) for values in explain(best, pictures, classes)]
    except Exception as problem:  # any of timm's nets may do what Grad-CAM does not know
        reason = " ".join(f"{type(problem).__name__}: {problem}".split())[:200]
        print(f"The examples have no heat maps ({reason}).", file=sys.stderr)
        return [None] * len(pictures)


def _pointing(heat: _Heat, picture: pd.Series) -> dict[str, float]:
    """How much of the heat and of the view lies in the object's box; nothing where the box is not known."""
    if not set(BOX_COLUMNS) <= set(picture.index) or picture[BOX_COLUMNS].isna().any():
        return {}
    left, top, right, bottom = (float(edge) for edge in picture[BOX_COLUMNS])
    size = heat.values.shape[0]
    box = in_view((left, top, right, bottom), int(picture["height"]), int(picture["width"]), heat.crop, size)
    return {"energy_in_box": energy_in_box(heat.values, box), "box_share": box_share((size, size), box)}
