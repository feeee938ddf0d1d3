"""What was made of an earlier winner: it goes when another one is exported, and a line says so."""

import shlex
import shutil
import sys
from pathlib import Path

from study.products.best import ONNX_FILE
from study.results import (
    BEST_FOLDER,
    EXAMPLES_FOLDER,
    EXPLAINED_FOLDER,
    KNN_FILE,
    RETRIEVAL_FILE,
    TABLES_FOLDER,
)


def drop_stale(out: Path, earlier: str, winner: str, searches: bool) -> None:
    """Remove what `earlier` was exported as, and set its explained images aside; says how to make each again.

    The examples go without a word: the study draws them again. `searches`: so it does the tables of neighbors and
    retrieval.
    """
    shutil.rmtree(out / EXAMPLES_FOLDER, ignore_errors=True)
    tables = [f"{TABLES_FOLDER}/{name}" for name in (KNN_FILE, RETRIEVAL_FILE)]
    _remove(out, [f"{BEST_FOLDER}/{ONNX_FILE}"], winner, ["study.export_onnx"])
    _remove(out, tables, winner, [] if searches else ["study.retrieval"])
    if (out / EXPLAINED_FOLDER).is_dir():
        aside = _free(out / f"{EXPLAINED_FOLDER}-{Path(earlier).name}")
        (out / EXPLAINED_FOLDER).rename(aside)
        again = shlex.join(["python", "-m", "study.predict", str(out), "PICTURE", "--explain"])
        _say(f"{EXPLAINED_FOLDER}/ shows an earlier winner and is now {aside.name}/. Make it again: {again}", winner)


def _remove(out: Path, names: list[str], winner: str, again: list[str]) -> None:
    gone = [name for name in names if (out / name).is_file()]
    for name in gone:
        (out / name).unlink()
    if gone:
        command = f" Make it again: {shlex.join(['python', '-m', *again, str(out)])}" if again else ""
        _say(f"Removed {' and '.join(gone)}, made of an earlier winner.{command}", winner)


def _free(folder: Path) -> Path:
    number, free = 1, folder
    while free.exists():
        number += 1
        free = folder.with_name(f"{folder.name}-{number}")
    return free


def _say(what: str, winner: str) -> None:
    print(f"The winner is now {winner}. {what}", file=sys.stderr)
