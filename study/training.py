"""Train the seeds of one setting in this process, without Ray, and write the best one as a study writes its winner."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from study.design.plan import Planned
from study.execution.predictions import predictions
from study.messages import log
from study.persistence.ledger import Record
from study.persistence.trial_files import model_file, predictions_file
from study.products.export import export_model
from study.results import EPOCHS_COLUMNS, EPOCHS_FILE, MANIFEST_FILE, METRIC_COLUMN, PREDICTIONS_FILE
from study.setup.again import Again
from study.writing import write_table
from trainables.config import TrialConfig
from trainables.errors import InputError
from trainables.learning.checkpoints import load_tensors, save_tensors
from trainables.place import Place
from trainables.trial import Diverged, run_trial


def train_seeds(again: Again, seeds: Sequence[int], to: Path) -> Record | None:
    """Train and test every seed, print its accuracies, and write the new folder `to`.

    Everything is written in a temporary folder beside `to`, which gets that name at the end.

    Returns:
        The seed that is best on validation, the first one if several are equal; None if every seed diverged. Then
        nothing is written.

    Raises:
        InputError: `to` cannot be written.
        NotTheSame: the exported model is not the tested one. Nothing is written.
    """
    above = to.absolute().parent
    above.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{to.name[:40]}-", dir=above) as temporary:
        work, folder = Path(temporary), Path(temporary) / "trained"
        folder.mkdir()  # a temporary folder itself could be read by its user alone
        write_table(again.manifest, folder / MANIFEST_FILE)
        place = replace(again.place, manifest=folder / MANIFEST_FILE)
        configs = [replace(again.config, seed=seed) for seed in seeds]
        trained = [record for record in (_train(config, place, work) for config in configs) if record is not None]
        if not trained:
            return None
        tables = [pd.read_parquet(predictions_file(work, record.planned.trial)) for record in trained]
        _print_mean(trained, tables)
        best = max(trained, key=lambda record: record.score)
        _write_tables(trained, tables, folder)
        _write_best(best, place, again, work, folder)
        try:
            folder.rename(to)
        except OSError as problem:
            raise InputError(f"--to {str(to)!r} cannot be written ({problem.strerror}): name another.") from None
    return best


def _train(config: TrialConfig, place: Place, work: Path) -> Record | None:
    """Train and test one seed, and print a line after every epoch and at the end. Return None if it diverged.

    Its weights and predictions are written into the folder `work`.
    """
    trial, best = f"seed-{config.seed}", {}
    record = Record(Planned(trial, "confirm", {}, {}, seed=config.seed), config.to_dict())
    try:
        for row, state in run_trial(config, place):
            record.rows[row["epoch"]] = dict(row)
            best = state.best
            log.info(
                "seed %d, epoch %d of %d: validation %.1f%%, training %.1f%%",
                *(config.seed, row["epoch"], config.epochs, 100 * row["val_accuracy"], 100 * row["train_accuracy"]),
            )
        predicted = predictions(config, place, trial, best)
    except Diverged as problem:
        print(f"seed {config.seed}: failed. {problem}", file=sys.stderr)
        return None
    save_tensors(best, model_file(work, trial))
    write_table(predicted, predictions_file(work, trial))
    val, test = _accuracies(record, predicted)
    epoch = record.best["epoch"] if record.best else 0
    print(f"seed {config.seed}: validation {100 * val:.1f}% at epoch {epoch}, test {100 * test:.1f}%", flush=True)
    return record


def _accuracies(record: Record, predicted: pd.DataFrame) -> tuple[float, float]:
    """Return the accuracies on validation, at the best epoch, and on test."""
    assert record.best is not None
    test = predicted[predicted["fold"] == "test"]
    return record.best["val_accuracy"], float((test["label"] == test["predicted"]).mean())


def _print_mean(trained: Sequence[Record], tables: Sequence[pd.DataFrame]) -> None:
    if len(trained) > 1:
        pairs = [_accuracies(record, predicted) for record, predicted in zip(trained, tables, strict=True)]
        val, test = (sum(values) / len(values) for values in zip(*pairs, strict=True))
        print(f"mean of {len(trained)} seeds: validation {100 * val:.1f}%, test {100 * test:.1f}%", flush=True)


def _write_tables(trained: Sequence[Record], tables: Sequence[pd.DataFrame], folder: Path) -> None:
    rows = [{"trial": record.planned.trial} | row for record in trained for row in record.rows.values()]
    write_table(pd.DataFrame(rows, columns=[*EPOCHS_COLUMNS, METRIC_COLUMN]), folder / EPOCHS_FILE)
    write_table(pd.concat(tables, ignore_index=True), folder / PREDICTIONS_FILE)


def _write_best(best: Record, place: Place, again: Again, work: Path, folder: Path) -> None:
    trial = best.planned.trial
    predicted = predictions_file(work, trial)
    _, test = _accuracies(best, pd.read_parquet(predicted))
    export_model(
        folder,
        best,
        place,
        again.manifest,
        load_tensors(model_file(work, trial)),
        tested=predicted,
        calibrating=predicted,
        about=[f"# {trial}: the setting that a study recommended, trained again", "", again.question],
        more=[f"- Test accuracy {test:.4f}, on images that selected nothing."],
    )
