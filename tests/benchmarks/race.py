"""The same search through this project and through its peers, one after another, on the same images and cores.

    python -m tests.benchmarks.race --data images                  # every work, every peer that is installed
    python -m tests.benchmarks.race --data images --work head-64 --peers ours,plain-ray
    CVIC_PYTHON=venv/bin/python python -m tests.benchmarks.race --data images --peers ours,cvic

Each contestant runs in processes of its own and is timed from the first of them to the end of the last; its CPU
seconds are those of all of them. Seeds renew the split, the settings and the views.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import psutil

from tests.benchmarks.contestants import CONTESTANTS, NEEDS, Contestant
from tests.benchmarks.task import Task, write_task
from trainables.data.datasets import read_manifest
from trainables.data.splits import divide

SPLIT = "70-15-15"
HEAD: dict[str, Any] = {"depths": ("head",), "views": None, "trials": 64, "epochs": 3, "asha": False}
WORKS: dict[str, dict[str, Any]] = {
    "head-64": HEAD,
    "head-32": HEAD | {"trials": 32},
    "head-64-asha": HEAD | {"asha": True},
    "last-stage-32": HEAD | {"depths": ("head", "last stage"), "trials": 32, "asha": True},
    "last-stage-32-4-views": HEAD | {"depths": ("head", "last stage"), "trials": 32, "asha": True, "views": 4},
    "mixed-32": HEAD | {"depths": ("head", "last stage", "all"), "trials": 32, "asha": True},
    "head-64-1-view": HEAD | {"views": 1},
}
_SECONDS_BETWEEN_SAMPLES = 0.1


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.race", description=__doc__)
    known = [name for name in CONTESTANTS if NEEDS.get(name, "PATH") in os.environ]
    parser.add_argument("--data", type=Path, required=True, help="images, one folder a class")
    parser.add_argument("--work", default=",".join(WORKS), help=f"of {', '.join(WORKS)}")
    parser.add_argument("--peers", default=",".join(known), help=f"of {', '.join(known)}")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--trials", type=int, help="instead of the work's own")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    parser.add_argument("--csv", type=Path, help="append the results to this file")
    chosen = parser.parse_args(arguments)
    rows = []
    for work in chosen.work.split(","):
        for seed in range(chosen.seeds):
            for peer in chosen.peers.split(","):
                with tempfile.TemporaryDirectory(prefix="race") as folder:
                    task = make_task(work, seed, chosen, Path(folder) / "out")
                    if not CONTESTANTS[peer].does(task):
                        continue
                    found = run(CONTESTANTS[peer], task, Path(folder))
                    rows.append({"work": work, "seed": seed, "peer": peer} | found)
                print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
                if chosen.csv:
                    pd.DataFrame(rows[-1:]).to_csv(chosen.csv, mode="a", index=False, header=not chosen.csv.exists())
    print(table(pd.DataFrame(rows)).to_string(index=False, float_format=lambda value: f"{value:.3g}"))


def make_task(work: str, seed: int, chosen: argparse.Namespace, out: Path) -> Task:
    manifest = read_manifest("folder", chosen.data).set_index("item")
    folds = divide(manifest.reset_index(), [SPLIT], seed)
    paths, labels = manifest["path"].astype(str).to_dict(), manifest["label"].astype(int).to_dict()
    files = {
        fold: [(str(chosen.data.resolve() / paths[i]), int(labels[i])) for i in items.tolist()]
        for fold, items in {"train": folds.train[SPLIT], "val": folds.val}.items()
    }
    task = Task(
        data=str(chosen.data.resolve()),
        **files,
        classes=int(manifest["label"].max()) + 1,
        backbone=chosen.backbone,
        size=chosen.size,
        **WORKS[work],
        reduction=3,
        batch_size=32,
        learning_rate=(3e-4, 1e-2),
        dropout=(0.1, 0.6),
        l2=(1e-6, 1e-2),
        cores=len(os.sched_getaffinity(0)),
        seed=seed,
        out=str(out),
    )
    return replace(task, trials=chosen.trials or task.trials)


def run(contestant: Contestant, task: Task, folder: Path) -> dict[str, float]:
    """Wall and CPU seconds of a contestant, and what it answered."""
    write_task(task, folder / "task.json")
    contestant.prepare(task, folder)
    command = contestant.command(task, folder)
    environment = os.environ | {"HOME": str(folder), "OMP_NUM_THREADS": "1", "RAY_AUTH_MODE": "disabled"}
    environment |= {"RAY_TMPDIR": str(folder), "RAY_AIR_NEW_OUTPUT": "0", "HF_HUB_OFFLINE": "1"}
    environment |= {"PYTHONPATH": os.getcwd(), "TQDM_DISABLE": "1"}
    began = time.perf_counter()
    with (folder / "output").open("w+") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment, cwd=folder)
        cpu = _cpu_seconds(process)
        wall = time.perf_counter() - began
        output.seek(0)
        said = output.read()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{said[-3000:]}")
    return {"wall": wall, "cpu": cpu} | contestant.read(said, folder)


def _cpu_seconds(process: subprocess.Popen) -> float:
    """User and system seconds of a process and all that descend from it, until it ends."""
    seen: dict[tuple[int, float], float] = {}
    parent = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            family = [parent, *parent.children(recursive=True)]
        except psutil.Error:
            break
        for each in family:
            try:
                times = each.cpu_times()
                seen[each.pid, each.create_time()] = times.user + times.system
            except psutil.Error:
                continue
        time.sleep(_SECONDS_BETWEEN_SAMPLES)
    process.wait()
    return sum(seen.values())


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Means over the seeds, and how many times longer than ours and shorter than plain Ray Tune each took."""
    means = rows.groupby(["work", "peer"], sort=False)[["wall", "cpu", "trial_epochs", "best"]].mean().reset_index()
    means["trial_epochs/s"] = means["trial_epochs"] / means["wall"]
    for work, each in means.groupby("work"):
        wall = each.set_index("peer")["wall"]
        plain = wall[wall.index.str.startswith("plain-ray")].min()
        peers = wall[~wall.index.str.startswith("ours")].min()
        chosen = means["work"] == work
        means.loc[chosen, "plain/it"] = plain / means.loc[chosen, "wall"]
        means.loc[chosen, "fastest peer/it"] = peers / means.loc[chosen, "wall"]
    return means


if __name__ == "__main__":
    main(sys.argv[1:])
