"""A study small enough to run for real in seconds, on images made here."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from study.estimates.resources import Resources
from study.setup.prepare import Prepared

# Makes the tiny study ready as flags want it, on a machine like this.
Prepare = Callable[..., tuple[Prepared, Resources]]
Fails = Callable[..., None]
PATIENCE = 900  # seconds for one command: it ends a hang, and not a slow machine
MACHINE = 8.0, 0.0  # CPUs and GPUs
COLOURS = {"blue": (90, 100, 150), "green": (90, 140, 100), "red": (150, 100, 90)}
STUDY_FILE = '''"""A tiny study.

    python -m study.run tiny.py --data DIR
"""

from search_spaces import optimizers, regularizers
from study.spec import Budget, Study

STUDY = Study(
    dataset="folder",
    question="Does a tiny study run?",
    factors={"regularizer": ["none", "dropout"], "augmentation": ["none", "light"]},
    nuisances=optimizers.adaptive(1e-3, 1e-1) | regularizers.strength_of("dropout"),
    fixed={"backbone": "small_cnn", "unfreeze": "all", "size": 16, "batch_size": 8, "split": "60-20-20"},
    budget=Budget(trials=16, epochs=4, refine=2, seeds=3),
    control=False,
)
'''


def make_pictures(folder: Path, each: int = 15, colours: dict[str, tuple[int, int, int]] = COLOURS) -> Path:
    """Class folders of noisy colors, different enough not to be duplicates."""
    random = np.random.default_rng(7)
    for name, colour in colours.items():
        (folder / name).mkdir(parents=True)
        for i in range(each):
            light = random.normal(0, 35, 3)  # so that some images look like another class
            picture = np.clip(np.array(colour) + light + random.normal(0, 60, (20, 24, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(picture).save(folder / name / f"{i:02d}.png")
    return folder


def write_study(folder: Path, text: str = STUDY_FILE) -> Path:
    file = folder / "tiny.py"
    file.write_text(text)
    return file


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "study.run", *map(str, arguments)]


def run(*arguments: object, expect: int = 0) -> subprocess.CompletedProcess[str]:
    """The real command line in a process of its own."""
    done = subprocess.run(command(*arguments), capture_output=True, text=True, env=os.environ.copy(), timeout=PATIENCE)
    assert done.returncode == expect, done.stdout + done.stderr
    return done
