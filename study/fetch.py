"""`python -m study.fetch s3://BUCKET/dogs FOLDER`: download a study with a remote --out, to read it on this machine.

The same command downloads later changes. Models of single trials are not downloaded, but the winner in `best/` is. Exit
status: 0 done, 2 bad input.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from study.arguments import Parser, fail, shown
from study.persistence import storage
from study.persistence.lease import DRIVERS
from study.persistence.remote import connect, is_uri, parse_place
from study.results import STUDY_FILE
from study.writing import in_shell
from trainables.errors import InputError


@dataclass(frozen=True, kw_only=True)
class FetchFlags:
    """The command line of `study.fetch`."""

    uri: str
    folder: Path


def main(arguments: list[str]) -> int:
    """Run the command line and return its exit status."""
    try:
        flags = parse(arguments)
        fetch(flags.uri, flags.folder)
    except InputError as problem:
        return fail(problem)
    print(f"{flags.folder} holds the study; {shown('analysis.report', str(flags.folder))} makes its report again.")
    return 0


def parse(arguments: list[str]) -> FetchFlags:
    """Parse the flags.

    Raises:
        InputError: a flag is unknown, or URI or FOLDER is missing.
    """
    parser = Parser(prog="python -m study.fetch", description=__doc__, allow_abbrev=False)
    parser.add_argument("uri", metavar="URI", help="the --out of a study")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the folder to download it to")
    return FetchFlags(**vars(parser.parse_args(arguments)))


def fetch(uri: str, folder: Path) -> None:
    """Download the study at `uri` to `folder`, without files that only its driver and trials need.

    Raises:
        InputError: `uri` has no study, `folder` holds other files, or the remote cannot be read.
    """
    if not is_uri(uri) or isinstance(parse_place(uri), Path):
        raise InputError(f"URI must be the address of a remote --out, such as s3://BUCKET/dogs, but got {uri!r}.")
    names = connect(uri).names()
    if STUDY_FILE not in names:
        raise InputError(f"{uri} holds no study: there is no {STUDY_FILE}.")
    if folder.exists() and any(folder.iterdir()) and not (folder / STUDY_FILE).exists():
        raise InputError(f"FOLDER must be empty or hold the study already, but {folder} holds other files.")
    storage.mirror(folder, uri, names - {storage.MODELS, storage.CHECKPOINTS, DRIVERS})


def console() -> None:
    """Run this command on the arguments of the process, and exit with its status."""
    sys.exit(in_shell(main))


if __name__ == "__main__":
    console()
