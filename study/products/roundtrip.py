"""Before a study: check that every net of its plan can be exported and loaded again as the same function.

Each backbone gets random weights, is exported by the functions that export a winner, and is loaded by timm in the way
of `study.predict`. The original and the loaded net must agree on the same images. Results are kept in the cache.
"""

import hashlib
import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, astuple, dataclass
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import safetensors
import timm
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from study.products import best as served
from study.products.local_dir import Difference, NotTheSame, difference, write_net, write_preprocessing
from study.results import BEST_FOLDER
from study.writing import write_json
from trainables import preprocess
from trainables.augmentation.views import evaluation_views
from trainables.cache_layout import PROOFS
from trainables.config import TrialConfig
from trainables.data.grayscale import GrayRanges
from trainables.errors import InputError
from trainables.frozen.activations import normalized, scaling
from trainables.learning.checkpoints import save_tensors
from trainables.nets.models import Body, Net, build, input_contract

# Increase it when the export or the comparison changes: cached results of older versions are then ignored.
VERSION = 2
_IMAGES = 3


@dataclass(frozen=True)
class Case:
    """The parameters that determine the outcome of a round trip."""

    backbone: str
    weights: str  # "pretrained" or "none": timm builds some nets differently for pretrained weights (fbnetc_100's eps)
    size: int
    stored_side: int
    classes: int
    outputs: int  # of the head; 1 with a single logit for two classes
    drop_paths: bool


@dataclass(frozen=True)
class RoundTrip:
    """The outcome of a net's round trip."""

    worst: float  # largest difference of a logit
    allowed: float
    no_onnx: str | None = None  # why it cannot be exported as ONNX; empty if it can, None if that was not tried


def check_exports(
    configs: Iterable[TrialConfig], classes: int, cache: Path, keep: bool = True, with_onnx: bool = False
) -> None:
    """Refuse a study if one of its nets cannot be exported.

    A net that only the ONNX export does not support gets a warning.

    Args:
        cache: the folder with the results of earlier checks.
        keep: whether new results are written there.
        with_onnx: whether to try the ONNX export too.

    Raises:
        InputError: a loaded net differs from the original. The message names the net and the difference.
    """
    cases = {
        Case(
            backbone=config.backbone,
            weights=config.weights,
            size=config.size,
            stored_side=config.stored_side,
            classes=classes,
            outputs=1 if config.loss == "binary_cross_entropy" else classes,
            drop_paths=config.drop_path is not None,
        )
        for config in configs
    }
    for case in sorted(cases, key=astuple):
        file = cache / PROOFS / f"{_digest(case)}.json"
        outcome = _cached(file)
        if outcome is None or (with_onnx and outcome.no_onnx is None):
            outcome = round_trip(case, with_onnx)
            if keep:
                file.parent.mkdir(parents=True, exist_ok=True)
                write_json({"case": vars(case), **asdict(outcome)}, file)
        if with_onnx and outcome.no_onnx:
            print(
                f"{case.backbone} cannot be exported as ONNX ({outcome.no_onnx}); everything else works with it.",
                file=sys.stderr,
            )


