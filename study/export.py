"""best/: the confirmed winner as a model that timm loads by itself, with what one needs to use it."""

import json
from typing import Any

import pandas as pd

from study.course import Course, model_file
from study.ledger import Record
from study.results import write_json, write_text
from trainables.checkpoints import load_tensors, save_tensors
from trainables.config import from_dict
from trainables.manifest import label_names
from trainables.models import load_trained
from trainables.place import Place
from trainables.trial import whole_net

BEST = "best"


def confirmed_winner(course: Course) -> Record | None:
    """Of the setting with the best mean validation accuracy over its seeds, the best seed."""
    confirmed = course.confirmed()
    if not confirmed:
        return None
    by_arm: dict[str, list[Record]] = {}
    for record in confirmed:
        by_arm.setdefault(record.planned.arm, []).append(record)
    arm = max(sorted(by_arm), key=lambda name: _mean([_accuracy(record) for record in by_arm[name]]))
    return max(by_arm[arm], key=lambda record: (_accuracy(record), -record.planned.seed))


def export_best(course: Course, record: Record, place: Place, manifest: pd.DataFrame) -> None:
    """model.safetensors and config.json in timm's local-dir convention, labels, preprocessing, a model card."""
    from timm.data.config import resolve_model_data_config

    folder = course.out / BEST
    names = label_names(manifest)
    config = from_dict(record.config)
    net = whole_net(config, place, len(names))
    load_trained(net, load_tensors(model_file(course.out, record.planned.trial)))
    body, data = net.backbone, resolve_model_data_config(net.backbone)
    classifier = getattr(body, "default_cfg", {}).get("classifier", "head")
    state = body.state_dict() | {f"{classifier}.weight": net.head.weight, f"{classifier}.bias": net.head.bias}
    save_tensors(state, folder / "model.safetensors", {"format": "pt"})
    for_timm = timm_config(config.backbone, names, net.head.in_features, data, config.size, classifier)
    write_json(for_timm, folder / "config.json")
    write_json(names, folder / "labels.json")
    preprocessing = {
        "size": config.size,
        "crop_pct": data["crop_pct"],
        "interpolation": data["interpolation"],
        "mean": data["mean"],
        "std": data["std"],
        "how": "centre square of crop_pct of the shorter side, resized to size, divided by 255, normalised",
    }
    write_json(preprocessing, folder / "preprocessing.json")
    write_text(model_card(course, record, len(names)), folder / "README.md")


def timm_config(
    backbone: str, names: list[str], features: int, data: dict[str, Any], size: int, classifier: str
) -> dict[str, Any]:
    """What `timm.create_model("local-dir:best", pretrained=True)` reads."""
    return {
        "architecture": backbone.partition(".")[0],
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
    lines = [
        f"# {record.planned.trial}: the winner of a study",
        "",
        course.study.question,
        "",
        f"- {classes} classes; validation accuracy {_accuracy(record):.4f} at epoch {(record.best or {})['epoch']}, "
        "the fold it was chosen on. The report has the test accuracy with its interval.",
        "- Load: `timm.create_model('local-dir:best', pretrained=True)`; preprocessing.json says how pictures go in.",
        "- The weights inherit the licence of the pretrained backbone and of the pictures.",
        "",
        "```json",
        json.dumps(config, indent=1),
        "```",
        "",
    ]
    return "\n".join(lines)


def _accuracy(record: Record) -> float:
    return (record.best or {"val_accuracy": 0.0})["val_accuracy"]


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
