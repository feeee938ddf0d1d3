"""Every command of the README runs, in its order, on small images and with a small budget."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from study.arguments import parse
from tests.tiny import PATIENCE, make_pictures

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
COMMANDS = [
    line.partition("#")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
]
STUDY = re.search(r"```python\n(.*?)```", README, re.DOTALL)
SMALL = "budget=Budget(trials=2, epochs=1, refine=1, seeds=1)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a reader would stand: with images, and the study that the README prints."""
    folder = tmp_path_factory.mktemp("reader")
    make_pictures(folder / "pictures")
    make_pictures(folder / "pictures_of_birds").rename(folder / "birds")
    return folder


def test_every_command_is_understood() -> None:
    assert len(COMMANDS) >= 8
    studies = [shlex.split(text)[3:] for text in COMMANDS if "-m study.run " in text]
    assert len(studies) >= 6
    for arguments in studies:
        parse(arguments)
    for text in COMMANDS:
        if text.startswith("make "):
            assert _run(["make", "--dry-run", *text.split()[1:]], ROOT).strip()


@pytest.mark.long
@pytest.mark.timeout(1800)  # half a dozen starts of the command line, four of them of Ray
def test_commands(folder: Path) -> None:
    for text in COMMANDS:
        words = shlex.split(text.replace("pictures/birds", "birds"))
        if words[0] == "make":  # what they do is what CI does
            continue
        if words[0].endswith("tensorboard"):
            _serves(words, folder)
        else:
            _run([sys.executable, *_smaller(words[1:])], folder)
        if "--new" in words:
            assert STUDY is not None
            small = re.sub(r"budget=Budget\(.*?\)", SMALL, STUDY[1]).replace("[96, 160]", "[32, 48]")
            (folder / "birds.py").write_text(small)
    assert (folder / "runs" / "birds" / "report.html").exists()
    assert (folder / "runs" / "digits" / "best" / "config.json").exists()


def _smaller(words: list[str]) -> list[str]:
    """The same command with a budget of seconds."""
    words = ["3" if word == "72" else word for word in words]
    if words[:3] == ["-m", "study.run", "digits"] and "--dry-run" not in words:
        words += ["--trials", "2", "--epochs", "1", "--refine", "1", "--seeds", "1", "--cache", "cache"]
    return words


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=os.environ.copy(), timeout=PATIENCE)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def _serves(words: list[str], folder: Path) -> None:
    """TensorBoard says its address once it serves; it is then ended."""
    command = [str(Path(sys.executable).with_name("tensorboard")), *words[1:], "--port", "0"]
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True, env=os.environ.copy())
    assert process.stderr is not None
    try:
        assert any("http://localhost" in line for line in process.stderr)
    finally:
        process.kill()
        process.wait()
