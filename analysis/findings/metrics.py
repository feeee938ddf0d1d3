"""Metrics and calibration of every confirmed setting, and an explanation of a high loss.

Temperature scaling follows Guo et al. (On Calibration of Modern Neural Networks, ICML 2017): a model's temperature
is fitted on its own validation images and applied on test.
"""

import math
from functools import partial

import numpy as np
import pandas as pd

from analysis.confirmed.outputs import VAL, Output, Outputs
from analysis.confirmed.settings import TEST, Setting, name, winner, winner_first
from analysis.layout import figures
from analysis.layout.page import Cell, Figure, Section, table
from analysis.layout.text import decimals, number, percent
from analysis.statistics.calibration import brier, calibration_error, equal_mass, reliability, tempered
from study.results import Results, metrics

_FOLDS = {TEST: "test", VAL: "validation"}
_CALIBRATION = ("brier", "ece", "temperature", "log_loss_scaled", "ece_scaled")


def metrics_table(confirmed: list[Setting], outputs: Outputs) -> pd.DataFrame:
    """Return the metrics of each confirmed setting and fold, means over the seeds.

    `absent`: classes without an image in the fold. `ece` (over 15 bins of equally many images), `brier` and, at the
    temperature of each model, `log_loss_scaled` and `ece_scaled` exist only on test. A setting has no row for a fold if
    any of its seeds lacks logits.
    """
    rows = []
    for fold in _FOLDS:
        for setting in winner_first(confirmed):
            pooled = [outputs.together(trials, fold) for trials in setting.rounds]
            models = [output for output in pooled if output is not None]
            if len(models) < len(pooled):
                continue
            scores = pd.DataFrame(
                [metrics.all_metrics(model.labels, model.predicted, model.log_probabilities) for model in models]
            )
            absent = np.mean([model.log_probabilities.shape[1] - len(np.unique(model.labels)) for model in models])
            row = {"setting": name(setting, confirmed), "fold": fold, "seeds": len(models)} | scores.mean().to_dict()
            if fold == TEST:
                row |= pd.DataFrame([_calibration(outputs, trials) for trials in setting.rounds]).mean().to_dict()
            rows.append(row | {"absent": absent})
    return pd.DataFrame(rows, columns=["setting", "fold", "seeds", *metrics.REPORTED, *_CALIBRATION, "absent"])


def _scaled(outputs: Outputs, trial: str) -> tuple[Output, float]:
    """Return a model's test output and its temperature: 1 without validation outputs or without errors among them."""
    test, val = outputs.of(trial, TEST), outputs.of(trial, VAL)
    assert test is not None
    if val is None or val.right.all():
        return test, 1.0
    return test, metrics.fit_temperature(val.log_probabilities, val.labels)


def _calibration(outputs: Outputs, trials: list[str]) -> dict[str, float]:
    """Return the calibration of one seed; models of several test folds are pooled, each at its own temperature."""
    models = [_scaled(outputs, trial) for trial in trials]
    labels = np.concatenate([test.labels for test, _ in models])
    right = np.concatenate([test.right for test, _ in models])
    raw = np.concatenate([test.log_probabilities for test, _ in models])
    scaled = np.concatenate([tempered(test.log_probabilities, t) for test, t in models])
    ece, ece_scaled = (
        calibration_error(confidence, right, equal_mass(confidence))
        for confidence in (np.exp(raw.max(axis=1)), np.exp(scaled.max(axis=1)))
    )
    return {
        "brier": brier(labels, raw),
        "ece": ece,
        "temperature": float(np.mean([t for _, t in models])),
        "log_loss_scaled": metrics.log_loss(labels, scaled),
        "ece_scaled": ece_scaled,
    }


