"""Study files: by name from `study/definitions`, or by path."""

import re
import runpy
from dataclasses import dataclass
from pathlib import Path

from study.spec import Study
from trainables.errors import InputError

DEFINITIONS = Path(__file__).parent.parent / "definitions"


@dataclass(frozen=True)
class Loaded:
    name: str  # the default for data/NAME and runs/NAME
    file: Path
    study: Study


def names() -> list[str]:
    return sorted(path.stem for path in DEFINITIONS.glob("[!_]*.py"))


def load(name: str) -> Loaded:
    """The study a name or a file stands for.

    Raises:
        InputError: there is none, or its file does not define a valid STUDY.
    """
    file = Path(name) if name.endswith(".py") else DEFINITIONS / f"{name}.py"
    if not name.endswith(".py") and name not in names():
        raise InputError(f"No study named {name!r}. Studies: {', '.join(names())}; or give a file, FILE.py.")
    if not file.is_file():
        raise InputError(f"No study file {name!r}: copy one to edit with --new NAME {name}.")
    try:
        defined = runpy.run_path(str(file), run_name=f"study_file_{file.stem}")  # leaves no bytecode beside the file
    except InputError as problem:
        raise InputError(f"{file}: {problem}") from None
    except (Exception, SystemExit) as problem:  # the user's code: whatever it raises is theirs to mend
        raise InputError(f"{file}: cannot be read as a study ({type(problem).__name__}: {problem}).") from problem
    if not isinstance(study := defined.get("STUDY"), Study):
        raise InputError(f"{file}: must define STUDY = Study(...), but does not; --new NAME FILE.py shows how.")
    return Loaded(file.stem, file, study)


def copy(name: str, target: Path) -> None:
    """Write a study's file to `target`, for its new owner to edit."""
    if name not in names():
        raise InputError(f"No study named {name!r} to copy. Studies: {', '.join(names())}.")
    if target.suffix != ".py" or not re.fullmatch(r"[\w-]+", target.stem):
        raise InputError(f"A study file must be named like my_study.py, but got {target.name!r}.")
    if target.exists():
        raise InputError(f"{target} exists already: choose another name.")
    if not target.parent.is_dir():
        raise InputError(f"{target.parent} is no folder: make it first.")
    text = (DEFINITIONS / f"{name}.py").read_text(encoding="utf-8")
    target.write_text(text.replace(f"study.run {name}", f"study.run {target.name}"), encoding="utf-8")
