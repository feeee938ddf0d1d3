"""The report's section on the metrics beside accuracy, of every confirmed setting."""

import math
from functools import partial

import numpy as np
import pandas as pd

from analysis.confirmed.outputs import VAL, Output, Outputs
from analysis.confirmed.settings import TEST, Setting, name, winner, winner_first
from analysis.layout import figures
from analysis.layout.page import Figure, Section, Table, table
from analysis.layout.text import decimals, number, percent
from analysis.statistics.calibration import (
    brier,
    calibration_error,
    equal_mass,
    equal_width,
    reliability,
    tempered,
)
from study.results import Results, metrics

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


def loss_table(results: Results, found: list[Setting], outputs: Outputs) -> pd.DataFrame:
    """One row for each confirmed setting: its cross-entropy on test and what it is made of, means over the seeds.

    The temperature of a model is fitted on its own validation and applied on test. Columns ending in `_scaled`
    are at that temperature, `overconfidence` is cross_entropy - cross_entropy_scaled. A model without an error on
    validation keeps temperature 1 (the fitted one would be 0); `unscaled` counts those. `penalty` is what the loss
    that was trained on had beside its cross-entropy, at the best epoch; it is no part of the others.
    """
    penalty = _penalties(results)
    rows = []
    for setting in winner_first(found):
        scaled = [[_scaled(outputs, trial) for trial in trials] for trials in setting.rounds]
        if all(seen is not None for models in scaled for seen, _ in models):
            each = [_row([(seen, fitted) for seen, fitted in models if seen]) for models in scaled]
            means = pd.DataFrame(each).mean().to_dict() | {"unscaled": sum(row["unscaled"] for row in each)}
            paid = penalty.reindex(setting.trials["trial"]).mean()
            rows.append({"setting": name(setting, found), "seeds": len(each), **means, "penalty": paid})
    return pd.DataFrame(rows, columns=list(_COLUMNS))


_COLUMNS = ("setting", "seeds", "accuracy", "cross_entropy", "penalty", "temperature", "unscaled")


_COLUMNS += ("cross_entropy_scaled", "overconfidence", "share_of_errors", "ece_width", "ece_width_scaled")


_COLUMNS += ("ece_mass", "ece_mass_scaled", "brier", "brier_scaled")


def _penalties(results: Results) -> pd.Series:
    at_best = results.trials[["trial", "best_epoch"]].merge(
        results.epochs, left_on=["trial", "best_epoch"], right_on=["trial", "epoch"]
    )
    return at_best.set_index("trial")["penalty"]


def _scaled(outputs: Outputs, trial: str) -> tuple[Output | None, float]:
    """A model on test and the temperature that its validation gives it; missing where it gives none."""
    seen, val = outputs.of(trial, TEST), outputs.of(trial, VAL)
    if val is None or val.right.all():
        return seen, math.nan
    return seen, metrics.fit_temperature(val.log_probabilities, val.labels)


def _row(models: list[tuple[Output, float]]) -> dict[str, float]:
    """Of one seed: its model, or those of its test folds together, each at its own temperature."""
    ts = [1.0 if math.isnan(fitted) else fitted for _, fitted in models]
    labels, right = (np.concatenate([getattr(seen, part) for seen, _ in models]) for part in ("labels", "right"))
    raw = np.concatenate([seen.log_probabilities for seen, _ in models])
    scaled = np.concatenate([tempered(seen.log_probabilities, t) for (seen, _), t in zip(models, ts, strict=True)])
    loss, at_t = metrics.log_loss(labels, raw), metrics.log_loss(labels, scaled)
    of_errors = -raw[np.arange(len(labels)), labels][~right].sum() / len(labels)
    row = {
        "accuracy": float(right.mean()),
        "cross_entropy": loss,
        "temperature": float(np.mean(ts)),
        "unscaled": float(np.mean([math.isnan(fitted) for _, fitted in models])),
        "cross_entropy_scaled": at_t,
        "overconfidence": loss - at_t,
        "share_of_errors": of_errors / loss if loss > 0 else 0.0,
    }
    for end, log_p in (("", raw), ("_scaled", scaled)):
        confidence = np.exp(log_p.max(axis=1))
        row[f"ece_width{end}"] = calibration_error(confidence, right, equal_width(confidence))
        row[f"ece_mass{end}"] = calibration_error(confidence, right, equal_mass(confidence))
        row[f"brier{end}"] = brier(labels, log_p)
    return row


