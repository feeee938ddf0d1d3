"""Before a study begins: whether the nets of its plan come back from what the study would ship.

Each backbone is built with random numbers everywhere, exported by the functions that ship a winner, loaded again by
timm and by the path of `study.predict`, and both are shown the same images. What was proved once is kept in the cache.
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

# Raise it whenever what is exported or how it is compared changes: older proofs are then left alone.
VERSION = 2
_IMAGES = 3


@dataclass(frozen=True)
class Case:
    """What the round trip of a net hangs on."""

    backbone: str
    weights: str  # "pretrained" or "none": timm builds some nets otherwise where weights are to come (fbnetc_100's eps)
    size: int
    stored_side: int
    classes: int
    outputs: int  # of the head: one where two classes are told apart by it
    drop_paths: bool


@dataclass(frozen=True)
class Proved:
    """What the round trip of a net showed."""

    worst: float  # difference of a logit
    allowed: float
    no_onnx: str | None = None  # why it cannot be exported as ONNX; empty where it can, None where that was not tried


def check_exports(
    configs: Iterable[TrialConfig], classes: int, cache: Path, keep: bool = True, with_onnx: bool = False
) -> None:
    """Refuse a study that could not ship one of its nets. What was proved is looked up in `cache` and kept there.

    A net that is no ONNX is named and not refused: only who asks for that file needs it.

    Raises:
        InputError: a net does not come back as the same function; the message names it and what differs.
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
        proof = _known(file)
        if proof is None or (with_onnx and proof.no_onnx is None):
            proof = prove(case, with_onnx)
            if keep:
                file.parent.mkdir(parents=True, exist_ok=True)
                write_json({"case": vars(case), **asdict(proof)}, file)
        if with_onnx and proof.no_onnx:
            print(
                f"{case.backbone} cannot be exported as ONNX ({proof.no_onnx}); everything else works with it.",
                file=sys.stderr,
            )


def _known(file: Path) -> Proved | None:
    """What was proved before; a damaged file proves nothing."""
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
        return Proved(float(known["worst"]), float(known["allowed"]), known["no_onnx"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def prove(case: Case, with_onnx: bool = False) -> Proved:
    """By how much the logits of the net that comes back differ from those of the net that went.

    Raises:
        InputError: by more than float32 explains, or it cannot be built, written or loaded.
    """
    folder = Path()
    try:
        with TemporaryDirectory() as temporary:
            folder = Path(temporary)
            seen = there_and_back(case, folder)
            if not seen.agrees:
                raise NotTheSame(f"its logits differ by {seen.worst:.2g}")
            no_onnx = _no_onnx(folder) if with_onnx else None
    except Exception as problem:  # timm, torch and safetensors raise a dozen kinds; each means: not this net
        kind = "" if isinstance(problem, InputError | NotTheSame) else f"{type(problem).__name__}: "
        reason = " ".join(f"{kind}{problem}".replace(str(folder), "").split())[:200].rstrip(".")
        raise InputError(
            f"Backbone {case.backbone} at {case.size} px cannot be shipped as the net that would be tested: {reason}. "
            "Take another backbone."
        ) from problem
    return Proved(seen.worst, seen.allowed, no_onnx)


def _no_onnx(folder: Path) -> str:
    """Why the model in `folder`/best is no ONNX; empty where it is."""
    from study.products.to_onnx import NotExported, export_onnx  # loads ONNX Runtime

    try:
        export_onnx(served.load_best(folder, "cpu"), folder)
    except NotExported as problem:
        return str(problem)
    return ""


def there_and_back(case: Case, folder: Path) -> Difference:
    """Write a net of random numbers to `folder`/best, load it, and compare."""
    net = Net(_body(case, folder), case.outputs)
    randomise(net)
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
        raise NotTheSame("the images do not go into it as they went into the net that trained")
    with torch.no_grad():
        return difference(torch.from_numpy(served.logits(best, x)), net(x))


def _body(case: Case, folder: Path) -> Body:
    """The backbone as a trial has it; where weights are to come, random ones come in their place."""
    if case.weights == "none":
        return build(case.backbone, None, 0, case.drop_paths)
    start = folder / "start.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_tensors(timm.create_model(case.backbone).state_dict(), start)
    return build(case.backbone, start, 0, case.drop_paths)


def randomise(net: nn.Module) -> None:
    """Move every parameter and every statistic of a norm: one at 0, such as a layer's scale, would hide what is behind.

    They stay about as large as they were, or a deep net without norms would overflow.
    """
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for each in net.parameters():
            spread = 0.5 * each[0].numel() ** -0.5 if each.ndim > 1 else 0.1
            each.add_(spread * torch.randn(each.shape, generator=random))
        for name, buffer in net.named_buffers():
            if name.endswith("running_mean"):
                buffer.add_(0.1 * torch.randn(buffer.shape, generator=random))
            elif name.endswith("running_var"):
                buffer.mul_(0.5 + torch.rand(buffer.shape, generator=random))


def _pictures(side: int) -> list[NDArray[np.uint8]]:
    """Images of noise that is coarse enough to outlive the reduction: larger and smaller than `side`, not square."""
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