def _cached(file: Path) -> RoundTrip | None:
    """Return the outcome of an earlier check; None if there is none or its file is damaged."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        return RoundTrip(float(values["worst"]), float(values["allowed"]), values["no_onnx"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def round_trip(case: Case, with_onnx: bool = False) -> RoundTrip:
    """Export a net with random weights, load it, and compare the logits of both.

    Raises:
        InputError: the logits differ by more than float32 explains, or the net cannot be built, written or loaded.
    """
    folder = Path()
    try:
        with TemporaryDirectory() as temporary:
            folder = Path(temporary)
            compared = there_and_back(case, folder)
            if not compared.agrees:
                raise NotTheSame(f"its logits differ by {compared.worst:.2g}")
            no_onnx = _no_onnx(folder) if with_onnx else None
    except Exception as problem:  # timm, torch and safetensors raise a dozen types; each means that the export failed
        kind = "" if isinstance(problem, InputError | NotTheSame) else f"{type(problem).__name__}: "
        reason = " ".join(f"{kind}{problem}".replace(str(folder), "").split())[:200].rstrip(".")
        raise InputError(
            f"Backbone {case.backbone} at {case.size} px cannot be exported as the net that would be tested: {reason}. "
            "Use another backbone."
        ) from problem
    return RoundTrip(compared.worst, compared.allowed, no_onnx)


def _no_onnx(folder: Path) -> str:
    """Return why the model in `folder`/best cannot be exported as ONNX; empty if it can."""
    from study.products.to_onnx import NotExported, export_onnx  # loads ONNX Runtime

    try:
        export_onnx(served.load_best(folder, "cpu"), folder)
    except NotExported as problem:
        return str(problem)
    return ""


def there_and_back(case: Case, folder: Path) -> Difference:
    """Write a net with random weights to `folder`/best, load it, and compare.

    Raises:
        NotTheSame: the loaded preprocessing gives other inputs, or timm cannot build this net.
    """
    net = Net(_body(case, folder), case.outputs)
    randomize(net)
    contract = input_contract(net.backbone)
    names = [f"class {number}" for number in range(case.classes)]
    write_net(net, case.backbone, names, case.size, folder / BEST_FOLDER)
    write_preprocessing(contract, case.size, case.stored_side, "picture", GrayRanges(), folder / BEST_FOLDER)
    best = served.load_best(folder, "cpu")
    pictures = [preprocess.reduced(picture, case.stored_side) for picture in _pictures(case.stored_side)]
    views = torch.from_numpy(evaluation_views(pictures, case.size, contract))
    x = normalized(views, *scaling(contract, "cpu")).contiguous()
    files = [_png(picture) for picture in _pictures(case.stored_side)]
    numbers = preprocess.read_numbers(folder / BEST_FOLDER)
    if not torch.equal(served.views(best, pictures), x) or not np.array_equal(preprocess.inputs(files, numbers), x):
        raise NotTheSame("its preprocessing differs from the preprocessing in training")
    with torch.no_grad():
        return difference(torch.from_numpy(served.logits(best, x)), net(x))


def _body(case: Case, folder: Path) -> Body:
    """Return the backbone as a trial builds it, with random numbers instead of pretrained weights."""
    if case.weights == "none":
        return build(case.backbone, None, 0, case.drop_paths)
    start = folder / "start.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_tensors(timm.create_model(case.backbone).state_dict(), start)
    return build(case.backbone, start, 0, case.drop_paths)


def randomize(net: nn.Module) -> None:
    """Change every parameter and every statistic of a norm, because a layer scale of 0 would hide the layers before it.

    The changes are small compared with the usual initialization, or a deep net without norms would overflow.
    """
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in net.parameters():
            spread = 0.5 * parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.1
            parameter.add_(spread * torch.randn(parameter.shape, generator=random))
        for name, buffer in net.named_buffers():
            if name.endswith("running_mean"):
                buffer.add_(0.1 * torch.randn(buffer.shape, generator=random))
            elif name.endswith("running_var"):
                buffer.mul_(0.5 + torch.rand(buffer.shape, generator=random))


def _pictures(side: int) -> list[NDArray[np.uint8]]:
    """Return images of coarse noise, which survives downscaling. Some are larger than `side`, some smaller."""
    random = np.random.default_rng(0)
    shapes = [(2 * side + 3, side + 40), (max(side // 2, 8), side), (side, side + 1)][:_IMAGES]
    return [
        np.asarray(Image.fromarray(random.integers(0, 256, (9, 12, 3), np.uint8)).resize((width, height)))
        for height, width in shapes
    ]


def _png(picture: NDArray[np.uint8]) -> bytes:
    file = BytesIO()
    Image.fromarray(picture).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _digest(case: Case) -> str:
    versions = (VERSION, timm.__version__, torch.__version__, safetensors.__version__, version("onnxruntime"))
    return hashlib.sha256(json.dumps([astuple(case), *versions]).encode()).hexdigest()[:32]
