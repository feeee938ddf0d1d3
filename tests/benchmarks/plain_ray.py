"""The script everybody writes: Ray Tune, timm, torchvision's transforms and a DataLoader."""

import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.task import Task, answer, read_task


def main(task: Task, reuse_actors: bool) -> None:
    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler

    np.random.seed(task.seed)  # where Tune draws its settings from
    ray.init(num_cpus=task.cores, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    space = {
        "lr": tune.loguniform(*task.learning_rate),
        "regularizer": tune.choice(["none", "dropout", "l2"]),
        "dropout": tune.uniform(*task.dropout),
        "l2": tune.loguniform(*task.l2),
        "unfreeze": tune.choice(list(task.depths)),
    }
    asha = ASHAScheduler(max_t=task.epochs, grace_period=1, reduction_factor=task.reduction)
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(train, task=task), {"cpu": 1}),
        param_space=space,
        tune_config=tune.TuneConfig(
            metric="val_accuracy",
            mode="max",
            num_samples=task.trials,
            scheduler=asha if task.asha else None,
            max_concurrent_trials=task.cores,
            reuse_actors=reuse_actors,
            search_alg=None,
        ),
        run_config=tune.RunConfig(name="plain", storage_path=str(Path(task.out).resolve()), verbose=0),
    )
    results = tuner.fit()
    metrics = [result.metrics or {} for result in results]
    best = max(each.get("best", 0.0) for each in metrics)
    epochs = sum(each.get("training_iteration", 0) for each in metrics)
    ray.shutdown()
    answer(best, epochs)


def train(config: dict[str, Any], task: Task) -> None:
    from ray import tune

    best = 0.0
    for accuracy in epochs(config, task):
        best = max(best, accuracy)
        tune.report({"val_accuracy": accuracy, "best": best})


def epochs(config: dict[str, Any], task: Task, threads: int = 1) -> Iterator[float]:
    """The validation accuracy after each epoch of one trial, in plain PyTorch."""
    import torch
    from torch.nn import functional as F
    from torch.utils.data import DataLoader

    from tests.benchmarks.plain_data import evaluation_set, pretrained, training_set

    torch.set_num_threads(threads)
    body = pretrained(task)
    trains = unfrozen(body, config["unfreeze"])
    head = torch.nn.Linear(body.num_features, task.classes)
    dropout = torch.nn.Dropout(config["dropout"] if config["regularizer"] == "dropout" else 0.0)
    parameters = [*trains, *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=config["lr"])
    loader = DataLoader(training_set(task), task.batch_size, shuffle=True)
    validation = DataLoader(evaluation_set(task), 64)
    steps = task.epochs * len(loader)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / steps)))
    for _ in range(task.epochs):
        for x, y in loader:
            with torch.set_grad_enabled(bool(trains)):
                features = body(x)
            loss = F.cross_entropy(head(dropout(features)), y)
            if config["regularizer"] == "l2":
                loss = loss + config["l2"] * sum(p.square().sum() for p in parameters if p.ndim > 1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            right = sum(int((head(body(x)).argmax(1) == y).sum()) for x, y in validation)
        yield right / len(task.val)


def unfrozen(body: Any, depth: str) -> list[Any]:
    """The backbone's parameters that train; what is frozen stays in evaluation mode, its norms too."""
    body.eval().requires_grad_(False)
    modules = {"head": [], "last stage": [body.blocks[-1], body.conv_head, body.bn2], "all": [body]}[depth]
    for module in modules:
        module.train().requires_grad_(True)
    return [parameter for parameter in body.parameters() if parameter.requires_grad]


if __name__ == "__main__":
    chosen, options = read_task()
    main(chosen, reuse_actors="reuse" in options)
