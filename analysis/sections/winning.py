"""The report's section on the winner: what it is, and how well it does on images nobody chose by."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.confirmed import tables
from analysis.confirmed.pictures import class_names
from analysis.confirmed.settings import Setting, best_trial, winner
from analysis.confirmed.sizes import SIZES, sizes
from analysis.layout.page import Section, Table, table
from analysis.layout.text import duration, megabytes, number, percent, percent_interval, value_text
from analysis.layout.thumbnails import galleries
from analysis.sections.sentences import winner_sentences
from study.results import BEST_FOLDER, Results

_MODEL_FILE = "model.safetensors"
_PREPROCESSING_FILE = "preprocessing.json"


def winner_section(results: Results, found: list[Setting], overlap: str) -> Section | None:
    best = winner(found)
    if best is None:
        return None
    said = {
        "": lambda row: row.model,
        "accuracy (95 % interval)": lambda row: percent_interval(row.accuracy, row.low, row.high),
    }
    caption = f"Accuracy on the test images.{overlap}" if overlap else "Accuracy on the test images"
    scored = [table("winner", caption, tables.winner_table(results, found), said)] if best.tested else []
    return Section("The winner", winner_sentences(results, best), tables=[*scored, _model_table(results, best)])


def examples_section(results: Results, found: list[Setting]) -> Section | None:
    """Test images with what the winner said of them, where the study left any."""
    shown, energies = galleries(results.out)
    if winner(found) is None or not shown:
        return None
    said = "Under each image is what the winner called it and how sure it was; where that is wrong, what it is."
    return Section("What the winner sees", [said, *energies], galleries=shown)


def _model_table(results: Results, best: Setting) -> Table:
    """The facts of a model card, as far as they were recorded."""
    shown = {"fact": lambda row: row.fact, "value": lambda row: row.value}
    trial, which = _shipped(results, best)
    frame = pd.DataFrame(_facts(results, best, trial), columns=["fact", "value"])
    return table("model", f"The model in {BEST_FOLDER}/, which is {which}", frame, shown)


def _shipped(results: Results, best: Setting) -> tuple[pd.Series, str]:
    """The trial whose model is the study's, and what it is."""
    again = tables.retrained(results, best)
    if len(again):
        return again.iloc[0], "the winner trained once more, on training and validation together"
    return best.trials[best.trials["trial"] == best_trial(best)].iloc[0], "the winner's best seed on validation"


def _facts(results: Results, best: Setting, trial: pd.Series) -> list[tuple[str, str]]:
    retrained = trial["phase"] == "retrain"  # on the validation, too: its accuracy there says nothing
    recorded = sizes(best.trials)
    facts = [
        ("trial", str(trial["trial"])),
        *_which(trial, best.models),
        *((factor, level) for factor, level in best.levels.items() if level),
        *((name.replace("_", " "), _value(trial[name])) for name in _tuned(results, trial)),
        ("best epoch", number(trial["best_epoch"])),
        *([] if retrained else [("accuracy on validation", percent(trial["val_accuracy"]))]),
        ("classes", number(len(class_names(results)))),
        ("time to train", duration(trial["seconds"])),
        *((heading, say(recorded[column])) for column, (heading, say) in SIZES.items() if column in recorded),
    ]
    return facts + _left(results.out / BEST_FOLDER, "file_bytes" in recorded)


def _which(trial: pd.Series, models: int) -> list[tuple[str, str]]:
    """The seed of a trial, with its test fold where it has one."""
    number_of, fold = divmod(int(trial["seed"]) - 1, models) if models > 1 else (trial["seed"] - 1, None)
    return [("seed", number(number_of + 1)), *([] if fold is None else [("test fold", f"{fold + 1} of {models}")])]


def _value(value: Any) -> str:
    return number(value) if isinstance(value, int | float) else value_text(value)


def _tuned(results: Results, trial: pd.Series) -> list[str]:
    nuisances = results.study.get("nuisances")
    return [name for name in nuisances or {} if name in trial and pd.notna(trial[name])]


def _left(folder: Path, sized: bool) -> list[tuple[str, str]]:
    """What the model's own folder says: how large it is and how images go in."""
    model, facts = folder / _MODEL_FILE, []
    if model.is_file() and not sized:
        facts.append((SIZES["file_bytes"][0], megabytes(model.stat().st_size)))
    told = _read_json(folder / _PREPROCESSING_FILE)
    return [*facts, ("input", value_text(told))] if told else facts


def _read_json(path: Path) -> dict[str, Any]:
    """Empty where there is no such file, or nothing that can be read: the report goes on without it."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
