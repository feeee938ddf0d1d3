"""`python -m study.predict OUT PICTURE...`: what a study's winner says of new images.

Confidences are scaled by the temperature that fits the winner's validation fold. Exit status: 0 done, 2 bad input (one
line), also where no image can be read.

The table's `file` is the path as it was found. A byte of it is written as \\xHH where it is no UTF-8, where it is a
control character (but for tabs and newlines), where a spreadsheet would take it for the beginning of a formula, and
where it is a backslash before such an xHH: so every path can be turned back.
"""

import argparse
import os
import re
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from study.arguments import Parser, fail
from study.products.submission import Sample, check_complete, read_sample, submission
from study.results import BEST_FOLDER, EXPLAINED_FOLDER
from study.writing import can_be_written, in_shell, printable, write_table, write_text
from trainables.data.sources.tree import files_below
from trainables.errors import InputError

if TYPE_CHECKING:
    from study.products.best import Best
    from trainables.data.grayscale import GrayRanges

TOP = 3
_AT_ONCE = 32
_LONGEST_SIDE = 640  # of an image with its heat map
_LONGEST_STEM = 240  # bytes; a file's name may have 255
_NOT_IN_A_TABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\udc80-\udcff]|\\\\(?=x[0-9a-f]{2})|^[-=+@\t]")


@dataclass(frozen=True)
class Prediction:
    """An image that could be read, as the study would keep it, with its probability of every class."""

    file: Path
    picture: NDArray[np.uint8]
    probabilities: NDArray[np.float64]


def main(arguments: list[str]) -> int:
    try:
        return run(parse(arguments))
    except InputError as problem:
        return fail(problem)


