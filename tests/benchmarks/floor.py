"""The least arithmetic and data that a search needs, at this machine's rates, beside what it took.

    python -m tests.benchmarks.floor --data images --work head-64

Every view is cut once, every view passes through what is frozen once, every step of what trains is taken; nothing
starts, waits or is written. The rates are measured before the search, on one core with nothing beside it.
"""

import argparse
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from study.persistence import ledger
from study.persistence.ledger import Record
from tests.benchmarks.contestants import CONTESTANTS
from tests.benchmarks.race import WORKS, make_task, run
from tests.benchmarks.task import Task
from trainables import rates
from trainables.config import from_dict
from trainables.nets.work import work_of
from trainables.rates import Rates

_STEP = 3.0  # a step forward and back, in forward passes
_BYTES_PER_VALUE = 2  # of a stored activation, in bfloat16


@dataclass(frozen=True)
class Least:
    """Of one search: 1e9 multiply-adds forward, views, and 1e9 bytes of activations written once and read again."""

    frozen: float
    trained: float
    views: int
    gigabytes: float

    def seconds(self, of: Rates, cores: int) -> float:
        return (self.frozen / of.frozen + self.trained / of.trained + self.views * of.view) / cores


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.floor", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="images, one folder a class")
    parser.add_argument("--work", default="head-64", help=f"of {', '.join(WORKS)}")
    parser.add_argument("--trials", type=int, help="instead of the work's own")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    chosen = parser.parse_args(arguments)
    rows = []
    for work in chosen.work.split(","):
        with tempfile.TemporaryDirectory(prefix="floor") as folder:
            task = make_task(work, 0, chosen, Path(folder) / "out")
            wall = run(CONTESTANTS["ours"], task, Path(folder))["wall"]
            records = list(ledger.read_records(Path(task.out)).values())
        least = least_of(records, task)
        measured = rates.measure(from_dict(records[0].config))
        floor = least.seconds(measured, task.cores)
        rows.append({"work": work} | vars(least) | vars(measured) | {"floor s": floor, "wall s": wall})
        rows[-1] |= {"floor / wall": floor / wall}
    print(pd.DataFrame(rows).drop(columns="measured").to_string(index=False, float_format="%.3g"))


def least_of(records: list[Record], task: Task) -> Least:
    """Of the epochs that were run. What is frozen at several depths is counted once, at the deepest."""
    train, val = len(task.train), len(task.val)
    trained, read = 0.0, 0.0
    deepest: dict[int, float] = defaultdict(float)  # by epoch: the most frozen work of a trial that came there
    stored: dict[tuple[int, str], int] = {}
    for record in records:
        depth = record.config["unfreeze"]
        work = work_of(task.backbone, depth, task.size)
        for epoch in record.rows:
            trained += work.trained * (train + 2 * val / _STEP)
            deepest[epoch] = max(deepest[epoch], work.frozen)
            if work.frozen:
                read += train * work.values
                stored[epoch, depth] = train * work.values
    frozen = train * sum(deepest.values()) + 2 * val * max(deepest.values())
    values = sum(stored.values()) + read
    return Least(frozen, trained, train * len(deepest) + 2 * val, values * _BYTES_PER_VALUE / 1e9)


if __name__ == "__main__":
    main(sys.argv[1:])
