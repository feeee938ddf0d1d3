"""What a study costs its driver as the trials grow: memory, seconds a trial, disk, and a report made meanwhile.

    python -m tests.benchmarks.many_trials --trials 10000

All is real, from the display to the tables and TensorBoard, but the training: the trials only say rows.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from study.persistence.ledger import Record

_EPOCHS = 3
_TENTHS = 10


def stub(config: dict[str, Any]) -> None:
    """A trial's reports without the trial: each accuracy is a function of its name and epoch."""
    from ray import tune

    from study.persistence import ledger
    from trainables.keyed import key, uniform

    out, trial = Path(config["out"]), config["trial"]
    for epoch in range(1, _EPOCHS + 1):
        accuracy = float(uniform(key("stub", trial), [epoch])[0])
        row = dict.fromkeys(("train_accuracy", "val_accuracy", "val_metric"), accuracy) | {"epoch": epoch}
        row |= dict.fromkeys(("train_cross_entropy", "val_cross_entropy"), 1.0) | {"penalty": 0.0}
        row |= {"learning_rate": 0.1, "seconds": 0.01, "images_per_second": 1.0}
        ledger.write_report(out, trial, 1, row)
        tune.report(row)
    ledger.write_end(out, trial, "completed")


class Watch:
    """Hears what the display hears, and says at every tenth of the trials what they cost."""

    def __init__(self, out: Path, trials: int) -> None:
        self.out, self.step, self.ended = out, trials // _TENTHS, 0
        self.process, self.began = psutil.Process(), time.perf_counter()
        self.report: subprocess.Popen[str] | None = None

    def hear(self, event: str, record: Record) -> None:
        self.ended += event == "end"
        if event != "end" or self.ended % self.step:
            return
        now = time.perf_counter()
        driver, disk = self.process.memory_info().rss / 2**20, _kib(self.out) / self.ended
        print(f"{self.ended:6}  {(now - self.began) / self.step:15.4f}  {driver:8.0f}  {disk:14.1f}", flush=True)
        if self.ended == self.step * (_TENTHS // 2):
            self.report = _report(self.out)
        self.began = now

    def close(self) -> None:
        pass


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.many_trials", description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    trials = parser.parse_args(arguments).trials
    from study import driver
    from study.arguments import parse
    from study.design.load import load
    from study.estimates.resources import plan_resources
    from study.execution.cluster import starting
    from study.execution.machines import Machines
    from study.schedule import state
    from study.setup.prepare import prepare_study
    from study.setup.study_json import begin_study
    from tests.tiny import make_pictures, write_study
    from trainables.nets.arithmetic import computes_bfloat16

    with tempfile.TemporaryDirectory() as name, starting(warm=True) as wait_for_ray:
        folder, out = Path(name), Path(name, "out")
        pictures = make_pictures(folder / "pictures", 10)
        flags = ["--data", pictures, "--cache", folder / "cache", "--trials", trials, "--epochs", _EPOCHS]
        chosen = parse([str(write_study(folder)), *map(str, flags)])
        resources = plan_resources(1, 0, None, 2, 0)
        prepared = prepare_study(load(chosen.study), chosen, resources, out)
        identity = begin_study(prepared, resources, "many_trials", None)
        wait_for_ray()
        from study.execution import tuning

        # Nothing to confirm or to show the test fold: a stub leaves no model.
        tuning.work, state.STEPS = stub, ("search", "done")
        print("trials  seconds a trial  driver's memory in MiB  KiB a trial in the study's folder")
        watch = Watch(out, trials)
        driver.drive(prepared, identity, Machines(resources, wait_for_ray, computes_bfloat16), [watch])
        assert watch.report is not None
        said, _ = watch.report.communicate()
        print(f"a report while it ran: status {watch.report.returncode}, {said.strip()}")
        began = time.perf_counter()
        last = _report(out)
        said, _ = last.communicate()
        print(f"a report at the end: status {last.returncode}, {time.perf_counter() - began:.1f} s")
    return watch.report.returncode or last.returncode


def _report(out: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "analysis.report", str(out)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _kib(folder: Path) -> int:
    return int(subprocess.run(["du", "-sk", folder], capture_output=True, text=True, check=False).stdout.split()[0])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