def loss_section(results: Results, found: list[Setting], outputs: Outputs, overlap: str) -> Section | None:
    frame, best = loss_table(results, found, outputs), winner(found)
    if frame.empty or best is None or frame["setting"].iloc[0] != name(best, found):
        return None
    explained = (
        "Cross-entropy looks at the probability given to the right class, accuracy only at which class is likeliest: "
        "a model can be right as often and lose more, when it is surer than it should be. A temperature T, fitted on "
        "validation, takes that part away without changing one answer (Guo et al. 2017); what is left is doubt that "
        "the images themselves leave. ECE is the mean distance between confidence and share of right answers."
    )
    return Section(
        "Why the loss is as high as it is",
        [loss_sentence(frame.iloc[0], _classes(outputs, best)), *_highest(frame), explained],
        figures=[_picture(outputs, best)],
        tables=[_table(frame, overlap)],
    )


def _classes(outputs: Outputs, setting: Setting) -> int:
    seen = outputs.of(setting.trials["trial"].iloc[0], TEST)
    assert seen is not None
    return seen.log_probabilities.shape[1]


def loss_sentence(row: pd.Series, classes: int) -> str:
    """What the winner's loss is made of, in words."""
    loss = row["cross_entropy"]
    said = [
        f"The winner's cross-entropy on test is {decimals(loss)} (guessing evenly among {classes} classes: "
        f"{decimals(math.log(classes))}); the {percent(1 - row['accuracy'])} of images that it names wrongly make up "
        f"{percent(row['share_of_errors'])} of it.",
        _temperature_sentence(row),
    ]
    if row["penalty"] > 0:
        said.append(
            f"A program that shows the loss with its weight penalty, as Keras does, would show "
            f"{decimals(loss + row['penalty'])}: the penalty at the epoch kept is {decimals(row['penalty'])}, and says "
            "nothing about the images."
        )
    return " ".join(said)


def _highest(frame: pd.DataFrame) -> list[str]:
    """The same of the setting that loses most, where that is not the winner."""
    row = frame.loc[frame["cross_entropy"].idxmax()]
    if row.name == 0:
        return []
    return [
        f"Of the confirmed settings the highest cross-entropy is that of {row['setting']}: "
        f"{decimals(row['cross_entropy'])}, at {percent(row['accuracy'])} accuracy. {_temperature_sentence(row)}"
    ]


def _temperature_sentence(row: pd.Series) -> str:
    loss, over = row["cross_entropy"], row["overconfidence"]
    if row["unscaled"] == row["seeds"]:
        return "No temperature could be fitted: on validation no answer is wrong, or there is none."
    at = f"T = {row['temperature']:.2f}"
    if over <= 0:
        return f"None of it is overconfidence that validation shows: its temperature, {at}, lowers nothing on test."
    kind = "overconfidence" if row["temperature"] > 1 else "too little confidence"
    return (
        f"Of it {decimals(over)} ({percent(over / loss)}) is {kind}, which {at} takes away; "
        f"{decimals(row['cross_entropy_scaled'])} is doubt that remains."
    )


def _picture(outputs: Outputs, best: Setting) -> Figure:
    """The reliability diagram of the winner, all seeds together, as trained and at the temperature."""
    each = [_scaled(outputs, trial) for trial in best.trials["trial"]]
    right = np.concatenate([seen.right for seen, _ in each if seen])
    kept = [(seen.log_probabilities, 1.0 if math.isnan(t) else t) for seen, t in each if seen]
    before = np.concatenate([np.exp(raw.max(axis=1)) for raw, _ in kept])
    after = np.concatenate([np.exp(tempered(raw, t).max(axis=1)) for raw, t in kept])
    drawn = [reliability(one, right) for one in (before, after)]
    text = figures.svg(2.9, partial(figures.draw_reliability, raw=drawn[0], scaled=drawn[1]))
    title = "Share right by confidence (blue: as trained, orange: at temperature T)"
    alt = "The winner's share of right answers on test by confidence: " + ", ".join(
        f"{percent(row.right)} at {percent(row.confidence)}" for row in drawn[0].itertuples()
    )
    return Figure("reliability", title, alt, text)


def _table(frame: pd.DataFrame, overlap: str) -> Table:
    shown = {
        "setting": lambda row: row.setting,
        "accuracy": lambda row: percent(row.accuracy),
        "cross-entropy": lambda row: decimals(row.cross_entropy),
        "penalty": lambda row: decimals(row.penalty),
        "T": lambda row: f"{row.temperature:.2f}",
        "at T": lambda row: decimals(row.cross_entropy_scaled),
        "T takes away": lambda row: decimals(row.overconfidence),
        "ECE": lambda row: percent(row.ece_mass),
        "ECE at T": lambda row: percent(row.ece_mass_scaled),
        "Brier": lambda row: decimals(row.brier),
        "Brier at T": lambda row: decimals(row.brier_scaled),
    }
    caption = (
        "What the loss on test is made of, mean over seeds. Penalty: beside the cross-entropy, in the training loss "
        "alone. ECE: over 15 bins of equally many images; tables/loss.csv has that over bins of equal width, too."
        f"{overlap}"
    )
    return table("loss", caption, frame, shown)