def parse(arguments: list[str]) -> argparse.Namespace:
    """The parsed flags, checked without torch.

    Raises:
        InputError: a flag is unknown, lacks its value, or its value makes no sense.
    """
    parser = Parser(prog="python -m study.predict", description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("out", type=Path, metavar="OUT", help="the --out of a finished study")
    add("pictures", type=Path, nargs="+", metavar="PICTURE", help="images, or folders of them at any depth")
    add("--top", type=int, metavar="N", default=TOP, help=f"how many classes to name (default: {TOP})")
    add("--csv", type=Path, metavar="FILE", help="also write a table: file, rank, label, confidence")
    add(
        "--explain",
        type=Path,
        nargs="?",
        const=True,
        metavar="DIR",
        help=f"also draw what speaks for the first class (Grad-CAM; default: OUT/{EXPLAINED_FOLDER})",
    )
    add("--submission", type=Path, metavar="FILE", help="also write a Kaggle submission; its ids are the file names")
    add("--sample", type=Path, metavar="FILE", help="the competition's sample_submission.csv, for --submission")
    chosen = parser.parse_args(arguments)
    if chosen.top < 1:
        raise InputError(f"--top must be at least 1, but got {chosen.top}.")
    if (chosen.submission is None) != (chosen.sample is None):
        raise InputError("--submission FILE and --sample FILE go together: the sample says which rows and columns.")
    for flag, file in (("--csv", chosen.csv), ("--submission", chosen.submission)):
        if file is not None and (file.suffix != ".csv" or not file.absolute().parent.is_dir() or file.is_dir()):
            raise InputError(f"{flag} must be a .csv file in a folder that exists, but got {str(file)!r}.")
        if file is not None and not can_be_written(file.absolute().parent):
            raise InputError(f"{flag} {str(file)!r} cannot be written: name a file in a folder of your own.")
    if chosen.explain is not None:
        chosen.explain = chosen.out / EXPLAINED_FOLDER if chosen.explain is True else chosen.explain
        if chosen.explain.exists() and not chosen.explain.is_dir():
            raise InputError(f"--explain DIR must be a folder, but {str(chosen.explain)!r} is a file: name it last.")
        if not can_be_written(chosen.explain):
            raise InputError(f"--explain {str(chosen.explain)!r} cannot be written: name a folder of your own.")
    if not (chosen.out / BEST_FOLDER).is_dir():
        raise InputError(f"OUT must be a finished study, but {str(chosen.out)!r} has no {BEST_FOLDER}/.")
    return chosen


def run(chosen: argparse.Namespace) -> int:
    files = list_files(chosen.pictures)
    from study.products.best import load_best

    best = load_best(chosen.out)
    sample = read_sample(chosen.sample, best.names) if chosen.sample else None
    if sample is not None:
        check_complete(sample, files)
    rows: list[tuple[str, int, str, float]] = []
    by_id: dict[str, NDArray[np.float64]] = {}
    drawn: set[str] = set()
    not_drawn: InputError | None = None
    for some in predictions(best, files):
        for each in some:
            ranked = np.argsort(-each.probabilities, kind="stable")[: chosen.top]
            named = [(best.names[label], float(each.probabilities[label])) for label in ranked]
            rows += [(in_table(each.file), rank, *pair) for rank, pair in enumerate(named, start=1)]
            by_id[each.file.stem] = each.probabilities
            said = ", ".join(f"{printable(name)} {100 * confidence:.1f} %" for name, confidence in named)
            _say(f"{printable(str(each.file))}: {said}", not (chosen.csv or chosen.submission or chosen.explain))
        if chosen.explain is not None and not_drawn is None:
            try:
                draw(best, some, chosen.explain, drawn)
            except InputError as problem:  # told at the end: the tables are not lost for it
                not_drawn = problem
    if not rows:
        raise InputError(f"None of the {len(files)} files is an image that can be read: name others.")
    try:
        if chosen.csv is not None:
            write_table(pd.DataFrame(rows, columns=["file", "rank", "label", "confidence"]), chosen.csv)
        if sample is not None:
            _write_submission(sample, by_id, chosen.submission)
    except OSError as problem:
        raise InputError(f"{problem.filename!r} cannot be written ({problem.strerror}): name another file.") from None
    if not_drawn is not None:
        raise not_drawn
    if chosen.explain is not None:
        print(f"Heat maps: {printable(str(chosen.explain))} ({len(drawn)})", file=sys.stderr)
    return 0


def list_files(named: Sequence[Path]) -> list[Path]:
    """The files named and those in the folders named, each once.

    Raises:
        InputError: one is not there, or there is none.
    """
    files: list[Path] = []
    for path in named:
        if path.is_dir():
            files += [path / name for name in files_below(path, path)]
        elif path.is_file():
            files.append(path)
        else:
            raise InputError(f"An image must be a file or a folder of files, but {str(path)!r} is neither.")
    if not files:
        raise InputError(f"At least one image is needed, but {str(named[0])!r} is empty: name another folder.")
    return list(dict.fromkeys(files))


def predictions(best: "Best", files: Sequence[Path]) -> Iterator[list[Prediction]]:
    """In the order of the files; one line on standard error for each that cannot be read."""
    from study.products.best import logits, prepared, probabilities, views

    with ThreadPoolExecutor() as pool:  # decoding holds no lock
        for first in range(0, len(files), _AT_ONCE):
            some = files[first : first + _AT_ONCE]
            read: list[tuple[Path, NDArray[np.uint8]]] = []
            for file, picture in zip(some, pool.map(lambda file: _read(file, best.gray_ranges), some), strict=True):
                if isinstance(picture, str):
                    print(f"{printable(str(file))}: {picture}", file=sys.stderr)
                else:
                    read.append((file, prepared(best, picture)))
            if read:
                found = probabilities(best, logits(best, views(best, [picture for _, picture in read])))
                yield [Prediction(*each, values) for each, values in zip(read, found, strict=True)]


def draw(best: "Best", some: Sequence[Prediction], folder: Path, drawn: set[str]) -> None:
    """An image NAME.png for each, with the heat of its first class; a name's second file is NAME-2.png.

    `drawn` has the names that are taken.
    """
    from PIL import Image

    from study.products.explain import explain, overlay

    heats = explain(best, [each.picture for each in some], [int(each.probabilities.argmax()) for each in some])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for each, heat in zip(some, heats, strict=True):
            shown = Image.fromarray(each.picture)
            shown.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
            stem = os.fsdecode(os.fsencode(each.file.stem)[:_LONGEST_STEM])
            names = (f"{stem}{number}.png" for number in ("", *(f"-{n}" for n in range(2, len(drawn) + 3))))
            name = next(name for name in names if name not in drawn)
            overlay(np.asarray(shown), heat, best.contract.crop).save(folder / name)
            drawn.add(name)
    except OSError as problem:
        raise InputError(f"--explain {str(folder)!r} cannot be written ({problem.strerror}): name another.") from None


def in_table(file: Path) -> str:
    """A path that any reader of tables takes; see the top of this file."""
    return _NOT_IN_A_TABLE.sub(lambda found: "".join(f"\\x{byte:02x}" for byte in os.fsencode(found[0])), str(file))


def _say(line: str, is_all: bool) -> None:
    """Where the reader has gone, go on for what is written unless the lines are all."""
    try:
        print(line, flush=True)
    except BrokenPipeError:
        if is_all:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _write_submission(sample: Sample, by_id: dict[str, NDArray[np.float64]], file: Path) -> None:
    write_text(submission(sample, by_id), file)
    if extra := len(set(by_id) - set(sample.ids)):
        print(f"Not in the sample, so not in {printable(str(file))}: {extra} images.", file=sys.stderr)


def _read(file: Path, gray_ranges: "GrayRanges") -> NDArray[np.uint8] | str:
    """The image, or why not."""
    from trainables.data.images import DecodeError, decode

    try:
        return decode(file.read_bytes(), gray_ranges).pixels
    except OSError as problem:
        return f"unreadable: {(problem.strerror or 'input or output error').lower()}"
    except DecodeError as problem:
        return str(problem)


def console() -> None:
    """Run this command on the arguments of the process, and exit with its status."""
    sys.exit(in_shell(main))


if __name__ == "__main__":
    console()
