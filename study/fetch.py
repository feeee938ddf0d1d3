"""`python -m study.fetch s3://BUCKET/dogs FOLDER`: a study whose --out is remote into a folder, to read it there.

The same command again brings what is new. Models of single trials stay where they are; the winner, `best/`, comes.
Exit status: 0 done, 2 bad input.
"""

import sys
from pathlib import Path

from study.arguments import Parser, fail, shown
from study.persistence import storage
from study.persistence.lease import DRIVERS
from study.persistence.remote import connect, is_uri, parse_place
from study.results import STUDY_FILE
from study.writing import in_shell
from trainables.errors import InputError


def main(arguments: list[str]) -> int:
    parser = Parser(prog="python -m study.fetch", description=__doc__, allow_abbrev=False)
    parser.add_argument("uri", metavar="URI", help="the --out of a study")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where to")
    try:
        chosen = parser.parse_args(arguments)
        fetch(chosen.uri, chosen.folder)
    except InputError as problem:
        return fail(problem)
    print(f"{chosen.folder} holds the study; {shown('analysis.report', str(chosen.folder))} makes its report again.")
    return 0


def fetch(uri: str, folder: Path) -> None:
    """Bring the study at `uri` into `folder`, but for what only its own driver and trials need."""
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
