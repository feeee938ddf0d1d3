"""After the study: check on its test images that the model in best/ is the model that was tested."""

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

# Maximum number of test images to compare. A wrong model differs on every image.
MOST = 256
_AT_ONCE = 32
# Rounding error of float16, relative to a stored logit: half a unit in the last place.
_FLOAT16_ERROR = 2.0**-11


@dataclass(frozen=True)
class Proof:
    """Evidence that the model in best/ is the tested one: proof.json."""

    images: int  # compared
    of: int  # test images in total
    largest_difference: float  # of a logit, relative to the tolerance of its image
    allowed: float  # the tolerance of that image: float16 rounding and the order of float32 sums
    labels_otherwise: int  # images whose most likely class differs, because two classes are practically tied
    compared_with: str
    inputs: str
    files_otherwise: int  # images for which preprocess.py fails or gives other inputs than the study
    device: str
    versions: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def prove_best(
    out: Path, config: TrialConfig, place: Place, net: Net, predictions: Path, manifest: pd.DataFrame
) -> Proof:
    """Load best/ as a user would, and compare its logits on test images with those of the study.

    If the study used whole images, the comparison starts from the image files.

    Args:
        net: the winner in this process. It is compared with if `predictions` has no logits of the net: there are too
            many classes to store them, or the study tested nearest neighbors.

    Raises:
        NotTheSame: best/ is a different model. The message says by how much the logits differ.
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
    loaded, computed, differing = [], [], []
    for batch in np.array_split(items, -(-len(items) // _AT_ONCE)):
        inputs = views(best, [np.asarray(pictures.pixels[int(item)]) for item in batch])
        if from_files:
            differing += _differing_files(out / BEST_FOLDER, [data / path for path in paths[batch]], inputs)
        loaded.append(logits(best, inputs))
        if stored is None:
            computed.append(_logits(net, inputs))
    actual = np.concatenate(loaded).astype(np.float64)
    expected = np.concatenate(computed).astype(np.float64) if stored is None else stored
    largest = np.abs(expected).max(axis=1)
    allowed = TOLERANCE * np.maximum(1.0, largest) + (0.0 if stored is None else _FLOAT16_ERROR * largest)
    difference = np.abs(actual - expected).max(axis=1)
    worst = int((difference / allowed).argmax())
    if not (difference <= allowed).all():
        raise NotTheSame(
            f"a logit of a test image differs by {difference[worst]:.2g}, but rounding allows only {allowed[worst]:.2g}"
        )
    if differing:
        print(
            f"{PREPROCESS_FILE} and the study preprocess {len(differing)} of {len(items)} test images differently, "
            f"for example {differing[0].name!r}: use study.predict for such files.",
            file=sys.stderr,
        )
    return Proof(
        images=len(items),
        of=len(pictures.test),
        largest_difference=float(difference[worst]),
        allowed=float(allowed[worst]),
        labels_otherwise=int((actual.argmax(axis=1) != expected.argmax(axis=1)).sum()),
        compared_with="the net in the study's process" if stored is None else "predictions.parquet",
        inputs=f"the files, read by {PREPROCESS_FILE}" if from_files else "the annotated boxes, cropped by the study",
        files_otherwise=len(differing),
        device=best.device,
        versions={"python": platform.python_version(), "torch": torch.__version__, "timm": timm.__version__},
    )


def _differing_files(folder: Path, files: list[Path], inputs: torch.Tensor) -> Iterator[Path]:
    """Yield the files for which the shipped preprocess.py does not give exactly the inputs of the study."""
    shipped = runpy.run_path(str(folder / PREPROCESS_FILE))
    numbers = shipped["read_numbers"](folder)
    for file, expected in zip(files, inputs.cpu().numpy(), strict=True):
        try:
            actual = shipped["inputs"]([file], numbers)[0]
        except Exception:  # the file is gone, or Pillow refuses metadata that the study ignores
            yield file
        else:
            if not np.array_equal(actual, expected):
                yield file


def _stored(predictions: Path, items: NDArray[np.int64]) -> NDArray[np.float64] | None:
    if not predictions.exists():
        return None
    rows = pd.read_parquet(predictions, columns=["item", "fold", LOGITS])
    of_items = rows[rows["fold"] == "test"].set_index("item")[LOGITS].reindex(items)
    return None if of_items.isna().any() else np.stack(of_items.to_list()).astype(np.float64)


def _logits(net: Net, x: torch.Tensor) -> NDArray[np.float32]:
    with torch.no_grad():
        return net.to(x.device)(x).float().cpu().numpy()
