"""The report's section on method: the plan, the images, the dropped files, the recorded settings."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis.confirmed import images
from analysis.confirmed.settings import test_folds
from analysis.findings.deviations import deviation_sentences, plan_sentence
from analysis.findings.openings import openings_sentence
from analysis.layout.page import Section, Table, table
from analysis.layout.text import number, value_text
from study.results import Results, level_text
from study.writing import count

# Keys of study.json that other sections show.
_ELSEWHERE = {"name", "question", "factors", "nuisances", "phases", "test_openings", "deviations", "decisions"}
_ELSEWHERE |= {"wall_seconds", "compute_seconds", "published", "pretraining_overlap", "resolution"}
_ELSEWHERE |= {"price", "nodes"}


def plan_section(results: Results) -> Section:
    study = results.study
    levels = [(factor, ", ".join(levels)) for factor, levels in results.factors.items()]
    factors = pd.DataFrame(levels, columns=["factor", "levels"])
    return Section(
        "Method",
        [openings_sentence(results), plan_sentence(results), _views(results), _duplicates(results)],
        points=deviation_sentences(results),
        tables=[
            table("factors", "Factors and their levels", factors, {"factor": "factor", "levels": "levels"}),
            *_nuisances(study.get("nuisances")),
            *_phases(study.get("phases")),
            *_pictures(results),
            _recorded(study),
        ],
    )


def _views(results: Results) -> str:
    """Say whether each image has a few fixed views or a new view in every epoch: the two are different experiments."""
    trials = results.trials
    augmentations = set(trials["augmentation"].map(level_text)) if "augmentation" in trials else set()
    if not augmentations - {"", "none"}:
        return ""
    numbers = sorted(set(trials["views"].dropna().astype(int))) if "views" in trials else []
    if not numbers:
        return "With augmentation, each image has a new view in every epoch."
    some = "" if trials["views"].notna().all() else "; in some trials it has a new view in every epoch"
    return f"With augmentation, each image cycles through {' or '.join(map(str, numbers))} views{some}."


def _duplicates(results: Results) -> str:
    groups = images.duplicates(results)
    if groups.empty:
        return "No duplicate images were found."
    split, mixed = int((groups["folds"] > 1).sum()), int((groups["labels"] > 1).sum())
    leaks = f" Groups across training, validation and test (leakage): {number(split)}." if split else ""
    labels = f" Groups with more than one label: {number(mixed)}." if mixed else ""
    files = count(int(groups["files"].sum()), "image")
    return f"{files} are duplicates, in {count(len(groups), 'group')}.{leaks}{labels}"


def _nuisances(nuisances: Any) -> list[Table]:
    """Return the table of nuisances; empty if another program declared them differently."""
    if not isinstance(nuisances, Mapping) or not nuisances:
        return []
    frame = pd.DataFrame([(key, value_text(value)) for key, value in nuisances.items()], columns=["name", "range"])
    caption = "Nuisance hyperparameters, tuned equally for every level"
    return [table("nuisances", caption, frame, {"name": "name", "range": "range"})]


def _phases(phases: Any) -> list[Table]:
    rows = [row for row in phases if isinstance(row, Mapping)] if isinstance(phases, list) else []
    if not rows:
        return []
    frame = pd.DataFrame([{key: value_text(value) for key, value in row.items()} for row in rows]).fillna("")
    return [table("phases", "Planned phases", frame, {str(key): str(key) for key in frame})]


def _pictures(results: Results) -> list[Table]:
    caption = "Images by fold (pool: training)"
    if test_folds(results):
        caption += " of the search; the confirmation tests every image once per round"
    tables = [table("folds", caption, images.folds(results), {"fold": "fold", "images": "pictures"})]
    dropped, duplicates = images.dropped(results), images.duplicates(results)
    if len(dropped):
        tables.append(table("dropped", "Files left out", dropped, {"reason": "reason", "files": "files"}))
    if len(duplicates):
        shown = {"first file": "example", "files": "files", "labels": "labels"}
        tables.append(table("duplicates", "Duplicate images", duplicates, shown))
    return tables


def _recorded(study: Mapping[str, Any]) -> Table:
    # The results of the gates have their own section; this table only shows if the gates were skipped.
    elsewhere = _ELSEWHERE | {key for key in ("preflight",) if isinstance(study.get(key), Mapping)}
    place = study.get("place")
    if isinstance(place, Mapping):  # a folder that was not given would look like a folder named "none"
        study = {**study, "place": {key: value for key, value in place.items() if value is not None}}
    rows = [(key.replace("_", " "), value_text(value)) for key, value in study.items() if key not in elsewhere]
    frame = pd.DataFrame(rows, columns=["what", "value"])
    return table("recorded", "Other entries of study.json", frame, {"key": "what", "value": "value"})
