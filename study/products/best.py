"""best/ read back: a study's winner, and how images go into it."""

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
from trainables.nets import scratch_nets  # noqa: F401  (timm learns their names)
from trainables.preprocess import reduced

MODEL_FILE = "model.safetensors"
CONFIG_FILE = "config.json"  # timm's
LABELS_FILE = "labels.json"
PREPROCESSING_FILE = "preprocessing.json"
PREPROCESS_FILE = "preprocess.py"
PROOF_FILE = "proof.json"  # on what it was seen that this is the model that was tested
TEMPERATURE_FILE = "temperature.json"
ONNX_FILE = "model.onnx"  # written on request
TRIAL_FILE = "trial.json"  # which trial it is, with its config


@dataclass(frozen=True)
class Best:
    """The winner in evaluation mode: `net` gives logits (n, classes), `names` are the classes in their order."""

    net: nn.Module
    names: list[str]
    contract: InputContract
    size: int
    stored_side: int  # what the study reduced the shorter side of larger images to, before it cut views from them
    temperature: float  # 1 where the study ended without validation logits to fit it on
    device: str
    gray_ranges: GrayRanges  # what more than 8 bits of gray are scaled by, as in the study


def load_best(out: Path, device: str | None = None) -> Best:
    """The winner of the study in `out`, on `device`, or on a GPU where there is one.

    Raises:
        InputError: there is none, or it is not whole.
    """
    folder = out / BEST_FOLDER
    if not (folder / MODEL_FILE).is_file():
        raise InputError(
            f"{str(out)!r} holds no winner ({BEST_FOLDER}/{MODEL_FILE}): name the --out of a finished study."
        )
    names, how = _read(folder / LABELS_FILE), _read(folder / PREPROCESSING_FILE)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cudnn.allow_tf32 = False  # as in the study: float32 is one
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
        raise InputError(f"{str(folder)!r} holds no whole winner ({reason}): run the study with --resume.") from None


def prepared(best: Best, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An image (h, w, 3) as the study kept it: views of it are those that the study evaluated."""
    return reduced(picture, best.stored_side)


def views(best: Best, pictures: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
    """The evaluation views of prepared images as the net takes them: normalized, shape (n, 3, size, size)."""
    cut = torch.from_numpy(evaluation_views(pictures, best.size, best.contract)).to(best.device)
    return normalized(cut, *scaling(best.contract, best.device)).contiguous()


def logits(best: Best, inputs: torch.Tensor) -> NDArray[np.float32]:
    """The logits (n, classes) of normalized views."""
    with torch.no_grad():
        return best.net(inputs).float().cpu().numpy()


def probabilities(best: Best, scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """Logits (n, classes) as confidences that fit how often the winner was right on its validation fold."""
    return softmax(scores.astype(np.float64) / best.temperature)


def read_trial(out: Path) -> dict[str, Any]:
    """Which trial the winner is and its config: {"trial": ..., "config": {...}}."""
    return _read(out / BEST_FOLDER / TRIAL_FILE)


def _temperature(path: Path) -> float:
    return float(_read(path)["temperature"]) if path.exists() else 1.0


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or "no JSON"
        raise InputError(f"{str(path)!r} cannot be read ({reason}): run the study with --resume.") from None
