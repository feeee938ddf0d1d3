"""Export the confirmed winner to best/: a model that timm loads without this project, and everything to use it."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from study.persistence.ledger import Record
from study.persistence.trial_files import model_file, predictions_file
from study.products.best import (
    LABELS_FILE,
    PREPROCESS_FILE,
    PROOF_FILE,
    TEMPERATURE_FILE,
    TRIAL_FILE,
    read_trial,
)
from study.products.local_dir import NotTheSame, write_net, write_preprocessing
from study.products.proof import Proof, prove_best
from study.products.stale import drop_stale
from study.results import BEST_FOLDER, LOGITS
from study.schedule.next_trials import retrain_trials
from study.schedule.state import StudyState
from study.writing import write_json, write_text
from trainables import metrics
from trainables.config import from_dict
from trainables.data.grayscale import gray_ranges_of
from trainables.data.manifest import label_names
from trainables.learning.checkpoints import load_tensors
from trainables.nets.divided import whole_net
from trainables.nets.models import input_contract, load_trained
from trainables.place import Place

_OF_A_STUDY = (
    "- The report of the study has the test accuracy with its interval.",
    "- Train this setting again, on other images or with other seeds: `python -m study.train OUT --data DIR`.",
)


def shipped(state: StudyState) -> Record | None:
    """Return the winner's retrained model if the study has one, else its best seed."""
    # Not those of an earlier winner.
    of_winner = {planned.trial for planned in retrain_trials(state.confirmed(), state.winner)}
    retrained = [record for record in state.of_phase("retrain") if record.status == "completed"]
    retrained = [record for record in retrained if record.planned.trial in of_winner]
    return retrained[0] if retrained else state.winner


def export_best(state: StudyState, record: Record, place: Place, manifest: pd.DataFrame) -> None:
    """Write the model in timm's local-dir format, with its preprocessing, labels, temperature and model card.

    Raises:
        NotTheSame: the exported model differs from the tested one. best/ is removed, with any earlier model.
    """
    try:
        _export(state, record, place, manifest)
    except NotTheSame:
        shutil.rmtree(state.out / BEST_FOLDER, ignore_errors=True)
        raise


def _export(state: StudyState, record: Record, place: Place, manifest: pd.DataFrame) -> None:
    out, trial = state.out, record.planned.trial
    earlier = read_trial(out) if (out / BEST_FOLDER / TRIAL_FILE).exists() else {"trial": "earlier"}
    if earlier != {"trial": trial, "config": record.config}:
        drop_stale(out, earlier["trial"], trial, searches=state.study.unseen > 0)
        (out / BEST_FOLDER / PROOF_FILE).unlink(missing_ok=True)
    # A retrained model has trained on the validation fold, so T is fitted on the winner's best seed instead.
    calibrated = state.winner if record.planned.phase == "retrain" else record
    assert calibrated is not None
    export_model(
        out,
        record,
        place,
        manifest,
        load_tensors(model_file(out, trial)),
        tested=predictions_file(out, trial),
        calibrating=predictions_file(out, calibrated.planned.trial),
        about=[f"# {trial}: the winner of a study", "", state.study.question],
        more=_OF_A_STUDY,
    )


def export_model(
    out: Path,
    record: Record,
    place: Place,
    manifest: pd.DataFrame,
    trained: dict[str, torch.Tensor],
    *,
    tested: Path,
    calibrating: Path,
    about: Sequence[str],
    more: Sequence[str],
) -> None:
    """Write a trained model and everything to use it into the folder best/ of `out`, and prove that it is the model.

    Args:
        trained: its tensors.
        tested: the file of its predictions on the test fold.
        calibrating: the file of the predictions on the validation fold to which the temperature is fitted.
        about: the first lines of the model card.
        more: more list items of the model card.

    Raises:
        NotTheSame: the exported model differs from the trained one.
    """
    folder, names, config = out / BEST_FOLDER, label_names(manifest), from_dict(record.config)
    net = whole_net(config, place, len(names))
    load_trained(net, trained)
    net.cpu()
    write_net(net, config.backbone, names, config.size, folder)
    contract = input_contract(net.backbone)
    write_preprocessing(contract, config.size, config.stored_side, config.region, gray_ranges_of(manifest), folder)
    write_json({"trial": record.planned.trial, "config": record.config}, folder / TRIAL_FILE)
    write_temperature(calibrating, folder / TEMPERATURE_FILE)
    proof = prove_best(out, config, place, net, tested, manifest)
    before = json.loads(file.read_text(encoding="utf-8")) if (file := folder / PROOF_FILE).exists() else {}
    onnx = {"onnx": before["onnx"]} if "onnx" in before else {}  # from study.export_onnx
    write_json(proof.to_dict() | onnx, file)
    write_text(model_card(record, len(names), proof, about, more), folder / "README.md")


def write_temperature(predictions: Path, file: Path) -> None:
    """Fit the temperature that calibrates the winner on its validation fold.

    No file is written if there are no validation logits.
    """
    file.unlink(missing_ok=True)
    if not predictions.exists():
        return
    rows = pd.read_parquet(predictions, columns=["fold", "label", LOGITS])
    val = rows[(rows["fold"] == "val") & rows[LOGITS].notna()]
    if val.empty:
        return
    logits, labels = np.stack(val[LOGITS].to_list()).astype(np.float64), val["label"].to_numpy(np.int64)
    temperature = metrics.fit_temperature(logits, labels)
    fitted = {
        "temperature": temperature,
        "fold": "val",
        "pictures": len(labels),
        "cross_entropy": metrics.cross_entropy(logits, labels),
        "cross_entropy_scaled": metrics.cross_entropy(logits / temperature, labels),
        "how": "confidence = softmax(logits / temperature)",
    }
    write_json(fitted, file)


def model_card(record: Record, classes: int, proof: Proof, about: Sequence[str], more: Sequence[str]) -> str:
    """Return best/README.md, see `export_model`."""
    config = {name: value for name, value in record.config.items() if value not in (None, "")}
    best = record.best
    assert best is not None  # it was confirmed
    k = record.config["neighbours"]
    neighbours = (
        [f"- The study tested {k} nearest neighbors on its features, but this model has the net's own classifier."]
        if k is not None
        else []
    )
    lines = [
        *about,
        "",
        f"- {classes} classes; validation accuracy {best['val_accuracy']:.4f} at epoch {best['epoch']}, "
        "the fold that selected it.",
        f"- Verified: loaded from these files, the model reproduces the logits of {proof.compared_with} on "
        f"{proof.images} of {proof.of} test images. The largest difference is {proof.largest_difference:.2g}; rounding "
        f"allows {proof.allowed:.2g} ({PROOF_FILE}).",
        *neighbours,
        "- Use: `python -m study.predict OUT photo.jpg`, where OUT is the folder that contains best/.",
        f"- Load: `timm.create_model('local-dir:best', pretrained=True)`. {PREPROCESS_FILE} turns a file into its "
        f"input and needs only Pillow and NumPy. {LABELS_FILE} lists the classes in the order of the logits. "
        f"{TEMPERATURE_FILE} has the temperature to divide the logits by before the softmax.",
        *more,
        "- The weights inherit the license of the pretrained backbone and of the images.",
        "",
        "```json",
        json.dumps(config, indent=1),
        "```",
        "",
    ]
    return "\n".join(lines)
