"""The predictions of a trained model on its test and validation folds, one row per image."""

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from trainables.config import TrialConfig
from trainables.data.folds import Fold
from trainables.data.trial_data import open_trial_data
from trainables.place import Place
from trainables.trial import predict

# With more classes, logits would take gigabytes per model, so their column stays empty.
MOST_CLASSES_WITH_LOGITS = 2000
Weights = dict[str, torch.Tensor]


def predictions(config: TrialConfig, place: Place, trial: str, trained: Weights) -> pd.DataFrame:
    """Return the predictions on the test fold and, unless the model was trained on it, on the validation fold.

    Returns:
        One row per image and fold, with the columns of results.PREDICTIONS_COLUMNS.
    """
    pictures = open_trial_data(config, place)
    folds: dict[Fold, NDArray[np.int64]] = {"test": pictures.test, "val": pictures.val}
    if config.trains_on == "train+val":
        del folds["val"]
    parts = [_predictions(config, place, trial, trained, fold, items) for fold, items in folds.items()]
    return pd.concat(parts, ignore_index=True)


def _predictions(
    config: TrialConfig, place: Place, trial: str, trained: Weights, fold: Fold, items: NDArray[np.int64]
) -> pd.DataFrame:
    labels = open_trial_data(config, place).labels[items]
    logits = torch.from_numpy(predict(config, place, trained, items)).double()
    log_probabilities = logits.log_softmax(dim=1)
    confidence, predicted = log_probabilities.exp().max(dim=1)
    of_label = log_probabilities.gather(1, torch.from_numpy(labels)[:, None])[:, 0]
    return pd.DataFrame(
        {
            "trial": trial,
            "item": items,
            "fold": fold,
            "label": labels,
            "predicted": predicted.numpy(),
            "confidence": confidence.numpy(),
            "cross_entropy": -of_label.numpy(),
            "logits": list(logits.half().numpy()) if logits.shape[1] <= MOST_CLASSES_WITH_LOGITS else None,
        }
    )
