"""What the command line says and in which words: commands to paste, streams, homes, versions, and runs from Python."""

import os
import pwd
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from study.arguments import command, parse, shown
from study.design.load import load
from study.driver import begun
from study.estimates.resources import plan_resources
from study.execution import machines
from study.execution.machines import Machines
from study.messages import log, set_verbosity
from study.run import main
from tests.tiny import PATIENCE, write_study
from trainables.errors import InputError


def test_the_recorded_command_can_be_pasted_into_a_shell() -> None:
    given = ["my study.py", "--out", "runs/ü 1", "--resume"]
    assert shlex.split(command(given)) == ["python", "-m", "study.run", *given]


def as_bash_reads(line: str) -> list[bytes]:
    """The words of a command line."""
    said = subprocess.run(["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True).stdout
    return said.split(b"\0")[:-1]


@pytest.mark.parametrize("name", ["caf\udce9", "two\nlines", "it's \x1b[2J\\", "ü 1", "-", "$HOME"])
def test_a_name_that_cannot_be_printed_can_be_pasted_too(name: str) -> None:
    line = command([name, "--resume"])
    assert line.isprintable()
    assert as_bash_reads(line)[3:] == [os.fsencode(name), b"--resume"]


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A virtual environment's Python, whose folder is on no PATH, below the working folder."""
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setenv("PATH", "/usr/bin")
    return python


def test_a_command_is_shown_with_the_python_that_runs(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown("study.run", "digits") == "venv/bin/python -m study.run digits"
    monkeypatch.chdir("/")
    assert shown("study.run", "digits") == f"{elsewhere.relative_to('/')} -m study.run digits"
    monkeypatch.chdir(elsewhere.parent)
    assert shown("study.run", "digits") == "./python -m study.run digits"
    monkeypatch.setenv("PATH", f"{elsewhere.parent}:/usr/bin")
    assert shown("study.run", "digits") == "python -m study.run digits"
    assert command(["digits"]) == "python -m study.run digits"  # what is recorded is for any machine


def test_another_python_of_that_name_is_not_the_one_that_runs(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(Path(elsewhere.readlink()).parent))  # what the environment's is a link to
    assert shown("study.run", "digits").startswith("venv/bin/python ")


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(user: int) -> None:
        raise KeyError(user)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name)


@pytest.mark.usefixtures("homeless")
def test_without_a_home_all_works_but_what_needs_a_cache(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert main(["--list"]) == 0
    capsys.readouterr()
    assert main([str(write_study(tmp_path))]) == 2
    assert re.fullmatch(r"--cache must name .* HOME or XDG_CACHE_HOME\.\n", capsys.readouterr().err)
    assert parse(["tiny.py", "--cache", "c"]).cache == Path("c")
    monkeypatch.setenv("XDG_CACHE_HOME", "/c%20")
    assert parse(["tiny.py"]).cache == Path("/c%20/study")
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert "/c%20/study" in capsys.readouterr().out


def test_names_of_a_study_are_utf_8(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    study = str(write_study(tmp_path))
    assert main([study, "--out", "caf\udce9"]) == 2
    assert "must be UTF-8, but got 'caf\\udce9': rename it" in capsys.readouterr().err
    (tmp_path / "caf\udce9").mkdir()
    monkeypatch.chdir(tmp_path / "caf\udce9")
    assert main([study]) == 2


@pytest.mark.parametrize("flags", [["--skip-preflight"], []])
def test_ray_is_there_before_anything_is_written(shared: Path, tmp_path: Path, flags: list[str]) -> None:
    def wait_for_ray() -> None:
        raise InputError("Ray cannot start.")

    given = [str(shared / "tiny.py"), "--data", str(shared / "pictures"), "--cache", str(tmp_path / "c"), *flags]
    machines = Machines(plan_resources(None, None, None, cpus=2, gpus=0), wait_for_ray, lambda _: False)
    whole = begun(load(given[0]), parse(given), machines, tmp_path / "out", given)
    with pytest.raises(InputError, match="Ray cannot start"), whole:
        pass
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments", ["--help", "--list"])
def test_a_reader_that_goes_is_told_nothing(arguments: str) -> None:
    line = f"{sys.executable} -m study.run {arguments} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=PATIENCE)
    assert done.stderr == ""
    assert done.returncode in (0, 141)  # where it was quicker than the reader, and as SIGPIPE ends a program


def test_what_a_stream_cannot_encode_is_printed_as_an_escape() -> None:
    code = "import sys; from study.writing import in_shell; sys.exit(in_shell(lambda _: print('é\\udce9')))"
    ascii_only = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ascii_only, check=True)
    assert done.stdout == "\\xe9\\udce9\n"


def test_version_is_printed_and_nothing_runs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert re.fullmatch(r"study-platform \S.*\n", capsys.readouterr().out)


def test_quiet_prints_no_progress_and_verbose_prints_each_step(capsys: pytest.CaptureFixture[str]) -> None:
    lines = {}
    for flags in ([], ["--quiet"], ["--verbose"]):
        parsed = parse(["digits", *flags])
        set_verbosity(parsed.quiet, parsed.verbose)
        log.debug("a step")
        log.info("a finding")
        log.warning("a warning")
        lines["".join(flags)] = capsys.readouterr().err.splitlines()
    set_verbosity(quiet=False, verbose=False)
    assert lines == {
        "": ["a finding", "a warning"],
        "--quiet": ["a warning"],
        "--verbose": ["a step", "a finding", "a warning"],
    }
    with pytest.raises(InputError, match="--quiet and --verbose contradict each other"):
        parse(["digits", "--quiet", "--verbose"])


def test_the_first_line_comes_before_ray_and_the_images(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def starting(warm: bool) -> None:
        raise InputError("Ray cannot start.")

    monkeypatch.setattr(machines, "starting", starting)
    given = [
        str(shared / "tiny.py"),
        "--data",
        "a\x1b[2J",
        "--out",
        str(tmp_path / "out"),
        "--cache",
        str(tmp_path / "c"),
    ]
    line = f"Starting study tiny with the images in a\\x1b[2J; results go to {tmp_path / 'out'}\n"
    assert main(given) == 2
    assert capsys.readouterr() == (line, "Ray cannot start.\n")
    assert main([*given, "--quiet"]) == 2
    assert capsys.readouterr() == ("", "Ray cannot start.\n")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert main(given) == 2
    assert capsys.readouterr() == ("", f"{line}Ray cannot start.\n")


def test_from_python_the_flags_are_those_of_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    from study import Study, run

    study = load("digits").study
    assert isinstance(study, Study)
    assert run("digits", dry_run=True, trials=8) is None
    named = capsys.readouterr().out
    assert " 8 search trials" in named
    assert run(study, name="digits", dry_run=True, trials=8) is None
    assert capsys.readouterr().out.splitlines()[:3] == named.splitlines()[:3]
    with pytest.raises(InputError, match="--trialz"):
        run("digits", trialz=8)
    with pytest.raises(InputError, match="--list and --new belong to the command line"):
        run("digits", list=True)
