"""What every contestant is given, and what it answers: JSON files, so that each runs in a process of its own."""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Task:
    """One search: the same images, backbone, space, budget and cores for everybody."""

    data: str  # one folder a class
    train: list[tuple[str, int]]  # path and label
    val: list[tuple[str, int]]
    classes: int
    backbone: str
    size: int
    depths: tuple[str, ...]  # what may train: "head", "last stage", "all"
    views: int | None  # different training views per image; None: fresh ones
    trials: int
    epochs: int
    asha: bool
    reduction: int
    batch_size: int
    learning_rate: tuple[float, float]
    dropout: tuple[float, float]
    l2: tuple[float, float]
    cores: int
    seed: int
    out: str


def write_task(task: Task, path: Path) -> None:
    path.write_text(json.dumps(asdict(task)))


def read_task() -> tuple[Task, list[str]]:
    """The task named on the command line, and the contestant's own options."""
    return Task(**json.loads(Path(sys.argv[1]).read_text())), sys.argv[2:]


def answer(best: float, trial_epochs: int) -> None:
    """The last line of a contestant's output."""
    print(json.dumps({"best": best, "trial_epochs": trial_epochs}))
