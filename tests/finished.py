"""A study that ran to its end with one confirmed trial, made without Ray in seconds."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from study.arguments import parse
from study.design.load import load
from study.design.plan import Planned
from study.design.settings import resolve
from study.estimates.resources import Resources
from study.execution.worker import see_test_fold
from study.persistence import ledger
from study.persistence.ledger import Record
from study.persistence.trial_files import model_file, predictions_file
from study.products.examples import write_examples
from study.products.export import export_best
from study.results import PREDICTIONS_FILE
from study.schedule.state import StudyState
from study.setup.prepare import prepare_study
from study.setup.study_json import begin_study
from study.writing import write_table
from tests.tiny import COLOURS, STUDY_FILE, make_pictures, write_study
from trainables.config import TrialConfig
from trainables.learning.checkpoints import save_tensors
from trainables.place import Place
from trainables.trial import run_trial

TRIAL = "confirm-0001"
# One that trains nothing but the head of a net from random numbers.
HEAD_ONLY = STUDY_FILE.replace('"small_cnn"', '"test_efficientnet"').replace(
    '"unfreeze": "all", "size": 16', '"unfreeze": "head", "size": 32'
)
# One that trains the last stage of a net from the package of its weights.
LAST_STAGE = HEAD_ONLY.replace('"test_efficientnet"', '"tf_efficientnet_lite0"').replace('"head"', '"last stage"')


@dataclass(frozen=True)
class Finished:
    out: Path
    pictures: Path
    cache: Path
    config: TrialConfig
    place: Place
    manifest: pd.DataFrame
    course: StudyState
    record: Record


def finish(
    folder: Path,
    study: str = STUDY_FILE,
    weights: tuple[str, ...] = ("--weights", "none"),
    colours: dict[str, tuple[int, int, int]] = COLOURS,
) -> Finished:
    """Its images are in `folder`/pictures, what it left is in `folder`/out."""
    out, cache = folder / "out", folder / "cache"
    pictures = make_pictures(folder / "pictures", colours=colours)
    flags = ["--data", str(pictures), "--cache", str(cache), "--epochs", "3", *weights]
    resources = Resources(cpus=1, gpus=0, concurrent=1)
    chosen = parse([str(write_study(folder, study)), *flags])
    prepared = prepare_study(load(chosen.study), chosen, resources, out)
    begin_study(prepared, resources, "python -m study.run tiny.py", None)
    planned = Planned(
        TRIAL, "confirm", {"regularizer": "none", "augmentation": "none"}, {"learning_rate": 0.01}, seed=1
    )
    config = resolve(prepared.study, planned, prepared.base)
    ledger.write_setting(out, planned, config.to_dict())
    record = Record(planned, config.to_dict(), status="completed")
    best = {}
    for row, state in run_trial(config, prepared.place):
        ledger.write_report(out, TRIAL, 1, dict(row))
        record.rows[row["epoch"]] = dict(row)
        best = state.best
    save_tensors(best, model_file(out, TRIAL))
    ledger.write_end(out, TRIAL, "completed")
    ledger.write_opening(out, {TRIAL: ""})
    see_test_fold(out, TRIAL, prepared.place)
    write_table(pd.read_parquet(predictions_file(out, TRIAL)), out / PREDICTIONS_FILE)
    course = StudyState(out, prepared.study, prepared.base, None, lambda event, record: None)
    export_best(course, record, prepared.place, prepared.manifest)
    write_examples(course, record, prepared.place, prepared.manifest)
    return Finished(out, pictures, cache, config, prepared.place, prepared.manifest, course, record)
