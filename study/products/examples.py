"""examples/: test images that the report shows, with the winner's predictions and heat maps."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from study.persistence.ledger import Record
from study.persistence.trial_files import predictions_file
from study.products.best import Best, load_best
from study.products.explain import explain, in_view, overlay
from study.results import EXAMPLES_COLUMNS, EXAMPLES_FILE, EXAMPLES_FOLDER, EXAMPLES_MORE_COLUMNS
from study.schedule.state import StudyState
from study.writing import write_table
from trainables.config import from_dict
from trainables.data.manifest import label_names
from trainables.data.trial_data import open_trial_data
from trainables.keyed import key, order
from trainables.nets.gradcam import box_share, energy_in_box
from trainables.place import Place

# Random images, and as many confident errors: a gallery of errors alone would mislead.
EACH = 6
PAIRS = 3  # of the most confused classes, with an image in each direction
# Manifest columns of datasets with annotated boxes, in pixels of the original image.
BOX_COLUMNS = ["box_left", "box_top", "box_right", "box_bottom"]
_LONGEST_SIDE = 160


@dataclass(frozen=True)
class _Heat:
    """A heat map of the predicted class in one view, and the part of the image that the view shows."""

    values: NDArray[np.float32]  # (size, size)
    crop: float


def write_examples(state: StudyState, winner: Record, place: Place, manifest: pd.DataFrame) -> None:
    """Write random test images, the most confident errors, and errors between the most confused classes.

    Each is a thumbnail, with a heat map of the predicted class if Grad-CAM supports the net.
    """
    names = label_names(manifest)
    pixels = open_trial_data(from_dict(winner.config), place).pixels
    folder = state.out / EXAMPLES_FOLDER
    folder.mkdir(exist_ok=True)
    selected = select(pd.read_parquet(predictions_file(state.out, winner.planned.trial)), state.base.study_seed)
    items, labels, predicted = (selected[name].astype(int).tolist() for name in ("item", "label", "predicted"))
    pictures = [np.asarray(pixels[item]) for item in items]
    heats = _heats(state, pictures, predicted)
    of_item = manifest.set_index("item").to_dict("index")
    rows: list[dict[str, Any]] = []
    for number, (item, picture, heat) in enumerate(zip(items, pictures, heats, strict=True)):
        image = Image.fromarray(picture)
        image.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
        image.save(folder / f"{item}.png")
        row: dict[str, Any] = {
            "file": f"{item}.png",
            "label": names[labels[number]],
            "predicted": names[predicted[number]],
            "confidence": selected["confidence"].iloc[number],
            "kind": selected["kind"].iloc[number],
        }
        if heat is not None:
            row["heatmap"] = f"{item}-heat.png"
            overlay(np.asarray(image), heat.values, heat.crop).save(folder / row["heatmap"])
            row |= _pointing(heat, of_item[item])
        rows.append(row)
    columns = [*EXAMPLES_COLUMNS, *EXAMPLES_MORE_COLUMNS]
    write_table(pd.DataFrame(rows, columns=columns), folder / EXAMPLES_FILE)


def select(predictions: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the predictions of the test images to show, each once, with the reason in the column `kind`."""
    test = predictions[predictions["fold"] == "test"].sort_values("item")
    drawn = test[test["item"].isin(order(key("examples", seed), test["item"])[:EACH])]
    wrong = test[(test["label"] != test["predicted"]) & ~test["item"].isin(drawn["item"])]
    wrong = wrong.sort_values(["confidence", "item"], ascending=[False, True])
    errors = wrong.head(EACH)
    confused = _confused(test, wrong[~wrong["item"].isin(errors["item"])])
    kinds = {"drawn": drawn, "error": errors, "confused": confused}
    return pd.concat([rows.assign(kind=kind) for kind, rows in kinds.items()], ignore_index=True)


def _confused(test: pd.DataFrame, left: pd.DataFrame) -> pd.DataFrame:
    """Return the most confident error that is left for each direction of the most confused pairs of classes."""
    wrong = test[test["label"] != test["predicted"]]
    ends = wrong[["label", "predicted"]]
    counts = wrong.groupby([ends.min(axis=1), ends.max(axis=1)]).size().sort_values(ascending=False, kind="stable")
    directions = [pair for low, high in counts.index[:PAIRS] for pair in ((low, high), (high, low))]
    errors = [left[(left["label"] == label) & (left["predicted"] == predicted)][:1] for label, predicted in directions]
    return pd.concat([left[:0], *errors])


def _heats(state: StudyState, pictures: Sequence[NDArray[np.uint8]], classes: Sequence[int]) -> list[_Heat | None]:
    """Return a heat map per image, or only None if Grad-CAM does not support the net, which must not fail the study."""
    try:
        best: Best = load_best(state.out)
        return [_Heat(values, best.contract.crop) for values in explain(best, pictures, classes)]
    except Exception as problem:  # timm has nets that Grad-CAM does not support
        reason = " ".join(f"{type(problem).__name__}: {problem}".split())[:200]
        print(f"The examples have no heat maps ({reason}).", file=sys.stderr)
        return [None] * len(pictures)


def _pointing(heat: _Heat, picture: Mapping[Any, Any]) -> dict[str, float]:
    """Return the shares of the heat and of the view that lie in the object's box; empty without a box."""
    if not set(BOX_COLUMNS) <= picture.keys() or any(pd.isna(picture[name]) for name in BOX_COLUMNS):
        return {}
    left, top, right, bottom = (float(picture[name]) for name in BOX_COLUMNS)
    size = heat.values.shape[0]
    box = in_view((left, top, right, bottom), int(picture["height"]), int(picture["width"]), heat.crop, size)
    return {"energy_in_box": energy_in_box(heat.values, box), "box_share": box_share((size, size), box)}
