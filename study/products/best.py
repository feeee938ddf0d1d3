"""Load a study's winner from best/, and preprocess images for it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import nn

from study.results import BEST_FOLDER
from trainables.augmentation.views import InputContract, evaluation_views
from trainables.data.grayscale import GrayRanges, from_json
from trainables.errors import InputError
from trainables.frozen.activations import normalized, scaling
from trainables.metrics import softmax
from trainables.nets import scratch_nets  # noqa: F401  (registers them with timm)
from trainables.preprocess import reduced

MODEL_FILE = "model.safetensors"
CONFIG_FILE = "config.json"  # timm's
LABELS_FILE = "labels.json"
PREPROCESSING_FILE = "preprocessing.json"
PREPROCESS_FILE = "preprocess.py"
PROOF_FILE = "proof.json"  # evidence that this is the tested model
TEMPERATURE_FILE = "temperature.json"
ONNX_FILE = "model.onnx"  # written on request
TRIAL_FILE = "trial.json"  # the winning trial and its config


@dataclass(frozen=True)
class Best:
    """The winner, ready for inference."""

    net: nn.Module  # in evaluation mode; returns logits (n, classes)
    names: list[str]  # of the classes, in the order of the logits
    contract: InputContract
    size: int
    stored_side: int  # the study reduced the shorter side of larger images to this before it cut views
    temperature: float  # 1 if the study has no validation logits to fit it on
    device: str
    gray_ranges: GrayRanges  # how the study scaled images with more than 8 bits of gray


def load_best(out: Path, device: str | None = None) -> Best:
    """Load the winner of the study in `out` on `device`, by default on a GPU if there is one.

    Raises:
        InputError: there is no winner, or its files are damaged.
    """
    folder = out / BEST_FOLDER
    if not (folder / MODEL_FILE).is_file():
        raise InputError(
            f"{str(out)!r} holds no winner ({BEST_FOLDER}/{MODEL_FILE}): name the --out of a finished study."
        )
    names, how = _read(folder / LABELS_FILE), _read(folder / PREPROCESSING_FILE)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cudnn.allow_tf32 = False  # full float32, as in the study
    try:
        net = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=len(names))
        return Best(
            net=net.eval().requires_grad_(False).to(device),
            names=names,
            contract=InputContract(tuple(how["mean"]), tuple(how["std"]), how["interpolation"], how["crop_pct"]),
            size=how["size"],
            stored_side=how["stored_side"],
            temperature=_temperature(folder / TEMPERATURE_FILE),
            device=device,
            gray_ranges=from_json(how),
        )
    except (RuntimeError, OSError, ValueError, KeyError, TypeError, SafetensorError) as problem:
        reason = " ".join(str(problem).split())[:200]
        raise InputError(f"The winner in {str(folder)!r} is damaged ({reason}): run the study with --resume.") from None


def prepared(best: Best, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image (h, w, 3) as the study stores it. Its views equal those that the study evaluates."""
    return reduced(picture, best.stored_side)


def views(best: Best, pictures: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
    """Return the evaluation views of prepared images as the net's input: normalized, shape (n, 3, size, size)."""
    cut = torch.from_numpy(evaluation_views(pictures, best.size, best.contract)).to(best.device)
    return normalized(cut, *scaling(best.contract, best.device)).contiguous()


def logits(best: Best, inputs: torch.Tensor) -> NDArray[np.float32]:
    """Return the logits (n, classes) of normalized views."""
    with torch.no_grad():
        return best.net(inputs).float().cpu().numpy()


def probabilities(best: Best, scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return calibrated probabilities for logits (n, classes), with the temperature fitted on the validation fold."""
    return softmax(scores.astype(np.float64) / best.temperature)


def read_trial(out: Path) -> dict[str, Any]:
    """Return the winning trial and its config: {"trial": ..., "config": {...}}.

    Raises:
        InputError: the file cannot be read.
    """
    return _read(out / BEST_FOLDER / TRIAL_FILE)


def _temperature(path: Path) -> float:
    return float(_read(path)["temperature"]) if path.exists() else 1.0


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or "not JSON"
        raise InputError(f"{str(path)!r} cannot be read ({reason}): run the study with --resume.") from None
