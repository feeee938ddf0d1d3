"""The report's section on the metrics beside accuracy, of every confirmed setting."""

import numpy as np
import pandas as pd

from analysis.confirmed.outputs import VAL, Outputs
from analysis.confirmed.settings import TEST, Setting, name, winner_first
from analysis.layout.page import Section, table
from analysis.layout.text import decimals, number, percent
from study.results import metrics

_FOLDS = {TEST: "test", VAL: "validation"}


def metrics_table(found: list[Setting], outputs: Outputs) -> pd.DataFrame:
    """One row for each confirmed setting and fold, means over the seeds; `absent`: classes without an image there.

    Only settings all of whose seeds have logits of that fold.
    """
    rows = []
    for fold in _FOLDS:
        for setting in winner_first(found):
            seen = [outputs.together(trials, fold) for trials in setting.rounds]
            models = [one for one in seen if one is not None]
            if len(models) < len(seen):
                continue
            each = pd.DataFrame(
                [metrics.all_metrics(one.labels, one.predicted, one.log_probabilities) for one in models]
            )
            absent = np.mean([one.log_probabilities.shape[1] - len(np.unique(one.labels)) for one in models])
            about = {"setting": name(setting, found), "fold": fold, "seeds": len(models)}
            rows.append(about | each.mean().to_dict() | {"absent": absent})
    return pd.DataFrame(rows, columns=["setting", "fold", "seeds", *metrics.REPORTED, "absent"])


def metrics_section(found: list[Setting], outputs: Outputs, overlap: str) -> Section | None:
    frame = metrics_table(found, outputs)
    if frame.empty:
        return None
    shown = {
        "setting": lambda row: row.setting,
        "fold": lambda row: _FOLDS[row.fold],
        "accuracy": lambda row: percent(row.accuracy),
        "balanced accuracy": lambda row: percent(row.balanced_accuracy),
        "precision": lambda row: percent(row.macro_precision),
        "recall": lambda row: percent(row.macro_recall),
        "F1": lambda row: percent(row.macro_f1),
        "AUROC": lambda row: decimals(row.auroc),
        "log-loss": lambda row: decimals(row.log_loss),
    }
    if frame["top5"].notna().any():
        shown["top-5"] = lambda row: percent(row.top5)
    caption = f"Every confirmed setting, mean over seeds.{overlap}"
    return Section(
        "Other metrics",
        [
            "Balanced accuracy, precision, recall and F1 are means over classes, so that a rare class counts as much "
            "as a frequent one; balanced accuracy and mean recall are the same number. AUROC sets each class against "
            "the rest. Log-loss is the mean cross-entropy, in nats.",
            _absent(frame),
        ],
        tables=[table("metrics", caption, frame, shown)],
    )


def _absent(frame: pd.DataFrame) -> str:
    """Classes nobody could be right about are left out, which must be said."""
    most = frame.groupby("fold", sort=False)["absent"].max()
    said = [f"{number(round(n, 1))} on {_FOLDS[fold]}" for fold, n in most.items() if n > 0]
    if not said:
        return ""
    return f"Classes without a single image are left out of the means over classes: {', '.join(said)}."


def means_sentence(classes: pd.DataFrame) -> str:
    """The means over classes of a classification report (see `tables.classes`)."""
    there = classes[classes["support"] > 0]
    said = ", ".join(f"{one} {percent(there[one].mean())}" for one in ("precision", "recall"))
    absent = len(classes) - len(there)
    without = f"; {number(absent)} without a test image left out" if absent else ""
    return f"Mean of {number(len(there))} classes: {said}, F1 {percent(there['f1'].mean())}{without}."
