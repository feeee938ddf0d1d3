"""Syne Tune with its local backend, a process for each trial, and the same plain PyTorch trial.

Runs in an environment of its own: SYNE_TUNE_PYTHON, with syne-tune, timm, torchvision and the weights' package.
"""

import json
import sys
from pathlib import Path

from tests.benchmarks.plain_ray import epochs
from tests.benchmarks.task import Task, answer, read_task

_SLEEP_SECONDS = 0.1  # between looks at its trials; five seconds by default


def main(task: Task, path: str) -> None:
    from syne_tune import StoppingCriterion, Tuner  # pyright: ignore[reportMissingImports]
    from syne_tune.backend import LocalBackend  # pyright: ignore[reportMissingImports]
    from syne_tune.config_space import choice, loguniform, uniform  # pyright: ignore[reportMissingImports]
    from syne_tune.experiments import load_experiment  # pyright: ignore[reportMissingImports]
    from syne_tune.optimizer.baselines import ASHA, RandomSearch  # pyright: ignore[reportMissingImports]

    space = {
        "task": path,
        "lr": loguniform(*task.learning_rate),
        "regularizer": choice(["none", "dropout", "l2"]),
        "dropout": uniform(*task.dropout),
        "l2": loguniform(*task.l2),
        "unfreeze": choice(list(task.depths)),
    }
    if task.asha:
        scheduler = ASHA(
            space, metric="val_accuracy", time_attr="epoch", max_t=task.epochs, do_minimize=False,
            random_seed=task.seed, reduction_factor=task.reduction,
        )  # fmt: skip
    else:
        scheduler = RandomSearch(space, metrics=["val_accuracy"], do_minimize=False, random_seed=task.seed)
    tuner = Tuner(
        trial_backend=LocalBackend(entry_point=__file__),
        scheduler=scheduler,
        stop_criterion=StoppingCriterion(max_num_trials_started=task.trials - 1),  # it stops above this
        wait_trial_completion_when_stopping=True,
        n_workers=task.cores,
        sleep_time=_SLEEP_SECONDS,
        results_update_interval=1.0,
        save_tuner=False,
    )
    tuner.run()
    found = load_experiment(tuner.name).results
    answer(float(found["val_accuracy"].max()), len(found))


def trial(config: dict) -> None:
    from syne_tune import Reporter  # pyright: ignore[reportMissingImports]

    report = Reporter()
    task = Task(**json.loads(Path(config.pop("task")).read_text()))
    for epoch, accuracy in enumerate(epochs(config, task), start=1):
        report(epoch=epoch, val_accuracy=accuracy)


if __name__ == "__main__":
    if sys.argv[1].startswith("--"):  # as the backend calls a trial
        given = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=False))
        names = ("task", "lr", "regularizer", "dropout", "l2", "unfreeze")
        words = {name: given[f"--{name}"] for name in names}
        trial({name: float(word) if name in ("lr", "dropout", "l2") else word for name, word in words.items()})
    else:
        main(read_task()[0], sys.argv[1])
