"""A model of best/ as ONNX, compared with the original by ONNX Runtime before its file gets its name."""

import contextlib
import io
import json
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from study.products.best import ONNX_FILE, PREPROCESSING_FILE, Best, logits, prepared, views
from study.products.local_dir import difference
from study.results import BEST_FOLDER, EXAMPLES_FOLDER
from trainables.data.images import DecodeError, decode

# The version that PyTorch's translations are written in: a later one is converted to, and runs in fewer places.
OPSET = 18
_VIEWS = 8  # to compare on


class NotExported(RuntimeError):
    """The net cannot be written as ONNX, or not with the same logits; the text says why."""


def export_onnx(best: Best, out: Path) -> float:
    """Write best/model.onnx; gives by how much its logits differ from the winner's, whose net goes to the CPU.

    Raises:
        NotExported: no file is written, and an earlier one is gone.
    """
    file = out / BEST_FOLDER / ONNX_FILE
    file.unlink(missing_ok=True)
    part = file.with_name(f".{os.getpid()}.{ONNX_FILE}")
    try:
        _write(best, json.loads((out / BEST_FOLDER / PREPROCESSING_FILE).read_text(encoding="utf-8")), part)
        difference = _difference(best, part, some_pictures(best, out))
        os.replace(part, file)
        return difference
    except NotExported:
        raise
    except Exception as problem:  # the exporter and the runtime raise dozens of kinds; each means: not this net
        reason = " ".join(f"{type(problem).__name__}: {problem}".split())[:200]
        raise NotExported(reason) from problem
    finally:
        part.unlink(missing_ok=True)


def some_pictures(best: Best, out: Path) -> list[NDArray[np.uint8]]:
    """Thumbnails of the study's own test images; noise where it left none."""
    found: list[NDArray[np.uint8]] = []
    for file in sorted((out / EXAMPLES_FOLDER).glob("*.png")):
        if len(found) < _VIEWS and not file.stem.endswith("-heat"):
            with contextlib.suppress(DecodeError, OSError):
                found.append(prepared(best, decode(file.read_bytes()).pixels))
    if found:
        return found
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (best.size, best.size, 3), dtype=np.uint8) for _ in range(_VIEWS)]


def _write(best: Best, preprocessing: dict[str, Any], file: Path) -> None:
    net = best.net.cpu()
    example = torch.zeros(2, 3, best.size, best.size)  # a batch of one would be taken for a constant
    with _quiet():
        program = torch.onnx.export(
            net,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["views"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("n")},),
            verbose=False,
        )
        assert program is not None
        about = {"labels": best.names, "preprocessing": preprocessing, "temperature": best.temperature}
        program.model.metadata_props.update({name: json.dumps(value) for name, value in about.items()})
        program.save(file, external_data=False)


def _difference(best: Best, file: Path, pictures: list[NDArray[np.uint8]]) -> float:
    """The largest difference of a logit, all images at once and the first alone.

    Raises:
        NotExported: it is more than the order of float32 sums explains.
    """
    onnxruntime.set_default_logger_severity(3)  # errors: it warns of every device that it does not find
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    inputs = views(best, pictures).cpu()
    expected = logits(best, inputs)
    together, alone = (np.asarray(session.run(["logits"], {"views": some.numpy()})[0]) for some in (inputs, inputs[:1]))
    found, twice = np.concatenate([together, alone]), np.concatenate([expected, expected[:1]])
    seen = difference(torch.from_numpy(found), torch.from_numpy(twice))
    if not seen.agrees:
        raise NotExported(f"ONNX Runtime's logits differ by {seen.worst:.2g}")
    return seen.worst


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter tells of every step and of what it leaves for later."""
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
