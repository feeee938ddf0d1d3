"""The files of one trial below OUT, beside what the ledger has of it."""

from pathlib import Path

from study.persistence import ledger, storage


def checkpoint_file(out: Path, trial: str) -> Path:
    """Return the path of a running trial's checkpoint."""
    return out / storage.CHECKPOINTS / f"{trial}.safetensors"


def model_file(out: Path, trial: str) -> Path:
    """Return the path of a confirmed trial's weights, from its best epoch."""
    return out / storage.MODELS / f"{trial}.safetensors"


def predictions_file(out: Path, trial: str) -> Path:
    """Return the path of a confirmed trial's predictions, a part of predictions.parquet."""
    return out / storage.MODELS / f"{trial}.predictions.parquet"


def names_of(trial: str) -> tuple[str, ...]:
    """Return the files and folders below OUT that the work on one trial reads and writes."""
    here = Path()
    files = (checkpoint_file(here, trial), model_file(here, trial), predictions_file(here, trial))
    return *ledger.names_of(trial), *(file.as_posix() for file in files)
