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
_OURS = {each.__name__: each for each in (Study, Budget, Published, Range, Conditional)}


@dataclass(frozen=True)
class Loaded:
    name: str  # the default for data/NAME and runs/NAME
    study: Study

    def data(self, given: Path | None) -> Path:
        """Where the study's images are, unless --data says so."""
        return given or Path("data") / self.name


def names() -> list[str]:
    return sorted(path.stem for path in DEFINITIONS.glob("[!_]*.py"))


def load(name: str) -> Loaded:
    """The study a name or a file stands for.

    Raises:
        InputError: there is none, or its file does not define a valid STUDY.
    """
    file = Path(name) if name.endswith(".py") else DEFINITIONS / f"{name}.py"
    if not name.endswith(".py") and name not in names():
        raise InputError(
            f"No study named {name!r}. Studies: {', '.join(names())}; or give a file, FILE.py."
            f"{did_you_mean(name, names())}"
        )
    if not file.is_file():
        raise InputError(f"No study file {name!r}: copy one to edit with --new NAME {name}.")
    try:
        defined = runpy.run_path(str(file), run_name=f"study_file_{file.stem}")  # leaves no bytecode beside the file
    except InputError as problem:
        raise InputError(f"{_place(file, problem)}: {problem}") from None
    except (Exception, SystemExit) as problem:  # the user's code: whatever it raises is theirs to mend
        raise InputError(f"{_place(file, problem)}: cannot be read as a study ({_said(problem)}).") from problem
    if not isinstance(study := defined.get("STUDY"), Study):
        raise InputError(f"{file}: must define STUDY = Study(...), but does not; --new NAME FILE.py shows how.")
    if unfit := [*study.unfit(), *(study.as_published(None).unfit() if study.published else [])]:
        raise InputError(f"{file}: {unfit[0]}: give it fewer epochs, or the budget more.")
    return Loaded(file.stem, study)


def _place(file: Path, problem: BaseException) -> str:
    """The file, and the line of it that was reached or cannot be read."""
    lines = [frame.lineno for frame in traceback.extract_tb(problem.__traceback__) if frame.filename == str(file)]
    if isinstance(problem, SyntaxError) and problem.filename == str(file):
        lines.append(problem.lineno)
    return f"{file}, line {lines[-1]}" if lines else str(file)


def _said(problem: BaseException) -> str:
    """As Python would end its report, with the name that a wrong one is close to."""
    said = list(traceback.TracebackException.from_exception(problem).format_exception_only())[-1].strip()
    if isinstance(problem, AttributeError) and "Did you mean" not in said:  # as Python 3.12 says by itself
        said += f".{did_you_mean(problem.name, dir(problem.obj))}"
    if isinstance(problem, NameError) and "Did you mean" not in said:
        *_, (frame, _) = traceback.walk_tb(problem.__traceback__)
        said += f".{did_you_mean(problem.name, frame.f_globals)}"
    if match := re.search(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", said):
        known = [each.name for each in fields(_OURS[match[1]])] if match[1] in _OURS else []
        said += f"; known: {', '.join(known)}.{did_you_mean(match[2], known)}" if known else ""
    return said


def copy(name: str, target: Path) -> None:
    """Write a study's file to `target`, for its new owner to edit."""
    if name not in names():
        raise InputError(
            f"No study named {name!r} to copy. Studies: {', '.join(names())}.{did_you_mean(name, names())}"
        )
    if target.suffix != ".py" or not re.fullmatch(r"[\w-]+", target.stem):
        raise InputError(f"A study file must be named like my_study.py, but got {target.name!r}.")
    if target.exists():
        raise InputError(f"{target} exists already: choose another name.")
    if not target.parent.is_dir():
        raise InputError(f"{target.parent} is no folder: make it first.")
    text = (DEFINITIONS / f"{name}.py").read_text(encoding="utf-8")
    target.write_text(text.replace(f"study.run {name}", f"study.run {target.name}"), encoding="utf-8")
