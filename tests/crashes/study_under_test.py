"""The study that the matrix disturbs: one trial after another, so that survivors are equal, too."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.tiny import command, make_pictures, write_study

PATIENCE = 400  # seconds for any run; the lost head of a cluster takes a minute to be missed
STUDY = '''"""Small, and with every phase."""

from search_spaces import optimizers, regularizers
from study.spec import Budget, Study

STUDY = Study(
    dataset="folder",
    question="What does a crash cost?",
    factors={"regularizer": ["none", "dropout"]},
    nuisances=optimizers.adaptive(1e-5, 1e-4) | regularizers.strength_of("dropout"),  # too low, so that it widens
    fixed={"backbone": "small_cnn", "unfreeze": "all", "size": 16, "batch_size": 8, "split": "60-20-20"},
    budget=Budget(trials=8, epochs=3, refine=2, seeds=3, most_seeds=5),
)
'''


@dataclass(frozen=True)
class Tried:
    """One --out of the study, in a home of its own."""

    folder: Path  # what all runs share: the study's file, its images, their cache
    out: Path
    home: Path

    def start(self, *more: object) -> subprocess.Popen[str]:
        """Going on where there is something to go on with, as a supervisor starts it."""
        self.home.mkdir(parents=True, exist_ok=True)
        own = {"HOME": str(self.home), "RAY_TMPDIR": str(self.home), "XDG_CACHE_HOME": str(self.home / "cache")}
        line = command(
            self.folder / "tiny.py",
            *("--data", self.folder / "pictures", "--cache", self.folder / "cache", "--out", self.out),
            *("--concurrent", 1, "--skip-preflight", "--resume"),
            *more,
        )
        return subprocess.Popen(
            line,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | own,
            start_new_session=True,
        )


def prepare(folder: Path) -> Path:
    make_pictures(folder / "pictures")
    write_study(folder, STUDY)
    return folder


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Its exit status and what it said on standard error."""
    said = process.communicate(timeout=PATIENCE)[1]
    return process.returncode, said
