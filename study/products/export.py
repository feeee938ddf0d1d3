"""best/: the confirmed winner as a model that timm loads by itself, with what one needs to use it."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from study.persistence.ledger import Record
from study.products.best import (
    TEMPERATURE_FILE,
    TRIAL_FILE,
    read_trial,
)
from study.products.local_dir import write_net, write_preprocessing
from study.products.stale import drop_stale
from study.results import BEST_FOLDER, LOGITS, cross_entropy, fit_temperature
from study.schedule.agenda import confirmed_winner
from study.schedule.course import Course, model_file, predictions_file
from study.writing import write_json, write_text
from trainables.config import from_dict
from trainables.data.greys import greys_of
from trainables.data.manifest import label_names
from trainables.learning.checkpoints import load_tensors
from trainables.nets.models import input_contract, load_trained
from trainables.place import Place
from trainables.trial import whole_net


def shipped(course: Course) -> Record | None:
    """The winner's retrained model where the study has one, else its best seed."""
    retrained = [record for record in course.of_phase("retrain") if record.status == "completed"]
    return retrained[0] if retrained else confirmed_winner(course.confirmed())


def export_best(course: Course, record: Record, place: Place, manifest: pd.DataFrame) -> None:
    """model.safetensors and config.json in timm's local-dir convention, and what one needs to use them."""
    folder, trial = course.out / BEST_FOLDER, record.planned.trial
    names = label_names(manifest)
    config = from_dict(record.config)
    net = whole_net(config, place, len(names))
    load_trained(net, load_tensors(model_file(course.out, trial)))
    net.cpu()
    write_net(net, config.backbone, names, config.size, folder)
    contract = input_contract(net.backbone)
    write_preprocessing(contract, config.size, config.stored_side, config.region, greys_of(manifest), folder)
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


def write_temperature(predictions: Path, file: Path) -> None:
    """What makes the winner's confidences fit its validation fold; none where it was not shown its folds."""
    file.unlink(missing_ok=True)
    if not predictions.exists():
        return
    seen = pd.read_parquet(predictions, columns=["fold", "label", LOGITS])
    val = seen[(seen["fold"] == "val") & seen[LOGITS].notna()]
    if val.empty:
        return
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
