"""best/: the confirmed winner as a model that timm loads by itself, with what one needs to use it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import timm
import torch
from torch import nn

from study.persistence.ledger import Record
from study.products.best import (
    CONFIG_FILE,
    LABELS_FILE,
    MODEL_FILE,
    PREPROCESSING_FILE,
    TEMPERATURE_FILE,
    TRIAL_FILE,
    read_trial,
)
from study.products.stale import drop_stale
from study.results import BEST_FOLDER, LOGITS
from study.schedule.agenda import confirmed_winner, retrain_trials
from study.schedule.course import Course, model_file, predictions_file
from study.writing import write_json, write_text
from trainables.config import from_dict
from trainables.data.manifest import label_names
from trainables.learning.checkpoints import load_tensors, save_tensors
from trainables.learning.temperature import cross_entropy, fit_temperature
from trainables.nets.models import Net, load_trained
from trainables.nets.weights import architecture
from trainables.place import Place
from trainables.trial import whole_net


def shipped(course: Course) -> Record | None:
    """The winner's retrained model where the study has one, else its best seed."""
    now = {planned.trial for planned in retrain_trials(course.confirmed())}  # not of an earlier winner
    retrained = [record for record in course.of_phase("retrain") if record.status == "completed"]
    retrained = [record for record in retrained if record.planned.trial in now]
    return retrained[0] if retrained else confirmed_winner(course.confirmed())


def export_best(course: Course, record: Record, place: Place, manifest: pd.DataFrame) -> None:
    """model.safetensors and config.json in timm's local-dir convention, and what one needs to use them."""
    from timm.data.config import resolve_model_data_config

    folder, trial = course.out / BEST_FOLDER, record.planned.trial
    names = label_names(manifest)
    config = from_dict(record.config)
    net = whole_net(config, place, len(names))
    load_trained(net, load_tensors(model_file(course.out, trial)))
    data = resolve_model_data_config(net.backbone)
    classifier = getattr(net.backbone, "default_cfg", {}).get("classifier", "head")
    save_tensors(timm_state(net, config.backbone, len(names), classifier), folder / MODEL_FILE, {"format": "pt"})
    for_timm = timm_config(config.backbone, names, net.head.in_features, data, config.size, classifier)
    write_json(for_timm, folder / CONFIG_FILE)
    write_json(names, folder / LABELS_FILE)
    preprocessing = {
        "size": config.size,
        "stored_side": config.stored_side,
        "crop_pct": data["crop_pct"],
        "interpolation": data["interpolation"],
        "mean": data["mean"],
        "std": data["std"],
        "how": "shorter side reduced to stored_side (Lanczos) where it is longer; centre square of crop_pct of the "
        "shorter side, resized to size; divided by 255, normalised",
    }
    write_json(preprocessing, folder / PREPROCESSING_FILE)
    winner = {"trial": trial, "config": record.config}
    earlier = read_trial(course.out) if (folder / TRIAL_FILE).exists() else {"trial": "earlier"}
    if earlier != winner:
        drop_stale(course.out, earlier["trial"], trial, searches=course.study.unseen > 0)
    write_json(winner, folder / TRIAL_FILE)
    # A model that trained on the validation cannot be scaled by it: the winner's best seed is.
    seed = confirmed_winner(course.confirmed()) if record.planned.phase == "retrain" else record
    assert seed is not None
    write_temperature(predictions_file(course.out, seed.planned.trial), folder / TEMPERATURE_FILE)
    write_text(model_card(course, record, len(names)), folder / "README.md")


def timm_state(net: Net, backbone: str, classes: int, classifier: str | tuple[str, ...]) -> dict[str, torch.Tensor]:
    """The net's tensors under the names that timm's own net of this kind has.

    Where timm has several classifiers and takes their mean, each is the head.
    """
    weight, bias = as_classes(net.head)
    state = timm.create_model(architecture(backbone), num_classes=classes).state_dict() | net.backbone.state_dict()
    for name in (classifier,) if isinstance(classifier, str) else classifier:
        state |= {f"{name}.weight": weight.clone(), f"{name}.bias": bias.clone()}  # a file takes no tensor twice
    return state


def as_classes(head: nn.Linear) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight and bias with a row a class: one output z, the log odds of the second of two classes, is (0, z)."""
    if head.out_features > 1:
        return head.weight, head.bias
    return tuple(torch.cat([torch.zeros_like(each), each]) for each in (head.weight, head.bias))


def write_temperature(predictions: Path, file: Path) -> None:
    """What makes the winner's confidences fit its validation fold; none where it was not shown its folds."""
    file.unlink(missing_ok=True)
    if not predictions.exists():
        return
    seen = pd.read_parquet(predictions, columns=["fold", "label", LOGITS])
    val = seen[seen["fold"] == "val"]
    logits, labels = np.stack(val[LOGITS]).astype(np.float64), val["label"].to_numpy(np.int64)
    temperature = fit_temperature(logits, labels)
    fitted = {
        "temperature": temperature,
        "fold": "val",
        "pictures": len(labels),
        "cross_entropy": cross_entropy(logits, labels),
        "cross_entropy_scaled": cross_entropy(logits / temperature, labels),
        "how": "confidences are softmax(logits / temperature)",
    }
    write_json(fitted, file)


def timm_config(
    backbone: str,
    names: list[str],
    features: int,
    data: dict[str, Any],
    size: int,
    classifier: str | tuple[str, ...],
) -> dict[str, Any]:
    """What `timm.create_model("local-dir:best", pretrained=True)` reads."""
    return {
        "architecture": architecture(backbone),
        "num_classes": len(names),
        "num_features": features,
        "label_names": names,
        "pretrained_cfg": {
            "num_classes": len(names),
            "input_size": [3, size, size],
            "interpolation": data["interpolation"],
            "crop_pct": data["crop_pct"],
            "mean": list(data["mean"]),
            "std": list(data["std"]),
            "classifier": classifier,
        },
    }


def model_card(course: Course, record: Record, classes: int) -> str:
    config = {name: value for name, value in record.config.items() if value not in (None, "")}
    best = record.best
    assert best is not None  # it was confirmed
    lines = [
        f"# {record.planned.trial}: the winner of a study",
        "",
        course.study.question,
        "",
        f"- {classes} classes; validation accuracy {best['val_accuracy']:.4f} at epoch {best['epoch']}, "
        "the fold it was chosen on. The report has the test accuracy with its interval.",
        "- Use: `python -m study.predict OUT photo.jpg`, where OUT is the folder that best/ lies in.",
        "- Load: `timm.create_model('local-dir:best', pretrained=True)`; preprocessing.json says how pictures go in, "
        "temperature.json what to divide the logits by before the softmax.",
        "- The weights inherit the licence of the pretrained backbone and of the pictures.",
        "",
        "```json",
        json.dumps(config, indent=1),
        "```",
        "",
    ]
    return "\n".join(lines)
