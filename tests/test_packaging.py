"""The wheel holds the four rooms with all they need, and its commands work from any folder."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml

from tests.tiny import PATIENCE

ROOT = Path(__file__).parent.parent
ROOMS = ("analysis", "search_spaces", "study", "trainables")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the sources by the build backend that pyproject.toml names."""
    source = tmp_path_factory.mktemp("source")
    for room in (*ROOMS, "tests"):
        shutil.copytree(ROOT / room, source / room)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    built = tmp_path_factory.mktemp("wheel")
    code = f"from setuptools.build_meta import build_wheel; build_wheel({str(built)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=source, check=True, capture_output=True, timeout=PATIENCE)
    return next(built.glob("*.whl"))


@pytest.fixture(scope="module")
def scripts(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the commands in a new environment that holds the wheel, with the packages of this one behind it."""
    environment = tmp_path_factory.mktemp("installed") / "venv"
    python = environment / "bin" / "python"
    subprocess.run([sys.executable, "-m", "virtualenv", "--quiet", "--no-download", environment], check=True)
    install = [python, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", wheel]
    subprocess.run(install, check=True, timeout=PATIENCE)
    site = next(environment.glob("lib/python3*/site-packages"))
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib"))  # behind the wheel's own modules on sys.path
    return environment / "bin"


def test_the_wheel_holds_every_file_of_the_four_rooms_and_nothing_else(wheel: Path) -> None:
    inside = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = {path for room in ROOMS for path in (ROOT / room).rglob("*") if path.is_file()}
    assert inside == {path.relative_to(ROOT).as_posix() for path in files if path.parent.name != "__pycache__"}
    assert {f"{room}/py.typed" for room in ROOMS} <= inside
    assert {"analysis/layout/report.html", "analysis/notebooks/explore.ipynb"} <= inside


@pytest.mark.parametrize("name", PROJECT["scripts"])
def test_every_command_runs_from_a_folder_elsewhere(name: str, scripts: Path, tmp_path: Path) -> None:
    assert _run([scripts / name, "--help"], tmp_path).startswith("usage:")


def test_the_installed_command_lists_the_studies_and_copies_one(scripts: Path, tmp_path: Path) -> None:
    where = _run([scripts / "python", "-c", "import study.run as module; print(module.__file__)"], tmp_path)
    assert Path(where).is_relative_to(scripts.parent), "the checkout was imported instead of the wheel"
    assert _run([scripts / "study-run", "--list"], tmp_path).startswith("cars ")
    _run([scripts / "study-run", "--new", "folder", "mine.py"], tmp_path)
    assert "STUDY = Study(" in (tmp_path / "mine.py").read_text()


def test_the_version_is_the_newest_in_the_changelog() -> None:
    released = re.findall(r"^## \[([\d.]+)\] - (\d{4}-\d{2}-\d{2})$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    versions = [tuple(map(int, version.split("."))) for version, _ in released]
    assert released[0][0] == PROJECT["version"]
    assert versions == sorted(set(versions), reverse=True)
    dates = [date for _, date in released]
    assert dates == sorted(dates, reverse=True)
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["version"], citation["date-released"]) == released[0]


def _run(command: list[str | Path], folder: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout
