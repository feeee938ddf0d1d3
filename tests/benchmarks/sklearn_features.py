"""The shortcut for heads: timm's features once, then scikit-learn's logistic regression for every setting.

Given the same views as the others: each fit sees as many augmented copies of the training fold as there are epochs
(or views, where their number is fixed). Its regularization strength is what a head's learning rate and penalty are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from tests.benchmarks.task import Task, answer, read_task

if TYPE_CHECKING:
    from torch.utils.data import Dataset

    from tests.benchmarks.plain_data import Item


def main(task: Task) -> None:
    import torch
    from joblib import Parallel, delayed
    from torch.utils.data import DataLoader

    from tests.benchmarks.plain_data import evaluation_set, pretrained, training_set

    torch.set_num_threads(task.cores)
    torch.manual_seed(task.seed)
    body = pretrained(task).eval()

    def features(dataset: Dataset[Item]) -> tuple[np.ndarray, np.ndarray]:
        with torch.no_grad():
            parts = [(body(x).numpy(), y.numpy()) for x, y in DataLoader(dataset, 64)]
        return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])

    views = min(task.views or task.epochs, task.epochs)
    seen = [features(training_set(task)) for _ in range(views)]
    x, y = np.concatenate([x for x, _ in seen]), np.concatenate([y for _, y in seen])
    x_val, y_val = features(evaluation_set(task))
    strengths = np.exp(np.random.default_rng(task.seed).uniform(np.log(1e-4), np.log(1e1), task.trials))
    scores = Parallel(n_jobs=task.cores)(delayed(fit)(c, x, y, x_val, y_val) for c in strengths)
    answer(max(cast(list[float], scores)), task.trials * task.epochs)


def fit(strength: float, x: np.ndarray, y: np.ndarray, x_val: np.ndarray, y_val: np.ndarray) -> float:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=strength, max_iter=100).fit(x, y).score(x_val, y_val)


if __name__ == "__main__":
    main(read_task()[0])
