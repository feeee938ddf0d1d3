"""The walls between the rooms, and what is loaded when."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tiny import PATIENCE, write_study

ROOT = Path(__file__).parent.parent
ROOMS = ("analysis", "search_spaces", "study", "trainables")
# What a room may import of the others.
ALLOWED = {
    "search_spaces": [],
    "trainables": [],
    "study": ["search_spaces", "trainables"],
    "analysis": ["study.price", "study.results", "study.writing"],
}
# What a shelf of a room may import of the room: what lies at its entrance and the shelves before it.
ENTRANCE = {
    "analysis": ["declared", "decisions", "layout.text"],
    "study": [
        "arguments",
        "budget",
        "declared",
        "hyperparameters",
        "messages",
        "price",
        "published",
        "results",
        "spec",
        "study_record",
        "writing",
    ],
    "trainables": [
        "cache_layout",
        "config",
        "errors",
        "fields",
        "keyed",
        "metrics",
        "place",
        "preprocess",
        "storage_errors",
        "unfreeze_depth",
    ],
}
# In analysis arithmetic knows of no study. What several findings share is confirmed/; findings and sections are peers.
SHELVES = {
    "analysis": {
        "statistics": [],
        "layout": [],
        "search": ["statistics"],
        "confirmed": ["statistics", "search"],
        "findings": ["statistics", "search", "confirmed", "layout", "sections"],
        "sections": ["statistics", "search", "confirmed", "layout", "findings"],
    },
    "study": {
        "definitions": [],
        "design": [],
        "persistence": ["design"],
        "schedule": ["persistence", "design"],
        "estimates": ["schedule", "persistence", "design"],
        "execution": ["schedule", "persistence", "estimates"],
        "tracking": ["estimates", "schedule", "persistence"],
        "products": ["schedule", "persistence"],
        "setup": ["execution", "tracking", "estimates", "persistence", "design"],
    },
    "trainables": {
        "data": [],
        "augmentation": [],
        "nets": ["augmentation"],
        "frozen": ["nets", "augmentation", "data"],
        "learning": ["frozen", "nets", "augmentation", "data"],
        "screening": ["learning", "frozen", "nets"],
    },
}
RAY = {
    "study/execution/actor.py",
    "study/execution/cluster.py",
    "study/execution/data_parallel.py",
    "study/execution/tuning.py",
    "study/schedule/sampling.py",
}


def imports(file: Path) -> Iterator[str]:
    """Every module that a file imports, wherever it does; of `from a import b` both a and a.b, b may be a module."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")


def files() -> list[str]:
    return sorted(file.relative_to(ROOT).as_posix() for room in ROOMS for file in (ROOT / room).rglob("*.py"))


@pytest.mark.parametrize("file", files())
def test_a_room_imports_only_what_lies_before_it(file: str) -> None:
    room = file.split("/")[0]
    foreign = [name for name in imports(ROOT / file) if name.split(".")[0] in set(ROOMS) - {room}]
    over = [name for name in foreign if not any(within(name, module) for module in ALLOWED[room])]
    assert not over, f"{file} imports {', '.join(over)}; {room} may import only {ALLOWED[room] or 'itself'}"
    assert "tests" not in {name.split(".")[0] for name in imports(ROOT / file)}


@pytest.mark.parametrize("file", [file for file in files() if file.count("/") > 1])
def test_a_shelf_imports_only_what_lies_before_it(file: str) -> None:
    room, shelf, *_ = file.split("/")
    before = [f"{room}.{name}" for name in (shelf, *SHELVES[room][shelf], *ENTRANCE[room])]
    foreign = [name for name in imports(ROOT / file) if within(name, room)]
    over = [name for name in foreign if not any(within(name, module) or within(module, name) for module in before)]
    assert not over, f"{file} imports {', '.join(over)}; {room}/{shelf} may import only {', '.join(before)}"


@pytest.mark.parametrize("file", files())
def test_ray_is_known_in_five_files_only(file: str) -> None:
    assert file in RAY or "ray" not in {name.split(".")[0] for name in imports(ROOT / file)}


@pytest.mark.parametrize(
    ("file", "expected"),
    [("results.py", ["study.study_record.StudyRecord", "trainables.metrics"]), ("study_record.py", [])],
)
def test_the_format_of_a_study_depends_on_nothing_that_runs_one(file: str, expected: list[str]) -> None:
    assert [name for name in imports(ROOT / "study" / file) if name.split(".")[0] in ROOMS] == expected


def test_every_package_file_holds_at_most_a_docstring() -> None:
    for room in ROOMS:
        for file in (ROOT / room).rglob("__init__.py"):
            if file != ROOT / "study" / "__init__.py":  # `from study import Study, run`
                assert len(ast.parse(file.read_text()).body) <= 1, file


def loaded_by(code: str, cwd: Path) -> set[str]:
    """Which of the heavy packages a fresh Python has loaded at the end of `code`."""
    heavy = "print('\\nloaded:', *sorted({'torch', 'timm', 'ray', 'optuna', 'torchvision'} & set(sys.modules)))"
    command = [sys.executable, "-c", f"import sys\n{code}\n{heavy}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=cwd, timeout=PATIENCE)
    return set(done.stdout.splitlines()[-1].removeprefix("loaded:").split())


def test_arguments_and_study_files_are_checked_without_torch_timm_or_ray(tmp_path: Path) -> None:
    write_study(tmp_path, "STUDY = 3\n")
    calls = [
        (0, ["--list"]),
        (0, ["--new", "folder", "mine.py"]),
        (2, ["digits", "--trails", "3"]),
        (2, ["digits", "--trials", "0"]),
        (2, ["dgos"]),
        (2, ["tiny.py"]),
        (2, []),
    ]
    code = f"from study.run import main\nassert [main(each) for _, each in {calls!r}] == {[s for s, _ in calls]!r}"
    assert loaded_by(code, tmp_path) == set()


def test_the_report_needs_neither_torch_nor_ray(tmp_path: Path) -> None:
    assert loaded_by("import analysis.report", tmp_path) == set()
