"""`python -m study.predict OUT PICTURE...`: classify new images with a study's winner.

Confidences are calibrated with the temperature that was fitted on the winner's validation fold. Exit status: 0 done, 2
bad input (one line), also if none of the images can be read.

In tables `file` is the path as given or found. Some bytes of it are written as \\xHH, so that every path can be
recovered: bytes that are not UTF-8, control characters except tabs and newlines, a first character that a spreadsheet
would take for the start of a formula, and a backslash before such an xHH.
"""

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
    """A readable image with its class probabilities."""

    file: Path
    picture: NDArray[np.uint8]  # (h, w, 3), as the study stores it
    probabilities: NDArray[np.float64]  # (classes,)


@dataclass(frozen=True, kw_only=True)
class PredictFlags:
    """The command line of `study.predict`."""

    out: Path
    pictures: list[Path]
    top: int
    csv: Path | None
    explain: Path | None
    submission: Path | None
    sample: Path | None


def main(arguments: list[str]) -> int:
    """Run the command line and return its exit status."""
    try:
        return run(parse(arguments))
    except InputError as problem:
        return fail(problem)


def parse(arguments: list[str]) -> PredictFlags:
    """Parse and check the flags, without importing torch.

    Raises:
        InputError: a flag is unknown, has no value or has a wrong value.
    """
    parser = Parser(prog="python -m study.predict", description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("out", type=Path, metavar="OUT", help="the --out of a finished study")
    add("pictures", type=Path, nargs="+", metavar="PICTURE", help="images, or folders of images at any depth")
    add("--top", type=int, metavar="N", default=TOP, help=f"number of classes to print (default: {TOP})")
    add("--csv", type=Path, metavar="FILE", help="also write a table: file, rank, label, confidence")
    add(
        "--explain",
        type=Path,
        nargs="?",
        const=True,
        metavar="DIR",
        help=f"also draw Grad-CAM heat maps of the first class (default: OUT/{EXPLAINED_FOLDER})",
    )
    add("--submission", type=Path, metavar="FILE", help="also write a Kaggle submission; its ids are the file names")
    add("--sample", type=Path, metavar="FILE", help="the competition's sample_submission.csv, for --submission")
    values = vars(parser.parse_args(arguments))
    explain = values["out"] / EXPLAINED_FOLDER if values["explain"] is True else values["explain"]
    flags = PredictFlags(**values | {"explain": explain})
    if flags.top < 1:
        raise InputError(f"--top must be at least 1, but got {flags.top}.")
    if (flags.submission is None) != (flags.sample is None):
        raise InputError("--submission FILE needs --sample FILE, which gives its rows and columns, and vice versa.")
    for flag, file in (("--csv", flags.csv), ("--submission", flags.submission)):
        if file is not None and (file.suffix != ".csv" or not file.absolute().parent.is_dir() or file.is_dir()):
            raise InputError(f"{flag} must be a .csv file in an existing folder, but got {str(file)!r}.")
        if file is not None and not can_be_written(file.absolute().parent):
            raise InputError(f"{flag} {str(file)!r} cannot be written: choose a folder that you can write to.")
    if flags.explain is not None:
        if flags.explain.exists() and not flags.explain.is_dir():
            raise InputError(
                f"--explain DIR must be a folder, but {str(flags.explain)!r} is a file: put --explain after the images."
            )
        if not can_be_written(flags.explain):
            raise InputError(
                f"--explain {str(flags.explain)!r} cannot be written: choose a folder that you can write to."
            )
    if not (flags.out / BEST_FOLDER).is_dir():
        raise InputError(f"OUT must be a finished study, but {str(flags.out)!r} has no {BEST_FOLDER}/.")
    return flags


def run(flags: PredictFlags) -> int:
    """Print the most likely classes of each image, and write the files that the flags ask for.

    Raises:
        InputError: there is no winner, no readable image, an image of the sample is missing, or a file cannot be
            written.
    """
    files = list_files(flags.pictures)
    from study.products.best import load_best

    best = load_best(flags.out)
    sample = read_sample(flags.sample, best.names) if flags.sample else None
    if sample is not None:
        check_complete(sample, files)
    rows: list[tuple[str, int, str, float]] = []
    by_id: dict[str, NDArray[np.float64]] = {}
    drawn: set[str] = set()
    not_drawn: InputError | None = None
    for batch in predictions(best, files):
        for prediction in batch:
            ranked = np.argsort(-prediction.probabilities, kind="stable")[: flags.top]
            top = [(best.names[label], float(prediction.probabilities[label])) for label in ranked]
            rows += [(in_table(prediction.file), rank, *pair) for rank, pair in enumerate(top, start=1)]
            by_id[prediction.file.stem] = prediction.probabilities
            classes = ", ".join(f"{printable(name)} {100 * confidence:.1f}%" for name, confidence in top)
            line = f"{printable(str(prediction.file))}: {classes}"
            _print_line(line, writes_files=bool(flags.csv or flags.submission or flags.explain))
        if flags.explain is not None and not_drawn is None:
            try:
                draw(best, batch, flags.explain, drawn)
            except InputError as problem:  # raised at the end, after the tables are written
                not_drawn = problem
    if not rows:
        raise InputError(f"None of the {len(files)} files is a readable image: name others.")
    try:
        if flags.csv is not None:
            write_table(pd.DataFrame(rows, columns=["file", "rank", "label", "confidence"]), flags.csv)
        if sample is not None and flags.submission is not None:
            _write_submission(sample, by_id, flags.submission)
    except OSError as problem:
        raise InputError(f"{problem.filename!r} cannot be written ({problem.strerror}): name another file.") from None
    if not_drawn is not None:
        raise not_drawn
    if flags.explain is not None:
        print(f"Heat maps: {printable(str(flags.explain))} ({len(drawn)})", file=sys.stderr)
    return 0


def list_files(paths: Sequence[Path]) -> list[Path]:
    """Return the given files and all files in the given folders, without repetitions.

    Raises:
        InputError: a path does not exist, or there are no files.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += [path / name for name in files_below(path, path)]
        elif path.is_file():
            files.append(path)
        else:
            raise InputError(f"An image must be a file or a folder of files, but {str(path)!r} is neither.")
    if not files:
        raise InputError(f"At least one image is needed, but {str(paths[0])!r} is empty: name another folder.")
    return list(dict.fromkeys(files))


def predictions(best: "Best", files: Sequence[Path]) -> Iterator[list[Prediction]]:
    """Yield batches of predictions in the order of the files. Unreadable files get one line on standard error."""
    from study.products.best import logits, prepared, probabilities, views

    with ThreadPoolExecutor() as pool:  # decoding releases the GIL
        for first in range(0, len(files), _AT_ONCE):
            batch = files[first : first + _AT_ONCE]
            read: list[tuple[Path, NDArray[np.uint8]]] = []
            for file, picture in zip(batch, pool.map(lambda file: _read(file, best.gray_ranges), batch), strict=True):
                if isinstance(picture, str):
                    print(f"{printable(str(file))}: {picture}", file=sys.stderr)
                else:
                    read.append((file, prepared(best, picture)))
            if read:
                rows = probabilities(best, logits(best, views(best, [picture for _, picture in read])))
                yield [Prediction(file, picture, row) for (file, picture), row in zip(read, rows, strict=True)]


def draw(best: "Best", batch: Sequence[Prediction], folder: Path, drawn: set[str]) -> None:
    """Write NAME.png for each image, with the heat map of its first class. A second file of a name is NAME-2.png.

    Args:
        drawn: the names written so far. New names are added.

    Raises:
        InputError: a file cannot be written.
    """
    from PIL import Image

    from study.products.explain import explain, overlay

    first_classes = [int(prediction.probabilities.argmax()) for prediction in batch]
    heats = explain(best, [prediction.picture for prediction in batch], first_classes)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for prediction, heat in zip(batch, heats, strict=True):
            image = Image.fromarray(prediction.picture)
            image.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
            stem = os.fsdecode(os.fsencode(prediction.file.stem)[:_LONGEST_STEM])
            names = (f"{stem}{number}.png" for number in ("", *(f"-{n}" for n in range(2, len(drawn) + 3))))
            name = next(name for name in names if name not in drawn)
            overlay(np.asarray(image), heat, best.contract.crop).save(folder / name)
            drawn.add(name)
    except OSError as problem:
        raise InputError(f"--explain {str(folder)!r} cannot be written ({problem.strerror}): name another.") from None


def in_table(file: Path) -> str:
    """Return a path that every reader of tables accepts; see the top of this file."""
    return _NOT_IN_A_TABLE.sub(lambda match: "".join(f"\\x{byte:02x}" for byte in os.fsencode(match[0])), str(file))


def _print_line(line: str, writes_files: bool) -> None:
    """Print a line. If the reader of the output is gone, continue only for the files to be written."""
    try:
        print(line, flush=True)
    except BrokenPipeError:
        if not writes_files:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _write_submission(sample: Sample, by_id: dict[str, NDArray[np.float64]], file: Path) -> None:
    write_text(submission(sample, by_id), file)
    if extra := len(set(by_id) - set(sample.ids)):
        print(f"{extra} images are not in the sample and were left out of {printable(str(file))}.", file=sys.stderr)


def _read(file: Path, gray_ranges: "GrayRanges") -> NDArray[np.uint8] | str:
    """Return the image (h, w, 3), or why it cannot be read."""
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
