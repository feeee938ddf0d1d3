"""After the study: whether what lies in best/ is the model that was tested, seen on its own test images."""

import platform
import runpy
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import timm
import torch
from numpy.typing import NDArray

from study.products.best import PREPROCESS_FILE, load_best, logits, views
from study.products.local_dir import TOLERANCE, NotTheSame
from study.results import BEST_FOLDER, LOGITS
from trainables.config import TrialConfig
from trainables.data.manifest import data_folder
from trainables.data.trial_data import open_trial_data
from trainables.errors import InputError
from trainables.keyed import key, order
from trainables.nets.models import Net
from trainables.place import Place

# Test images that best/ is shown: a wrong function differs on each of them.
MOST = 256
_AT_ONCE = 32
# Half of a unit in the last place of float16, as a share of a stored logit.
_STORED = 2.0**-11


@dataclass(frozen=True)
class Proof:
    """On what it was seen that a model of best/ is the one that was tested."""

    images: int
    of: int  # test images in all
    largest_difference: float  # of a logit
    allowed: float  # for that image: what float16 and the order of float32 sums explain
    labels_otherwise: int  # images whose likeliest class is another: of classes that are as good as equal
    compared_with: str
    inputs: str
    files_otherwise: int  # images that Pillow alone cannot open, or opens as something else than the study
    device: str
    versions: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def prove_best(
    out: Path, config: TrialConfig, place: Place, net: Net, predictions: Path, manifest: pd.DataFrame
) -> Proof:
    """Load best/ as anybody would and show it test images: from the files on, where the study used whole images.

    `net` is the winner in this process. It is compared with where `predictions` hold no logits of the net's own: none
    of more classes than are kept, and votes where nearest neighbors were tested.

    Raises:
        NotTheSame: it is another model; the text says by how much.
    """
    try:
        best = load_best(out)
    except InputError as problem:
        raise NotTheSame(str(problem)) from problem
    pictures = open_trial_data(config, place)
    items = np.sort(order(key("proof", config.study_seed), pictures.test)[:MOST])
    paths = manifest.set_index("item")["path"]
    from_files, data = config.region == "picture", data_folder(place.data)
    stored = None if config.neighbours is not None else _stored(predictions, items)
    found, computed, otherwise = [], [], []
    for some in np.array_split(items, -(-len(items) // _AT_ONCE)):
        inputs = views(best, [np.asarray(pictures.pixels[int(item)]) for item in some])
        if from_files:
            otherwise += _made_otherwise(out / BEST_FOLDER, [data / path for path in paths[some]], inputs)
        found.append(logits(best, inputs))
        if stored is None:
            computed.append(_logits(net, inputs))
    found = np.concatenate(found).astype(np.float64)
    expected = np.concatenate(computed).astype(np.float64) if stored is None else stored
    largest = np.abs(expected).max(axis=1)
    allowed = TOLERANCE * np.maximum(1.0, largest) + (0.0 if stored is None else _STORED * largest)
    difference = np.abs(found - expected).max(axis=1)
    worst = int((difference / allowed).argmax())
    if not (difference <= allowed).all():
        raise NotTheSame(
            f"on a test image a logit differs by {difference[worst]:.2g}, where rounding explains {allowed[worst]:.2g}"
        )
    if otherwise:
        print(
            f"{PREPROCESS_FILE} gives other inputs than the study for {len(otherwise)} of {len(items)} test images, "
            f"the first is {otherwise[0].name!r}: use study.predict for such files.",
            file=sys.stderr,
        )
    return Proof(
        images=len(items),
        of=len(pictures.test),
        largest_difference=float(difference[worst]),
        allowed=float(allowed[worst]),
        labels_otherwise=int((found.argmax(axis=1) != expected.argmax(axis=1)).sum()),
        compared_with="the net in the study's process" if stored is None else "predictions.parquet",
        inputs=f"the files through {PREPROCESS_FILE}" if from_files else "the annotated boxes as the study cut them",
        files_otherwise=len(otherwise),
        device=best.device,
        versions={"python": platform.python_version(), "torch": torch.__version__, "timm": timm.__version__},
    )


def _made_otherwise(folder: Path, files: list[Path], inputs: torch.Tensor) -> Iterator[Path]:
    """The files of which the program that ships does not make, bit for bit, the inputs that the study made."""
    shipped = runpy.run_path(str(folder / PREPROCESS_FILE))
    numbers = shipped["read_numbers"](folder)
    for file, expected in zip(files, inputs.cpu().numpy(), strict=True):
        try:
            made = shipped["inputs"]([file], numbers)[0]
        except Exception:  # the file is gone, or Pillow refuses metadata that the study does without
            yield file
        else:
            if not np.array_equal(made, expected):
                yield file


def _stored(predictions: Path, items: NDArray[np.int64]) -> NDArray[np.float64] | None:
    if not predictions.exists():
        return None
    seen = pd.read_parquet(predictions, columns=["item", "fold", LOGITS])
    rows = seen[seen["fold"] == "test"].set_index("item")[LOGITS].reindex(items)
    return None if rows.isna().any() else np.stack(rows.to_list()).astype(np.float64)


def _logits(net: Net, x: torch.Tensor) -> NDArray[np.float32]:
    with torch.no_grad():
        return net.to(x.device)(x).float().cpu().numpy()
