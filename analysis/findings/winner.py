"""The winner: its test accuracy, the data and metric that selected it, and the facts of its saved model."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.confirmed.answers import LIKELY
from analysis.confirmed.images import baselines, class_names
from analysis.confirmed.objective import objective
from analysis.confirmed.settings import Setting, best_trial, groups, setting_text, test_predictions, winner
from analysis.confirmed.tables import SIZES, scores, sizes
from analysis.findings.caveats import overlap_note
from analysis.findings.openings import opened_once
from analysis.findings.snippet import winner_code
from analysis.layout.page import Section, table
from analysis.layout.text import cell_text, decimals, duration, megabytes, number, percent, percent_interval, value_text
from analysis.layout.thumbnails import galleries
from analysis.statistics.inference import MIN_SEEDS, accuracy_interval
from study.results import BEST_FOLDER, Results
from study.writing import count


def winner_table(results: Results, confirmed: list[Setting]) -> pd.DataFrame:
    """Return the test accuracy of the winner, the most frequent class and chance; empty before confirmation.

    If the winner was retrained on training and validation data, the retrained model has its own row.
    """
    best = winner(confirmed)
    if best is None:
        return pd.DataFrame(columns=["model", "accuracy", "low", "high"])
    score = scores(results, best)
    chance, frequent = baselines(results)
    rows = [
        ("the winner", score["test_accuracy"], score["test_low"], score["test_high"]),
        *_retrained(results, best),
        ("most frequent class", frequent, np.nan, np.nan),
        ("chance", chance, np.nan, np.nan),
    ]
    return pd.DataFrame(rows, columns=["model", "accuracy", "low", "high"])


def retrained(results: Results, best: Setting) -> pd.DataFrame:
    """Return the winner's trial on training and validation data; empty if only an earlier winner was retrained."""
    trials = results.trials
    again = trials[(trials["phase"] == "retrain") & (trials["status"] == "completed") & (trials["arm"] == best.arm)]
    seed = best.trials.loc[best.trials["trial"] == best_trial(best), "seed"].iloc[0]
    return again[again["seed"] == seed] if (again["seed"] == seed).any() else again


def _retrained(results: Results, best: Setting) -> list[tuple[str, float, float, float]]:
    rows, predictions = [], test_predictions(results)
    for trial in retrained(results, best)["trial"]:
        tested = predictions[predictions["trial"] == trial]
        if len(tested):
            interval = accuracy_interval(tested[["right"]].T, groups(results, pd.Index(tested["item"])))
            rows.append(("retrained on training and validation", float(tested["right"].mean()), *interval))
    return rows


def headline(results: Results, best: Setting) -> str:
    """Return the recommended setting, its accuracy, and how often it was trained."""
    score = scores(results, best)
    setting = f"Recommended setting: {setting_text(best.levels)}."
    seeds = count(len(best.seeds), "seed") + (f" of {best.models} models each" if best.models > 1 else "")
    trained = f"This exact combination was trained with {seeds}."
    if not best.tested:
        return f"{setting} Validation accuracy {percent(score['val_accuracy'])}. {trained}"
    caution = "" if len(best.seeds) >= MIN_SEEDS else "; the interval is for new images, not for new seeds"
    return (
        f"{setting} Test accuracy {percent(score['test_accuracy'])} ({LIKELY} {100 * score['test_low']:.1f} to "
        f"{100 * score['test_high']:.1f}, {count(best.correct.shape[1], 'image')}{caution}). {trained}"
    )


def winner_sentences(results: Results, best: Setting) -> list[str]:
    """Return the winner, its test accuracy, the accuracy of chance, and the data that selected it."""
    sentences = [headline(results, best)]
    if not best.tested:
        return sentences if objective(results).is_accuracy else [*sentences, _selected_by(results, best)]
    chance, frequent = baselines(results)
    sentences += [
        f"Chance is {percent(chance)}; always predicting the most frequent class reaches {percent(frequent)}.",
        _selected_by(results, best),
    ]
    if note := overlap_note(results):
        sentences.append(
            f"Caution: {note[0].lower()}{note[1:]} A backbone may recall images it has seen, so the score says less "
            "about transfer."
        )
    return sentences


