"""A trial that several processes train gives the curve that one gives, but for what adding in another order changes."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import distributed, multiprocessing

from tests.images import config
from trainables.config import TrialConfig
from trainables.errors import InputError
from trainables.learning.team import Team
from trainables.place import Place
from trainables.trial import Row, run_trial

# Batch norms that train, mixtures, masks, skipped branches, a clipped gradient, an average: each must see the whole.
TRIALS: dict[str, dict[str, Any]] = {
    "all": {"backbone": "test_efficientnet", "augmentation": "strong", "clip_norm": 0.5, "ema_decay": 0.9},
    "last stage": {"unfreeze": "last stage", "mixing": "mixup", "mixing_alpha": 0.4, "optimizer": "sgd"},
    "head": {"unfreeze": "head", "regularizer": "dropout", "dropout": 0.5, "sampling": "class_balanced"},
    "drop path": {"backbone": "test_efficientnet", "regularizer": "drop_path", "drop_path": 0.3},
    "bfloat16": {"backbone": "test_efficientnet", "precision": "bfloat16"},
    "norm_cnn": {"backbone": "norm_cnn", "label_smoothing": 0.1, "regularizer": "l2", "l2": 1e-3},
}


def chosen(name: str, workers: int) -> TrialConfig:
    return config(size=32, learning_rate=1e-2, workers=workers, **TRIALS[name])


def member(rank: int, size: int, place: Place, folder: Path) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=size)
    team = Team(rank, size)
    rows = {name: [row for row, _ in run_trial(chosen(name, size), place, team=team)] for name in TRIALS}
    (folder / f"{rank}.json").write_text(json.dumps(rows))
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def together(place: Place, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, list[Row]]]:
    """What each of two processes saw of every trial."""
    folder = tmp_path_factory.mktemp("team")
    multiprocessing.spawn(  # pyright: ignore[reportPrivateImportUsage]
        member, (2, place, folder), 2
    )
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize("name", TRIALS)
def test_two_workers_follow_the_curve_of_one(name: str, place: Place, together: list[dict[str, list[Row]]]) -> None:
    alone = [row for row, _ in run_trial(chosen(name, 1), place)]
    first, second = (rows[name] for rows in together)
    # bfloat16 rounds to 8 bits, and two workers add in another order, so a close decision may go the other way.
    rtol, exact = (0.05, []) if name == "bfloat16" else (1e-3, ["val_accuracy"])
    for column in ["train_cross_entropy", "val_cross_entropy", "learning_rate", "penalty", *exact]:
        ones, twos = ([row[column] for row in rows] for rows in (first, second))
        assert ones == twos  # all hold the same weights
        np.testing.assert_allclose(ones, [row[column] for row in alone], rtol=rtol, atol=1e-6, err_msg=column)
    assert alone[-1]["train_cross_entropy"] != alone[0]["train_cross_entropy"]


@pytest.mark.parametrize("size", [1, 2, 3])
def test_shares_are_equal_and_together_the_batch(size: int) -> None:
    shares = [Team(rank, size).share(24, 6) for rank in range(size)]
    for step in range(4):
        of_step = [share[step * 6 // size : (step + 1) * 6 // size].tolist() for share in shares]
        assert sorted(itertools.chain(*of_step)) == list(range(step * 6, step * 6 + 6))


def test_a_batch_that_cannot_be_shared_equally_is_refused() -> None:
    with pytest.raises(InputError, match=r"multiple of the 3 workers.*but got 8: change --workers-per-trial"):
        config(batch_size=8, workers=3)


def test_a_team_of_one_exchanges_nothing() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    weight.grad = torch.tensor([1.0, 2.0])
    Team().average_gradients([weight])
    assert weight.grad.tolist() == [1, 2]
    assert Team().gathered(lambda items: torch.from_numpy(items) * 2, np.arange(3)).tolist() == [0, 2, 4]
