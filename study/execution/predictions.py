"""What a trained model predicts on the folds that it is tested on, one row an image."""

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from trainables.config import TrialConfig
from trainables.data.trial_data import open_trial_data
from trainables.place import Place
from trainables.trial import predict

# The logits of more classes would take gigabytes a model: the column stays empty then.
MOST_CLASSES_WITH_LOGITS = 2000
Weights = dict[str, torch.Tensor]


def predictions(config: TrialConfig, place: Place, trial: str, trained: Weights) -> pd.DataFrame:
    """Predictions on the test fold and, unless the model was trained on it, on its own common validation."""
    pictures = open_trial_data(config, place)
    folds = {"test": pictures.test, "val": pictures.val}
    if config.trains_on == "train+val":
        del folds["val"]
    parts = [_predictions(config, place, trial, trained, fold, items) for fold, items in folds.items()]
    return pd.concat(parts, ignore_index=True)


def _predictions(
    config: TrialConfig, place: Place, trial: str, trained: Weights, fold: str, items: NDArray[np.int64]
) -> pd.DataFrame:
    labels = open_trial_data(config, place).labels[items]
    logits = torch.from_numpy(predict(config, place, trained, items)).double()
    log_probabilities = logits.log_softmax(dim=1)
    confidence, predicted = log_probabilities.exp().max(dim=1)
    picked = log_probabilities.gather(1, torch.from_numpy(labels)[:, None])[:, 0]
    return pd.DataFrame(
        {
            "trial": trial,
            "item": items,
            "fold": fold,
            "label": labels,
            "predicted": predicted.numpy(),
            "confidence": confidence.numpy(),
            "cross_entropy": -picked.numpy(),
            "logits": list(logits.half().numpy()) if logits.shape[1] <= MOST_CLASSES_WITH_LOGITS else None,
        }
    )
