"""Remove files that were made from an earlier winner, and say so, when another winner is exported."""

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
    """Remove the files of the winner `earlier`, rename its folder of heat maps, and print how to make each again.

    The examples are removed without a message, because the study draws them again.

    Args:
        searches: whether the study also makes the tables of neighbors and retrieval again.
    """
    shutil.rmtree(out / EXAMPLES_FOLDER, ignore_errors=True)
    tables = [f"{TABLES_FOLDER}/{name}" for name in (KNN_FILE, RETRIEVAL_FILE)]
    _remove(out, [f"{BEST_FOLDER}/{ONNX_FILE}"], winner, ["study.export_onnx"])
    _remove(out, tables, winner, [] if searches else ["study.retrieval"])
    if (out / EXPLAINED_FOLDER).is_dir():
        renamed = _free(out / f"{EXPLAINED_FOLDER}-{Path(earlier).name}")
        (out / EXPLAINED_FOLDER).rename(renamed)
        again = shlex.join(["python", "-m", "study.predict", str(out), "PICTURE", "--explain"])
        _say(f"{EXPLAINED_FOLDER}/ shows an earlier winner and is now {renamed.name}/. Make it again: {again}", winner)


def _remove(out: Path, names: list[str], winner: str, again: list[str]) -> None:
    existing = [name for name in names if (out / name).is_file()]
    for name in existing:
        (out / name).unlink()
    if existing:
        command = f" Make it again: {shlex.join(['python', '-m', *again, str(out)])}" if again else ""
        _say(f"Removed {' and '.join(existing)}, made from an earlier winner.{command}", winner)


def _free(folder: Path) -> Path:
    number, free = 1, folder
    while free.exists():
        number += 1
        free = folder.with_name(f"{folder.name}-{number}")
    return free


def _say(message: str, winner: str) -> None:
    print(f"The winner is now {winner}. {message}", file=sys.stderr)
