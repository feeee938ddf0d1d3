"""A small study by the command line, the same without sharing, and one whose trials do not fit onto their part."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from study.results import EPOCHS_FILE
from tests.gpu.nets import Scale, photographs

STUDY_FILE = """
from search_spaces import optimizers
from study.spec import Budget, Study

STUDY = Study(
    dataset="folder",
    question="Does a study run on a GPU?",
    factors={{"unfreeze": ["head", "last stage", "all"]}},
    nuisances=optimizers.adaptive(1e-4, 1e-2),
    fixed={{"backbone": "{backbone}", "weights": "none", "size": {size}, "batch_size": {batch}, "augmentation": "light",
           "split": "60-20-20"}},
    budget=Budget(trials=3, epochs=2, refine=1, seeds=1),
    control=False,
)
"""
_TIMES = ["seconds", "images_per_second"]  # the only columns that two runs need not agree on


def rows(scale: Scale, folder: Path) -> Iterator[dict[str, Any]]:
    data = photographs(scale, folder).data
    on_gpu = scale.device == "cuda"
    part = ["--gpus-per-trial", "0.25"] if on_gpu else []
    first = _study(scale, folder, 32 if on_gpu else 8)
    shared, said = _run(first, data, folder / "shared", *part)
    yield {"study": "with sharing"} | said
    alone, said = _run(first, data, folder / "alone", "--no-sharing", *part)
    yield {"study": "without sharing"} | said | {"the same rows": _equal(shared, alone)}
    if on_gpu:
        _, said = _run(_study(scale, folder, 512), data, folder / "large", "--gpus-per-trial", "0.01")
        yield {"study": "a hundredth of a GPU for each trial"} | said


def _equal(one: pd.DataFrame | None, other: pd.DataFrame | None) -> bool:
    return one is not None and other is not None and one.equals(other)


def _study(scale: Scale, folder: Path, batch: int) -> Path:
    file = folder / f"batch_{batch}.py"
    file.write_text(STUDY_FILE.format(backbone=scale.backbones[0], size=scale.size, batch=batch))
    return file


def _run(study: Path, data: Path, out: Path, *flags: str) -> tuple[pd.DataFrame | None, dict[str, Any]]:
    command = [sys.executable, "-m", "study.run", str(study), "--data", str(data), "--out", str(out)]
    began = time.monotonic()
    environment = os.environ | {"RAY_AUTH_MODE": "disabled"}
    done = subprocess.run(
        [*command, "--cache", str(out) + ".cache", *flags], capture_output=True, text=True, env=environment, check=False
    )
    said = {"status": done.returncode, "seconds": round(time.monotonic() - began)}
    if done.returncode:
        return None, said | {"said": done.stderr.strip().rpartition("\n")[2][:300]}
    epochs = pd.read_parquet(out / EPOCHS_FILE).drop(columns=_TIMES)
    return epochs.sort_values(["trial", "epoch"], ignore_index=True), said
