"""The files of a study: their names, columns and keys, and how to read them. writing.py writes them.

This module is the only one that knows the format. Another program may write a study in this format too, so everything
is checked when it is read. Additional columns and keys are kept.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast, get_args

import pandas as pd
from pandas.api import types

from study.study_record import StudyRecord

# The analysis room imports only this module of ours, so it gets the metrics from here.
from trainables import metrics as metrics

STUDY_FILE = "study.json"
MANIFEST_FILE = "manifest.parquet"
UNSEEN_FILE = "unseen.parquet"  # the images of classes that were set aside for retrieval, in the manifest's format
TRIALS_FILE = "trials.parquet"
EPOCHS_FILE = "epochs.parquet"
PREDICTIONS_FILE = "predictions.parquet"
CONTROL_FILE = "control.parquet"  # the winner confirmed again with other seeds; its trials are in no other table
ANSWERS_FILE = "answers.csv"
REPORT_HTML = "report.html"
REPORT_MARKDOWN = "report.md"
SUMMARY_FILE = "summary.txt"  # the answers in words, which study.run prints at its end
TABLES_FOLDER = "tables"
FIGURES_FOLDER = "figures"
EXAMPLES_FOLDER = "examples"
EXAMPLES_FILE = "examples.csv"
SUSPECTS_PREFIX = "suspect-"  # of examples/suspect-ITEM.jpg: images whose label may be wrong
BEST_FOLDER = "best"
EXPLAINED_FOLDER = "explained"  # images with the winner's heat maps, drawn on request
# Share of a nuisance's range: if the best value lies in an outer tenth, the range may be too narrow.
EDGE = 0.1
# A level is cheaper if it takes less than this share of another's operations, and faster if of its time.
CHEAPER = 0.9
FIRST_PLAN = "ledger/plan/000.json"  # the plan before the first trial; study.json has its hash
FIRST_OPENING = "ledger/openings/000.json"  # of the test fold, with the recommendation at that time
# In tables/, but not written by the report, which leaves them there.
KNN_FILE = "knn.csv"
RETRIEVAL_FILE = "retrieval.csv"

# The rules of the report, which a dry run announces too.
MIN_SEEDS = 3  # to compare levels: fewer do not show how much results vary between seeds
SEEDS_FOR_A_CLAIM = 5

Kind = Literal["text", "number", "flag", "any"]
Columns = Mapping[str, Kind]  # name -> kind, in the order they are written

MANIFEST_COLUMNS: Columns = {
    "item": "any",
    "path": "text",
    "label": "number",
    "label_name": "text",
    "bytes": "number",
    "sha256": "text",
    "width": "number",
    "height": "number",
    "mode": "text",
    "official_split": "text",
    "keep": "flag",
    "drop_reason": "text",
    "group": "any",
    "fold": "text",
}
TRIALS_COLUMNS: Columns = {  # in addition to every field of the resolved config
    "trial": "text",
    "phase": "text",
    "arm": "text",
    "stands_for": "text",
    "audit": "flag",
    "seed": "number",
    "status": "text",
    "epochs_run": "number",
    "seconds": "number",
    "error": "text",
    "best_epoch": "number",
    "val_accuracy": "number",
}
EPOCHS_COLUMNS: Columns = {
    "trial": "text",
    "epoch": "number",
    "train_accuracy": "number",
    "train_cross_entropy": "number",
    "penalty": "number",
    "val_accuracy": "number",
    "val_cross_entropy": "number",
    "learning_rate": "number",
    "seconds": "number",
    "images_per_second": "number",
}
# Optional columns of trials and epochs. The validation metric that selects the best epoch:
METRIC_COLUMN = "val_metric"
# The first opening of the test fold that the trial existed for, from 1, and its `stands_for` at the first opening:
OPENING_COLUMN = "opening"
STOOD_FOR_COLUMN = "stood_for"
LOGITS = "logits"  # float16, one list per item; as large as all other tables together, so it is read on request
PREDICTIONS_COLUMNS: Columns = {
    "trial": "text",
    "item": "any",
    "fold": "text",
    "label": "number",
    "predicted": "number",
    "confidence": "number",
    "cross_entropy": "number",
    LOGITS: "any",
}
CONTROL_COLUMNS: Columns = {  # one row per trial and test item
    "trial": "text",
    "arm": "text",
    "seed": "number",
    "item": "any",
    "label": "number",
    "predicted": "number",
}
ANSWERS_COLUMNS: Columns = {
    "factor": "text",
    "level_a": "text",
    "level_b": "text",
    "difference": "number",
    "low": "number",
    "high": "number",
    "probability_a_better": "number",
    "seeds": "number",
    "items": "number",
    "verdict": "text",
    "p_holm": "number",
    "seeds_needed": "number",
    "items_needed": "number",  # test images that would suffice with the present seeds, if no number of seeds would
    "companions": "text",
}
EXAMPLES_COLUMNS: Columns = {"file": "text", "label": "any", "predicted": "any", "confidence": "number"}
EXAMPLES_MORE_COLUMNS: Columns = {  # optional
    "kind": "text",  # drawn (random), error (a confident one) or confused (of the most confused classes)
    "heatmap": "text",  # a file in the same folder: Grad-CAM of the predicted class
    "energy_in_box": "number",  # share of the heat inside the object's box, if the manifest has a box
    "box_share": "number",  # share of the view's area inside the box, which is the value of a uniform heat map
}

# The phase that a trial belongs to. Trials of `control` are only in control.parquet; see CONTROL_FILE.
Phase = Literal["search", "refine", "confirm", "control", "retrain", "published"]
Status = Literal["completed", "stopped", "failed"]
PHASES: tuple[Phase, ...] = get_args(Phase)
STATUSES: tuple[Status, ...] = get_args(Status)

_DTYPES: dict[Kind, str] = {"text": "str", "number": "float64", "flag": "bool", "any": "object"}
_IS_KIND: dict[Kind, Callable[[pd.Series], bool]] = {
    "text": types.is_string_dtype,
    "number": lambda column: types.is_numeric_dtype(column) and not types.is_bool_dtype(column),
    "flag": types.is_bool_dtype,
    "any": lambda column: True,
}
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


class ResultsError(ValueError):
    """A folder that is not a readable study. The text is one line: the file, what is wrong and the fix."""


@dataclass(frozen=True)
class Results:
    """A study as it was read. `epochs`, `predictions` and `control` are empty until the study writes them."""

    out: Path
    study: StudyRecord
    manifest: pd.DataFrame
    trials: pd.DataFrame
    epochs: pd.DataFrame
    predictions: pd.DataFrame
    control: pd.DataFrame = field(default_factory=lambda: _empty(CONTROL_COLUMNS))

    @property
    def factors(self) -> dict[str, list[str]]:
        """Each factor's levels as text, the form in which levels are compared."""
        return {name: [level_text(level) for level in levels] for name, levels in self.study["factors"].items()}