def metrics_section(results: Results, confirmed: list[Setting], outputs: Outputs, overlap: str) -> Section | None:
    frame, best = metrics_table(confirmed, outputs), winner(confirmed)
    if frame.empty or best is None:
        return None
    shown: dict[str, Cell] = {
        "setting": "setting",
        "fold": lambda row: _FOLDS[row.fold],
        "accuracy": "accuracy",
        "balanced accuracy": "balanced_accuracy",
        "precision": "macro_precision",
        "F1": "macro_f1",
        "AUROC": "auroc",
        "log-loss": "log_loss",
    }
    if frame["top5"].notna().any():
        shown["top-5"] = "top5"
    if frame["ece"].notna().any():
        shown |= {"ECE": "ece", "T": "temperature", "log-loss at T": "log_loss_scaled", "ECE at T": "ece_scaled"}
    explained = (
        "Balanced accuracy (which equals macro recall), precision and F1 are macro averages: every class counts "
        "equally. AUROC is one-vs-rest. Log-loss is the mean cross-entropy in nats. ECE is the expected calibration "
        "error over 15 bins of equally many images. T is the temperature that best calibrates a model on its "
        "validation images; dividing the logits by it changes no prediction."
    )
    most_absent = frame.groupby("fold", sort=False)["absent"].max()
    absent = ", ".join(f"{number(round(n, 1))} on {_FOLDS[str(fold)]}" for fold, n in most_absent.items() if n > 0)
    left_out = f"Classes without images are left out of the macro averages: {absent}." if absent else ""
    first = frame.iloc[0]
    tested = first["fold"] == TEST and first["setting"] == name(best, confirmed)
    sentences = [loss_sentence(results, first, best, outputs)] if tested else []
    return Section(
        "Metrics and calibration",
        [*sentences, explained, left_out],
        figures=[_reliability(outputs, best)] if tested else [],
        tables=[table("metrics", f"Metrics of every confirmed setting, mean over seeds.{overlap}", frame, shown)],
    )


def loss_sentence(results: Results, row: pd.Series, best: Setting, outputs: Outputs) -> str:
    """Return the parts of the winner's loss: overconfidence, the remainder, and the penalty that training adds."""
    loss, at_t, t = row["log_loss"], row["log_loss_scaled"], row["temperature"]
    classes = _scaled(outputs, best.trials["trial"].iloc[0])[0].log_probabilities.shape[1]
    sentence = (
        f"The winner's cross-entropy on test is {decimals(loss)} (chance, ln {classes}: {decimals(math.log(classes))})."
    )
    if t == 1:
        sentence += " No temperature was fitted: the winner makes no error on its validation images."
    elif at_t >= loss:
        sentence += f" Temperature scaling (T = {t:.2f}) does not lower it."
    else:
        kind = "overconfidence" if t > 1 else "underconfidence"
        sentence += (
            f" Of this, {decimals(loss - at_t)} ({percent((loss - at_t) / loss)}) is {kind}: temperature scaling with "
            f"T = {t:.2f} lowers it to {decimals(at_t)}."
        )
    at_best = best.trials.merge(results.epochs, left_on=["trial", "best_epoch"], right_on=["trial", "epoch"])
    penalty = at_best["penalty"].mean()
    if penalty > 0:
        sentence += (
            f" Training adds a weight penalty of {decimals(penalty)}; frameworks that report both as one loss, such as "
            f"Keras, would show {decimals(loss + penalty)}."
        )
    return sentence


def _reliability(outputs: Outputs, best: Setting) -> Figure:
    """Return the reliability diagram of the winner, all seeds pooled, as trained and at its temperatures."""
    models = [_scaled(outputs, trial) for trial in best.trials["trial"]]
    right = np.concatenate([test.right for test, _ in models])
    before = np.concatenate([np.exp(test.log_probabilities.max(axis=1)) for test, _ in models])
    after = np.concatenate([np.exp(tempered(test.log_probabilities, t).max(axis=1)) for test, t in models])
    raw, scaled = (reliability(confidence, right) for confidence in (before, after))
    text = figures.svg(2.9, partial(figures.draw_reliability, raw=raw, scaled=scaled))
    title = "Reliability diagram: accuracy by confidence (blue: as trained, orange: at T)"
    alt = "The winner's test accuracy by confidence: " + ", ".join(
        f"{percent(right)} at {percent(confidence)}"
        for right, confidence in zip(raw["right"], raw["confidence"], strict=True)
    )
    return Figure("reliability", title, alt, text)
