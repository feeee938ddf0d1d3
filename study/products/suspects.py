"""examples/suspect-ITEM.jpg: the images whose labels have the lowest probability, for the report."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from study.persistence.ledger import Record
from study.persistence.trial_files import predictions_file
from study.results import EXAMPLES_FOLDER, SUSPECTS_PREFIX
from study.schedule.next_trials import setting_of
from study.schedule.state import StudyState
from trainables.config import from_dict
from trainables.data.trial_data import open_trial_data
from trainables.place import Place

MOST = 50
_LONGEST_SIDE = 160


def write_suspects(state: StudyState, winner: Record, place: Place) -> None:
    """Write thumbnails of possible label errors. Those of an earlier winner are deleted."""
    folder = state.out / EXAMPLES_FOLDER
    folder.mkdir(exist_ok=True)
    for stale in folder.glob(f"{SUSPECTS_PREFIX}*.jpg"):
        stale.unlink()
    seeds = [record.planned.trial for record in state.of_phase("confirm") if setting_of(record) == setting_of(winner)]
    files = [file for trial in seeds if (file := predictions_file(state.out, trial)).exists()]
    pixels = open_trial_data(from_dict(winner.config), place).pixels
    for item in least_probable(files):
        image = Image.fromarray(np.asarray(pixels[item]))
        image.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
        image.save(folder / f"{SUSPECTS_PREFIX}{item}.jpg", quality=85)


def least_probable(files: Iterable[Path]) -> list[int]:
    """Return items by the mean probability of their label over the models that did not train on them, lowest first.

    The stricter rule of the report orders by the same number, so it selects among these.
    """
    parts = [pd.read_parquet(file, columns=["item", "cross_entropy"]) for file in files]
    if not parts:
        return []
    rows = pd.concat(parts)
    of_label = pd.Series(np.exp(-rows["cross_entropy"].to_numpy()))
    probability = of_label.groupby(rows["item"].to_numpy()).mean()
    return probability[probability < 0.5].sort_values(kind="stable").index[:MOST].tolist()
