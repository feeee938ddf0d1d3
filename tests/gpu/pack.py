"""Several trials on one card: images per second of 1, 2 and 4 processes that each train a whole net."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.gpu.nets import BATCH, SMALL, WHOLE, Scale, inputs_of, photographs, rate, resident, trial
from trainables.learning.optimizers import build_optimizer
from trainables.learning.training import Training, train_epoch

_SECONDS = 5.0


def rows(scale: Scale, folder: Path) -> Iterator[dict[str, Any]]:
    for number in (1, 2, 4) if scale.device == "cuda" else (1, 2):
        command = [sys.executable, "-m", "tests.gpu.pack", scale.device]
        members = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(number)]
        rates = [float(member.communicate()[0].split()[-1]) for member in members]
        yield {
            "processes": number,
            "images/s together": round(sum(rates)),
            "each": ", ".join(f"{r:.0f}" for r in rates),
        }


def _member(scale: Scale) -> float:
    chosen, epochs = trial(scale, scale.backbones[0], "all"), count(1)
    with TemporaryDirectory() as folder:
        inputs = resident(inputs_of(chosen, photographs(scale, Path(folder))))
    training = Training(inputs, build_optimizer(chosen, inputs.net))
    return rate(lambda: train_epoch(training, next(epochs)), chosen.steps_per_epoch * BATCH, scale)


if __name__ == "__main__":
    print(_member(replace(WHOLE, seconds=_SECONDS) if sys.argv[1] == "cuda" else SMALL))
