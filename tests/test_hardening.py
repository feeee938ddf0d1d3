"""What keeps strangers out: tokens, readers under random bytes, and the audit of the pinned versions."""

import os
import re
from pathlib import Path

import pytest

from study.execution import cluster
from tests import fuzz


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user who has no Ray yet; what is set in the environment is taken back."""
    monkeypatch.setattr(os, "environ", {"HOME": str(tmp_path)})
    return tmp_path


def test_a_ray_of_our_own_has_a_token_of_its_own_that_no_file_holds(home: Path) -> None:
    tokens = set()
    for _ in range(2):
        cluster._prepare_environment(None)
        assert os.environ["RAY_AUTH_MODE"] == "token"
        assert re.fullmatch("[0-9a-f]{64}", os.environ["RAY_AUTH_TOKEN"])
        tokens.add(os.environ["RAY_AUTH_TOKEN"])
    assert len(tokens) == 2
    assert not list(home.iterdir())


@pytest.mark.parametrize(
    ("given", "file", "mode"),
    [
        ({}, False, "disabled"),
        ({}, True, "token"),
        ({"RAY_AUTH_TOKEN": "x"}, False, "token"),
        ({"RAY_AUTH_MODE": "disabled"}, True, "disabled"),
    ],
)
def test_a_cluster_is_joined_with_what_the_user_has(home: Path, given: dict[str, str], file: bool, mode: str) -> None:
    os.environ.update(given)
    if file:
        (home / ".ray").mkdir()
        (home / ".ray/auth_token").write_text("x")
    cluster._prepare_environment("auto")
    assert os.environ["RAY_AUTH_MODE"] == mode
    assert os.environ.get("RAY_AUTH_TOKEN") == given.get("RAY_AUTH_TOKEN")


def test_a_second_of_random_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz.main(["--seconds", "1", "--seed", "3"]) == 0
    assert re.search(r"archives .*images .*ledgers ", capsys.readouterr().out)


def test_a_reader_that_lets_something_through_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(archive: Path, into: Path) -> None:
        into.mkdir()
        (into.parent / "outside").write_bytes(b"")

    monkeypatch.setattr(fuzz, "extract", careless)
    with pytest.raises(AssertionError) as found:
        fuzz.main(["--seconds", "5"])
    assert "archives" in found.value.__notes__[0]
