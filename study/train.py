"""`python -m study.train OUT --data DIR`: train the setting that a study recommends again, on other images or seeds.

The setting is that of the model in OUT/best: backbone, depth, regularizer, learning rate and everything else of its
trial. The images are read and divided as the study did it: one class per folder, a CSV file, and so on; without --data
they are the images of the study. The classes may be others. Every seed renews initialization, order, augmentation and
the train/validation split, as in the confirmation of a study; the test fold stays. A seed of the confirmation gives the
rows of its trial again, bit for bit, on the same images and machine.

Prints the accuracy of every seed on validation and test. Writes the seed that is best on validation to the new folder
--to, in its folder best/ as a study does, so that `python -m study.predict` reads it. Beside it: manifest.parquet,
epochs.parquet and predictions.parquet, in the format of a study. Exit status: 0 done; 1 no seed could be trained, or
the exported model is not the tested one; 2 bad input (one line, nothing written); 130 interrupted.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from study.arguments import Parser, cache_option, check_cache, fail, local, natural, positive_int, shown
from study.messages import log
from study.persistence.cache import in_use
from study.persistence.unavailable import unavailable
from study.results import BEST_FOLDER, STUDY_FILE
from study.writing import can_be_written, in_shell
from trainables.errors import InputError

FIRST_SEED = 1  # as in a confirmation; 0 is the search
_INTERRUPTED = 130


@dataclass(frozen=True, kw_only=True)
class TrainFlags:
    """The command line of `study.train`."""

    out: Path
    data: Path | None
    to: Path
    seeds: int
    seed: int
    epochs: int | None
    weights: Path | None
    cache: Path


def main(arguments: list[str]) -> int:
    """Run the command line and return its exit status."""
    try:
        return run(parse(arguments))
    except InputError as problem:
        return fail(problem)
    except KeyboardInterrupt:
        print("Interrupted; nothing was written.", file=sys.stderr)
        return _INTERRUPTED


def parse(arguments: list[str]) -> TrainFlags:
    """Parse and check the flags, without importing torch.

    Raises:
        InputError: a flag is unknown, has no value or has a wrong value, or OUT is not a finished study.
    """
    parser = Parser(prog="python -m study.train", description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("out", type=Path, metavar="OUT", help="the --out of a finished study")
    add("--data", type=local, metavar="DIR", help="a folder of images, or a CSV file (default: the study's images)")
    add("--seeds", type=positive_int, metavar="N", default=1, help="number of seeds (default: 1)")
    add("--seed", type=natural, metavar="N", default=FIRST_SEED, help=f"the first seed (default: {FIRST_SEED})")
    add("--to", type=Path, metavar="DIR", help="the new folder to write (default: OUT-trained)")
    add("--epochs", type=positive_int, metavar="N", help="number of epochs (default: as in the study)")
    add("--weights", type=Path, metavar="DIR", help="a folder of pretrained weights (default: as in the study)")
    add("--cache", **cache_option("decoded images and activations of frozen layers"))
    values = vars(parser.parse_args(arguments))
    check_cache(values["cache"])
    values["to"] = values["to"] or _beside(values["out"])
    flags = TrainFlags(**values)
    if not (flags.out / STUDY_FILE).is_file():
        raise InputError(f"OUT must be a finished study, but {str(flags.out)!r} has no {STUDY_FILE}.")
    if not (flags.out / BEST_FOLDER).is_dir():
        raise InputError(
            f"OUT must be a finished study, but {str(flags.out)!r} has no {BEST_FOLDER}/: let it finish, with --resume."
        )
    if os.path.lexists(flags.to):
        raise InputError(f"--to must be a new folder, but {str(flags.to)!r} exists: name another.")
    if not can_be_written(flags.to):
        raise InputError(f"--to {str(flags.to)!r} cannot be written: choose a folder that you can write to.")
    return flags


def _beside(out: Path) -> Path:
    named = out if out.name not in ("", "..") else Path(os.path.abspath(out))
    return named.with_name(f"{named.name}-trained")


def run(flags: TrainFlags) -> int:
    """Train every seed, print its accuracy, and write the best one. Return the exit status.

    Raises:
        InputError: the study, the images or the weights cannot be used. Nothing is written.
    """
    # Imported here, because this imports torch, which takes seconds.
    from study.products.best import read_trial
    from study.products.local_dir import NotTheSame
    from study.products.roundtrip import check_exports
    from study.setup.again import prepare_again, read_found
    from study.training import train_seeds
    from trainables.data.known_files import unless_refused
    from trainables.data.manifest import data_folder

    found = read_found(flags.out, read_trial(flags.out))
    with in_use(flags.cache):
        with unless_refused(flags.cache, data_folder(flags.data or found.data)):
            again = prepare_again(found, flags.data, flags.weights, flags.cache, flags.epochs)
            check_exports([again.config], int(again.manifest["label"].max()) + 1, flags.cache)
        for line in again.lines:
            log.info(line)
        try:
            best = train_seeds(again, range(flags.seed, flags.seed + flags.seeds), flags.to)
        except NotTheSame as difference:
            print(f"Nothing was written, because it was not the tested model ({difference}).", file=sys.stderr)
            return 1
        except Exception as problem:
            if lost := unavailable(problem):
                raise lost from problem
            raise
    if best is None:
        print("No seed could be trained: nothing was written.", file=sys.stderr)
        return 1
    print(f"Model:    {flags.to / BEST_FOLDER} (seed {best.planned.seed})")
    print(f"Classify: {shown('study.predict', str(flags.to), 'PICTURE')}")
    return 0


def console() -> None:
    """Run this command on the arguments of the process, and exit with its status."""
    sys.exit(in_shell(main))


if __name__ == "__main__":
    console()