def level_text(value: Any) -> str:
    """Return a level as text. 1, 1.0 and "1.0" are the same level; a missing level is empty."""
    if not isinstance(value, str) and pd.isna(value):
        return ""
    text = str(value)
    return f"{float(text):.12g}" if NUMBER.fullmatch(text) else text


def stands_for(cell: Any) -> list[tuple[str, str]]:
    """Return the (factor, level) pairs of a `stands_for` cell, a JSON list such as `["backbone=resnet50"]`.

    Raises:
        ValueError: the cell is not JSON.
    """
    if not isinstance(cell, str) or not cell:
        return []
    pairs = (pair.partition("=") for pair in json.loads(cell))
    return [(factor, level_text(level)) for factor, _, level in pairs]


def read(out: Path, *, logits: bool = False) -> Results:
    """Read and check the study in `out`. `predictions` have the column of logits only with `logits=True`.

    Raises:
        ResultsError: the folder holds no study, or a file of it is missing, damaged or has other columns or values
            than the format.
    """
    if not out.is_dir():
        raise ResultsError(f"No folder {str(out)!r}. Name the --out folder of a study, such as runs/digits.")
    study = _read_study(out)
    trials = _read_table(out / TRIALS_FILE, {**TRIALS_COLUMNS, **dict.fromkeys(study["factors"], "any")})
    _check_trials(trials, out / TRIALS_FILE)
    return Results(
        out=out,
        study=study,
        manifest=_read_table(out / MANIFEST_FILE, MANIFEST_COLUMNS),
        trials=trials,
        epochs=_read_table(out / EPOCHS_FILE, EPOCHS_COLUMNS, optional=True),
        predictions=_read_predictions(out / PREDICTIONS_FILE, () if logits else (LOGITS,)),
        control=_read_table(out / CONTROL_FILE, CONTROL_COLUMNS, optional=True),
    )


