"""What the driver of a study costs as the trials grow: memory, and seconds for a result. The trials do nothing.

python -m tests.benchmarks.many_trials --trials 10000
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

_EPOCHS = 3


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


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.many_trials", description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    trials = parser.parse_args(arguments).trials
    from study.design.plan import search_plan
    from study.design.settings import Base
    from study.estimates.resources import plan_resources
    from study.execution.cluster import starting
    from study.persistence.ledger import write_plan
    from study.spec import Budget, Study
    from trainables.place import Place

    study = Study(
        dataset="folder",
        question="What does a driver cost?",
        factors={"augmentation": ["none", "light"], "optimizer": ["adamw", "sgd"]},
        nuisances={},
        fixed={"backbone": "small_cnn", "unfreeze": "all", "size": 16},
        budget=Budget(trials=trials, epochs=_EPOCHS),
    )
    base = Base("", 0, 1000, 10, 16, "cpu", 1, False, "none", {})
    resources = plan_resources(1, 0, None, 2, 0)
    process, began, ended = psutil.Process(), 0.0, 0
    print("trials  seconds a trial  driver's memory in MiB")

    def hear(event: str, _: Any) -> None:
        nonlocal began, ended
        ended += event == "end"
        began = began or time.perf_counter()
        if event == "end" and ended % (trials // 10) == 0:
            now = time.perf_counter()
            each = (now - began) / (trials // 10)
            print(f"{ended:6}  {each:15.4f}  {process.memory_info().rss / 2**20:8.0f}", flush=True)
            began = now

    with tempfile.TemporaryDirectory() as folder, starting(warm=True) as wait_for_ray:
        out = Path(folder)
        write_plan(out, search_plan(study, trials, 0))
        wait_for_ray()
        from study.execution import tuning
        from study.schedule.course import Course

        tuning.work = stub
        course = Course(out, study, base, None, hear, phases=("search", "done"))
        tuning.run_on_ray(course, Place(out, out, out), resources)


if __name__ == "__main__":
    main(sys.argv[1:])
