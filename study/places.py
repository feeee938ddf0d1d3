"""Where a study may be written: looked at before anything is imported or started for it."""

import os
from pathlib import Path

from study.ledger import LEDGER
from study.results import MANIFEST_FILE, STUDY_FILE, UNSEEN_FILE
from trainables.errors import InputError


def check_out(out: Path, resume: bool) -> bool:
    """Whether `out` holds a study to go on with.

    Raises:
        InputError: it is in use, and not to be resumed, or it can not be written.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"--out must be a folder, but {out} is a file.")
    if (out / STUDY_FILE).exists():
        if not resume:
            raise InputError(f"--out {out} already holds a study: go on with it by --resume, or choose another.")
        return True
    if out.exists() and not (resume and _is_half_begun(out)) and any(out.iterdir()):
        raise InputError(f"--out {out} is in use: it holds other files. Choose an empty or a new folder.")
    above = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if not os.access(above, os.W_OK):
        raise InputError(f"--out {out} cannot be written: choose a folder of your own.")
    return False


def _is_half_begun(out: Path) -> bool:
    """Whether all that lies there is what a study writes before its study.json: it was killed in between."""
    return {path.name for path in out.iterdir() if not path.name.endswith(".part")} <= {
        MANIFEST_FILE,
        UNSEEN_FILE,
        LEDGER,
    }
