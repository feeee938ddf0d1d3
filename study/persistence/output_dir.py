"""Open the output of a study: check --out before anything heavy is imported, and lock a remote."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from study.persistence import storage
from study.persistence.cache import in_use
from study.persistence.lease import DRIVERS, sole_remote_driver
from study.persistence.ledger import LEDGER
from study.persistence.lock import sole_driver
from study.persistence.remote import connect
from study.results import MANIFEST_FILE, STUDY_FILE, UNSEEN_FILE
from study.writing import can_be_written
from trainables.errors import InputError


@contextmanager
def opened(out: Path | str, cache: Path, resume: bool) -> Iterator[tuple[Path, bool]]:
    """Yield the folder to work in, which mirrors a remote `out`, and whether it holds a study to resume.

    Raises:
        InputError: `out` or `cache` cannot be written, `out` holds other files, or it holds a study and `resume` is
            False.
    """
    if isinstance(out, Path):
        resumes = check_out(out, resume)
        with in_use(cache):
            yield out, resumes
        return
    with in_use(cache), _opened_remote(out, cache, resume) as opened_out:
        yield opened_out


@contextmanager
def read_only(out: Path | str) -> Iterator[Path | None]:
    """Yield the folder of the study in `out`, or None if there is none. A remote is copied into a temporary folder."""
    if isinstance(out, Path):
        yield out if (out / STUDY_FILE).exists() else None
        return
    if STUDY_FILE not in connect(out).names():
        yield None
        return
    with TemporaryDirectory() as folder:
        storage.mirror(Path(folder), out, (STUDY_FILE, MANIFEST_FILE, LEDGER))
        yield Path(folder)


@contextmanager
def _opened_remote(out: str, cache: Path, resume: bool) -> Iterator[tuple[Path, bool]]:
    home, remote = storage.home(out, cache), connect(out)
    _holds_study(out, remote.names() - {DRIVERS}, resume)
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError:
        raise InputError(f"--cache {cache} cannot be written: choose a folder that you can write to.") from None
    with sole_driver(home, out), sole_remote_driver(remote, _name_of(home)):
        names = remote.names() - {DRIVERS}
        resumes = _holds_study(out, names, resume)
        folder = home / "driver"
        storage.remove(folder)
        storage.mirror(folder, out, names - {storage.CHECKPOINTS} if resumes else ())
        yield folder, resumes


def check_out(out: Path, resume: bool) -> bool:
    """Return whether `out` holds a study to resume.

    Raises:
        InputError: `out` cannot be written, it holds other files, or it holds a study and `resume` is False.
    """
    try:
        if out.exists() and not out.is_dir():
            raise InputError(f"--out must be a folder, but {out} is a file.")
        names = {path.name for path in out.iterdir()} if out.exists() else set()
    except OSError as problem:
        message = f"--out {out} cannot be used ({problem.strerror}): choose a folder that you can write to."
        raise InputError(message) from None
    if _holds_study(out, names, resume):
        return True
    if not can_be_written(out):
        raise InputError(f"--out {out} cannot be written: choose a folder that you can write to.")
    return False


def withdraw(out: Path) -> None:
    """Remove what a study wrote before its study.json, unless another process is starting a study there."""
    with suppress(InputError, OSError), sole_driver(out):
        for name in (MANIFEST_FILE, UNSEEN_FILE, LEDGER):
            storage.remove(out / name)
        out.rmdir()  # fails if it holds anything else


def _holds_study(out: Path | str, names: set[str], resume: bool) -> bool:
    if STUDY_FILE in names:
        if not resume:
            raise InputError(f"--out {out} already holds a study: continue it with --resume, or choose another folder.")
        return True
    if names and not (resume and _is_half_begun(names)):
        raise InputError(f"--out {out} is in use: it holds other files. Choose an empty or a new folder.")
    return False


def _is_half_begun(names: set[str]) -> bool:
    """Return whether these are only files that a study writes before its study.json: it was killed in between."""
    return {name for name in names if not name.endswith(".part")} <= {MANIFEST_FILE, UNSEEN_FILE, LEDGER}


def _name_of(home: Path) -> str:
    """Return the name of this machine's drivers in the remote, drawn at random the first time."""
    file = home / "name"
    if not file.exists():
        file.write_text(uuid.uuid4().hex)
    return file.read_text()
