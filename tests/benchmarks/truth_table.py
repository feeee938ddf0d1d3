"""A table of real trainings: every setting of a small space, on a fine grid of its nuisances, with many seeds.

    python -m tests.benchmarks.truth_table digits.parquet                   # handwritten digits, 40 min on two cores
    python -m tests.benchmarks.truth_table pets.parquet --data data/pets --size 96   # any folder of images

tests/benchmarks/truth.py replays whole studies on it. A row is one training without any stopping: what validation saw
after each epoch, and which test images the model of the best epoch classifies correctly. All trainings are heads on
stored activations, because a table needs thousands of them.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from rich.progress import track

from search_spaces import optimizers, regularizers
from search_spaces.distributions import combinations, holds
from study.arguments import parse
from study.design.load import load
from study.design.plan import Planned
from study.design.settings import resolve
from study.estimates.resources import plan_resources
from study.setup.prepare import Prepared, prepare_study
from study.spec import Budget, Study
from study.writing import write_table
from trainables.data.trial_data import open_trial_data
from trainables.learning.checkpoints import NOTHING_TRAINED
from trainables.trial import Diverged, predict, run_trial

SEEDS = 30
# The grid reaches past the ranges that studies declare, so that a replayed study can widen its own.
GRID: Mapping[str, tuple[float, ...]] = {
    "learning_rate": (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0),
    "dropout": (0.1, 0.3, 0.5, 0.7, 0.9),
    "l2": (1e-6, 1e-4, 1e-3, 1e-2, 1e-1, 1.0),
}
STUDY = Study(
    dataset="digits",
    question="Which backbone, regularizer and augmentation?",
    factors={
        "backbone": ["tf_efficientnet_lite0", "tf_efficientnet_lite1", "tf_efficientnet_lite2"],
        "regularizer": ["none", "dropout", "l2"],
        "augmentation": ["none", "crop"],
    },
    nuisances=optimizers.adaptive(3e-4, 1.0) | regularizers.strength_of("dropout", "l2"),
    fixed={"unfreeze": "head", "size": 32, "batch_size": 64, "split": "60-20-20"},
    budget=Budget(trials=8, epochs=4, refine=4, seeds=5),
)


@dataclass(frozen=True)
class Cell:
    """A setting at one point of its grid."""

    factors: Mapping[str, Any]
    nuisances: Mapping[str, float]


def cells(study: Study) -> Iterator[Cell]:
    for factors in combinations(study.factors):
        names = [name for name, nuisance in study.nuisances.items() if holds(nuisance.when, factors)]
        for values in product(*(GRID[name] for name in names)):
            yield Cell(factors, dict(zip(names, values, strict=True)))


def prepare(data: Path | None, size: int, folder: Path) -> Prepared:
    """Prepare the study of handwritten digits, or of the images in `data`; cache and manifest are put in `folder`."""
    study = replace(STUDY, dataset="digits" if data is None else "folder", fixed=dict(STUDY.fixed) | {"size": size})
    flags = parse(["digits", "--cache", str(folder / "cache"), *([] if data is None else ["--data", str(data)])])
    loaded = replace(load("digits"), study=study)
    prepared = prepare_study(loaded, flags, plan_resources(1, None, None, 1, 0), folder)
    write_table(prepared.manifest, prepared.place.manifest)
    # The study itself may be too small for stored activations to pay; the table has thousands of trainings.
    stored = frozenset((backbone, "head") for backbone in study.levels("backbone"))
    return replace(prepared, place=replace(prepared.place, stored=stored))


def train(prepared: Prepared, cell: Cell, seed: int) -> dict[str, Any]:
    planned = Planned("table", "confirm", dict(cell.factors), dict(cell.nuisances), seed=seed)
    config = resolve(prepared.study, planned, prepared.base)
    validation, best, right = list[float](), NOTHING_TRAINED.best, np.empty(0, dtype=bool)
    try:
        for row, state in run_trial(config, prepared.place):
            validation.append(row["val_metric"])
            best = state.best
        data = open_trial_data(config, prepared.place)
        right = predict(config, prepared.place, best, data.test).argmax(axis=1) == data.labels[data.test]
    except Diverged:
        pass
    return {
        "factors": json.dumps(cell.factors),
        "nuisances": json.dumps(cell.nuisances),
        "seed": seed,
        "validation": validation,
        "right": np.packbits(right).tobytes(),
        "images": len(right),  # 0: diverged
    }


def train_all(jobs: list[tuple[Prepared, Cell, int]]) -> list[dict[str, Any]]:
    """Train on every core, one thread each."""
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as processes:
        rows = processes.map(train, *zip(*jobs, strict=True), chunksize=SEEDS)
        return list(track(rows, "training", total=len(jobs)))


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.truth_table", description=__doc__)
    parser.add_argument("out", type=Path, metavar="FILE.parquet")
    parser.add_argument("--data", type=Path, metavar="DIR")
    parser.add_argument("--size", type=int, default=STUDY.fixed["size"], metavar="PIXELS")
    parser.add_argument("--seeds", type=int, default=SEEDS, metavar="N")
    flags = parser.parse_args(arguments)
    with TemporaryDirectory() as folder:
        prepared = prepare(flags.data, flags.size, Path(folder))
        jobs = product([prepared], cells(prepared.study), range(1, flags.seeds + 1))
        rows = train_all(list(jobs))
    write_table(pd.DataFrame(rows), flags.out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