def _read_study(out: Path) -> StudyRecord:
    path = out / STUDY_FILE
    if not path.is_file():
        raise ResultsError(f"{str(out)!r} holds no {STUDY_FILE}: not a study. Name the --out folder of one.")
    try:
        study = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ResultsError(f"{path}: not readable as JSON ({error}). Write it again.") from None
    if not isinstance(study, dict):
        raise ResultsError(f"{path}: must hold one JSON object. Write it again.")
    for key, kind in {"name": str, "question": str, "factors": dict}.items():
        if not isinstance(study.get(key), kind):
            raise ResultsError(f"{path}: `{key}` must be a {kind.__name__}, but got {study.get(key)!r}. Add it.")
    for name, levels in study["factors"].items():
        if not isinstance(levels, list):
            raise ResultsError(f"{path}: factor {name!r} must list its levels, but got {levels!r}. Fix it.")
    return cast(StudyRecord, study)


def _read_table(path: Path, columns: Columns, *, optional: bool = False, skip: tuple[str, ...] = ()) -> pd.DataFrame:
    columns = {name: kind for name, kind in columns.items() if name not in skip}
    if not path.is_file():
        if optional:
            return _empty(columns)
        raise ResultsError(f"{path}: missing. A study writes it after its first epoch; if none runs, use --resume.")
    import pyarrow.parquet  # takes a third of a second, which programs that need only the names need not spend

    try:
        names = [name for name in pyarrow.parquet.read_schema(path).names if name not in skip]
        frame = pd.read_parquet(path, columns=names)
    except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
        reason = str(error).splitlines()[0]
        raise ResultsError(f"{path}: not readable as parquet ({reason}). Write it again.") from None
    missing = [name for name in columns if name not in frame]
    if missing:
        raise ResultsError(f"{path}: no column {', '.join(map(repr, missing))}. Add it, empty if unknown.")
    for name in frame.columns[[isinstance(dtype, pd.CategoricalDtype) for dtype in frame.dtypes]]:
        frame[name] = frame[name].astype(frame[name].cat.categories.dtype)
    if frame.empty:  # its writer had no values to infer types from
        frame = frame.astype({name: _DTYPES[kind] for name, kind in columns.items()})
    for name, kind in columns.items():
        values = frame[name].dropna().infer_objects()
        if len(values) and not _IS_KIND[kind](values):
            raise ResultsError(f"{path}: column {name!r} must hold {kind}, got {values.dtype}. Convert it.")
    return frame


def _empty(columns: Columns) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(dtype=_DTYPES[kind]) for name, kind in columns.items()})


def _read_predictions(path: Path, skip: tuple[str, ...]) -> pd.DataFrame:
    required: Columns = {name: kind for name, kind in PREDICTIONS_COLUMNS.items() if name != LOGITS}
    predictions = _read_table(path, required, optional=True, skip=skip)
    twice = predictions[predictions.duplicated(["trial", "item", "fold"])]
    if len(twice):
        trial, item = twice.iloc[0][["trial", "item"]]
        raise ResultsError(f"{path}: trial {trial!r} predicts item {item!r} twice. Keep one row for each.")
    return predictions


def _check_trials(trials: pd.DataFrame, path: Path) -> None:
    for name, allowed in (("phase", PHASES), ("status", STATUSES)):
        strange = sorted(set(trials[name].map(str)) - set(allowed))
        if strange:
            raise ResultsError(f"{path}: {name} {strange[0]!r} is unknown. Use one of {', '.join(allowed)}.")
    twice = trials["trial"][trials["trial"].duplicated()]
    if len(twice):
        raise ResultsError(f"{path}: trial {twice.iloc[0]!r} appears twice. Keep one row per trial.")
    for cell in trials["stands_for"].dropna().unique():
        try:
            stands_for(cell)
        except (ValueError, AttributeError, TypeError):
            raise ResultsError(f'{path}: stands_for {cell!r} must be a JSON list of "factor=level". Fix it.') from None