def _selected_by(results: Results, best: Setting) -> str:
    metric = objective(results)
    if best.models > 1:
        return (
            f"Its levels were selected by {metric.label} on validation images that are test images of other folds, "
            "so its accuracy may be slightly optimistic. Nuisances were tuned for each model without its test images."
        )
    only = " data only" if opened_once(results) else ""
    if metric.is_accuracy:
        return f"It was selected on validation{only}."
    value = best.trials[metric.column].mean()
    reached = decimals(value) if metric.metric in ("val_log_loss", "val_auroc") else percent(value)
    return (
        f"It was selected on validation{only}, by {metric.label} ({reached}, mean over seeds). The comparisons of "
        "levels below use accuracy."
    )


_MODEL_FILE = "model.safetensors"
_PREPROCESSING_FILE = "preprocessing.json"


def winner_section(results: Results, confirmed: list[Setting], overlap: str) -> Section | None:
    best = winner(confirmed)
    if best is None:
        return None
    shown = {"": "model", f"accuracy ({LIKELY})": lambda row: percent_interval(row.accuracy, row.low, row.high)}
    caption = f"Test accuracy.{overlap}" if overlap else "Test accuracy"
    scored = [table("winner", caption, winner_table(results, confirmed), shown)] if best.tested else []
    trial, which = _shipped(results, best)
    facts = pd.DataFrame(_facts(results, best, trial), columns=["fact", "value"])  # for a model card
    card = table("model", f"The model in {BEST_FOLDER}/: {which}", facts, {"fact": "fact", "value": "value"})
    code = winner_code(results, best)
    return Section("The winner", winner_sentences(results, best), tables=[*scored, card], code=code)


def examples_section(results: Results, confirmed: list[Setting]) -> Section | None:
    """Return test images with the winner's predictions; None if the study saved none."""
    shown, energies = galleries(results.out)
    if winner(confirmed) is None or not shown:
        return None
    caption = "Under each image: predicted class and confidence; true class if wrong."
    return Section("Example predictions", [caption, *energies], galleries=shown)


def _shipped(results: Results, best: Setting) -> tuple[pd.Series, str]:
    """Return the trial whose model the study saved, and a description of it."""
    again = retrained(results, best)
    if len(again):
        return again.iloc[0], "the winner, retrained on training and validation data"
    return best.trials[best.trials["trial"] == best_trial(best)].iloc[0], "the winner's best seed on validation"


def _facts(results: Results, best: Setting, trial: pd.Series) -> list[tuple[str, str]]:
    retrained = trial["phase"] == "retrain"  # it trained on validation, so its validation accuracy means nothing
    recorded, nuisances = sizes(best.trials), results.study.get("nuisances") or {}
    round_index, fold = divmod(int(trial["seed"]) - 1, best.models)
    tuned = [name for name in nuisances if pd.notna(trial.get(name))]
    facts = [
        ("trial", str(trial["trial"])),
        ("seed", number(1 + round_index)),
        *([("test fold", f"{1 + fold} of {best.models}")] if best.models > 1 else []),
        *((factor, level) for factor, level in best.levels.items() if level),
        *((name.replace("_", " "), cell_text("", trial[name])) for name in tuned),
        ("best epoch", number(trial["best_epoch"])),
        *([] if retrained else [("accuracy on validation", percent(trial["val_accuracy"]))]),
        ("classes", number(len(class_names(results)))),
        ("time to train", duration(trial["seconds"])),
        *((heading, cell_text(column, recorded[column])) for column, heading in SIZES.items() if column in recorded),
    ]
    return facts + _saved(results.out / BEST_FOLDER, "file_bytes" in recorded)


def _saved(folder: Path, sized: bool) -> list[tuple[str, str]]:
    """Return the facts that the model's folder holds: file size and preprocessing."""
    model, facts = folder / _MODEL_FILE, []
    if model.is_file() and not sized:
        facts.append((SIZES["file_bytes"], megabytes(model.stat().st_size)))
    try:
        preprocessing = json.loads((folder / _PREPROCESSING_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # a missing or damaged file does not stop the report
        return facts
    known = preprocessing if isinstance(preprocessing, dict) else {}
    return [*facts, ("input", value_text(known))] if known else facts
