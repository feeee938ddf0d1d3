"""What a shell offers after TAB, asked of bash itself."""

import subprocess
from pathlib import Path

import pytest

from study.arguments import Parser
from study.run import main
from tests.tiny import PATIENCE


def offered(script: str, words: list[str], folder: Path) -> set[str]:
    """What bash offers for the last of these words, in `folder`."""
    given = " ".join(f"'{word}'" for word in words)
    ask = f"COMP_WORDS=({given}); COMP_CWORD={len(words) - 1}; $function; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    find = "function=$(complete -p study-run | sed 's/.*-F \\([^ ]*\\).*/\\1/')"
    command = ["bash", "--norc", "-c", f"{script}\n{find}\n{ask}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=PATIENCE)
    return set(done.stdout.split())


@pytest.fixture
def script(capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["--print-completion", "bash"])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_bash_offers_studies_study_files_flags_and_folders(script: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("")
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "images").mkdir()
    assert {"dogs", "dog_breeds"} <= offered(script, ["study-run", "do"], tmp_path)
    assert offered(script, ["study-run", "m"], tmp_path) == {"mine.py"}
    assert offered(script, ["study-run", "digits", "--dry"], tmp_path) == {"--dry-run"}
    assert offered(script, ["study-run", "folder", "--data", ""], tmp_path) == {"images"}


def test_zsh_gets_the_studies_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--print-completion", "zsh"])
    printed = capsys.readouterr().out
    assert printed.startswith("#compdef study-run")
    assert "_values study cars cats_vs_dogs digits" in printed


def test_the_script_is_for_the_installed_command_of_every_module(capsys: pytest.CaptureFixture[str]) -> None:
    parser = Parser(prog="python -m study.export_onnx")
    parser.add_argument("out", metavar="OUT")
    with pytest.raises(SystemExit):
        parser.parse_args(["--print-completion", "bash"])
    assert capsys.readouterr().out.rstrip().endswith(" study-export-onnx")
