"""Study files: by name from `study/definitions`, or by path."""

import re
import runpy
import traceback
from dataclasses import dataclass, fields
from pathlib import Path

from search_spaces.distributions import Conditional, Range
from study.spec import Budget, Published, Study
from trainables.errors import InputError, did_you_mean

DEFINITIONS = Path(__file__).parent.parent / "definitions"
_OURS = {cls.__name__: cls for cls in (Study, Budget, Published, Range, Conditional)}


@dataclass(frozen=True)
class Loaded:
    """A study and the name of its default folders, data/NAME and runs/NAME."""

    name: str
    study: Study

    def data(self, flag: Path | None) -> Path:
        """Return the folder of the study's images: the value of --data, or the default."""
        return flag or Path("data") / self.name


def names() -> list[str]:
    """Return the names of the studies that come with the platform."""
    return sorted(path.stem for path in DEFINITIONS.glob("[!_]*.py"))


def load(name: str) -> Loaded:
    """Load a study by name or from a file.

    Raises:
        InputError: there is no such study, or its file does not define a valid STUDY.
    """
    file = Path(name) if name.endswith(".py") else DEFINITIONS / f"{name}.py"
    if not name.endswith(".py") and name not in names():
        raise InputError(
            f"No study named {name!r}. Studies: {', '.join(names())}; or pass a study file, FILE.py."
            f"{did_you_mean(name, names())}"
        )
    if not file.is_file():
        raise InputError(f"No study file {name!r}: copy a study to edit with --new NAME {name}.")
    try:
        defined = runpy.run_path(str(file), run_name=f"study_file_{file.stem}")  # writes no bytecode beside the file
    except InputError as problem:
        raise InputError(f"{_location(file, problem)}: {problem}") from None
    except (Exception, SystemExit) as problem:  # the user's code may raise anything
        raise InputError(f"{_location(file, problem)}: cannot be read as a study ({_message(problem)}).") from problem
    if not isinstance(study := defined.get("STUDY"), Study):
        raise InputError(f"{file}: must define STUDY = Study(...), but does not. --new NAME FILE.py copies an example.")
    if unfit := [*study.unfit(), *(study.as_published(None).unfit() if study.published else [])]:
        raise InputError(f"{file}: {unfit[0]}: reduce it, or increase the budget's epochs.")
    return Loaded(file.stem, study)


def _location(file: Path, problem: BaseException) -> str:
    """Return the file and the line where the problem occurred."""
    lines = [frame.lineno for frame in traceback.extract_tb(problem.__traceback__) if frame.filename == str(file)]
    if isinstance(problem, SyntaxError) and problem.filename == str(file):
        lines.append(problem.lineno)
    return f"{file}, line {lines[-1]}" if lines else str(file)


def _message(problem: BaseException) -> str:
    """Return the last line of Python's traceback, with a suggestion for a misspelled name."""
    message = list(traceback.TracebackException.from_exception(problem).format_exception_only())[-1].strip()
    if isinstance(problem, AttributeError) and "Did you mean" not in message:  # Python may have added it
        message += f".{did_you_mean(problem.name, dir(problem.obj))}"
    if isinstance(problem, NameError) and "Did you mean" not in message:
        *_, (frame, _) = traceback.walk_tb(problem.__traceback__)
        message += f".{did_you_mean(problem.name, frame.f_globals)}"
    if match := re.search(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", message):
        known = [field.name for field in fields(_OURS[match[1]])] if match[1] in _OURS else []
        message += f"; known: {', '.join(known)}.{did_you_mean(match[2], known)}" if known else ""
    return message


def copy(name: str, target: Path) -> None:
    """Copy a study's file to `target` for editing.

    Raises:
        InputError: there is no such study, or `target` is not a new Python file in an existing folder.
    """
    if name not in names():
        raise InputError(
            f"No study named {name!r} to copy. Studies: {', '.join(names())}.{did_you_mean(name, names())}"
        )
    if target.suffix != ".py" or not re.fullmatch(r"[\w-]+", target.stem):
        raise InputError(f"A study file must have a name such as my_study.py, but got {target.name!r}.")
    if target.exists():
        raise InputError(f"{target} already exists: choose another name.")
    if not target.parent.is_dir():
        raise InputError(f"{target.parent} is not a folder: create it first.")
    text = (DEFINITIONS / f"{name}.py").read_text(encoding="utf-8")
    target.write_text(text.replace(f"study.run {name}", f"study.run {target.name}"), encoding="utf-8")
