"""Export the model in best/ to ONNX. The file gets its name only after ONNX Runtime reproduces the logits."""

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

# PyTorch's exporter targets this version. Later versions need a conversion, and fewer runtimes support them.
OPSET = 18
_VIEWS = 8  # images to compare on


class NotExported(RuntimeError):
    """The net cannot be exported as ONNX, or its logits differ. The message says why."""


def export_onnx(best: Best, out: Path) -> float:
    """Write best/model.onnx and return the largest difference of a logit. The winner's net is moved to the CPU.

    Raises:
        NotExported: the export failed. There is no file, and an earlier one is removed.
    """
    file = out / BEST_FOLDER / ONNX_FILE
    file.unlink(missing_ok=True)
    part = file.with_name(f".{os.getpid()}.{ONNX_FILE}")
    try:
        _write(best, json.loads((out / BEST_FOLDER / PREPROCESSING_FILE).read_text(encoding="utf-8")), part)
        largest = _largest_difference(best, part, some_pictures(best, out))
        os.replace(part, file)
        return largest
    except NotExported:
        raise
    except Exception as problem:  # the exporter and the runtime raise dozens of types
        reason = " ".join(f"{type(problem).__name__}: {problem}".split())[:200]
        raise NotExported(reason) from problem
    finally:
        part.unlink(missing_ok=True)


def some_pictures(best: Best, out: Path) -> list[NDArray[np.uint8]]:
    """Return thumbnails of the study's test images, or noise if there are none."""
    thumbnails: list[NDArray[np.uint8]] = []
    for file in sorted((out / EXAMPLES_FOLDER).glob("*.png")):
        if len(thumbnails) < _VIEWS and not file.stem.endswith("-heat"):
            with contextlib.suppress(DecodeError, OSError):
                thumbnails.append(prepared(best, decode(file.read_bytes()).pixels))
    if thumbnails:
        return thumbnails
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (best.size, best.size, 3), dtype=np.uint8) for _ in range(_VIEWS)]


def _write(best: Best, preprocessing: dict[str, Any], file: Path) -> None:
    net = best.net.cpu()
    example = torch.zeros(2, 3, best.size, best.size)  # with a batch of 1 the exporter would fix the batch size
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


def _largest_difference(best: Best, file: Path, pictures: list[NDArray[np.uint8]]) -> float:
    """Return the largest difference of a logit, for all images in one batch and for the first image alone.

    Raises:
        NotExported: it is larger than the order of float32 sums explains.
    """
    onnxruntime.set_default_logger_severity(3)  # errors only; it warns about every device that is missing
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    inputs = views(best, pictures).cpu()
    expected = logits(best, inputs)
    outputs = [np.asarray(session.run(["logits"], {"views": batch.numpy()})[0]) for batch in (inputs, inputs[:1])]
    actual, twice = np.concatenate(outputs), np.concatenate([expected, expected[:1]])
    compared = difference(torch.from_numpy(actual), torch.from_numpy(twice))
    if not compared.agrees:
        raise NotExported(f"ONNX Runtime's logits differ by {compared.worst:.2g}")
    return compared.worst


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter, which logs every step."""
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
