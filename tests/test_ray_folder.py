"""Where a Ray of our own keeps its sockets."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from study.execution.ray_folder import ray_folder
from trainables.errors import InputError

# As Ray names it; 107 bytes are what the path of a socket may have.
SOCKET = "session_2026-11-27_21-49-44_958261_4194304/sockets/plasma_store"


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A short folder that is the user's choice for Ray."""
    with tempfile.TemporaryDirectory(prefix="rf") as folder:
        monkeypatch.setenv("RAY_TMPDIR", folder)
        yield Path(folder)


def test_it_is_rays_own_where_that_can_be_used(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/nonexistent")
    with ray_folder() as folder:
        assert folder == base / "ray"
    monkeypatch.delenv("RAY_TMPDIR")
    monkeypatch.setenv("TMPDIR", str(base))
    with ray_folder() as folder:
        assert folder == base / "ray"
    assert not list(base.iterdir())  # Ray makes it


@pytest.mark.parametrize("made", ["j" * 60, "é"])
def test_under_a_tmpdir_that_no_socket_can_lie_in_it_is_elsewhere(
    base: Path, monkeypatch: pytest.MonkeyPatch, made: str
) -> None:
    (base / made).mkdir()
    monkeypatch.delenv("RAY_TMPDIR")
    for tmpdir in (str(base / made), str(base / "missing")):
        monkeypatch.setenv("TMPDIR", tmpdir)
        with ray_folder() as folder:
            assert base not in folder.parents
            assert len(os.fsencode(folder / SOCKET)) <= 107
            assert folder.parent.stat().st_mode & 0o077 == 0
    assert not list((base / made).iterdir())


def test_a_folder_of_ours_is_private_and_what_an_earlier_study_left_goes(base: Path) -> None:
    (base / "ray").write_text("no folder")
    with ray_folder() as one:
        assert one.parent == base / f"study-{os.getuid()}"
        assert one.parent.stat().st_mode & 0o777 == 0o700
        with ray_folder() as other:
            assert sorted(one.parent.iterdir()) == sorted([one, other])  # the first is in use
        (other / "log").write_text("kept for whoever wants to know")
    assert (other / "log").exists()
    with ray_folder() as third:
        assert list(third.parent.iterdir()) == [third]


def test_a_folder_that_others_may_write_to_is_none_of_ours(base: Path) -> None:
    (base / "ray").write_text("no folder")
    home = base / f"study-{os.getuid()}"
    home.mkdir(mode=0o777)
    home.chmod(0o777)
    with pytest.raises(InputError), ray_folder():
        pass
    assert not list(home.iterdir())


@pytest.mark.parametrize("name", ["j" * 60, "é"])
def test_a_choice_that_cannot_be_used_is_refused_with_nothing_written(
    base: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(base / name))
    with pytest.raises(InputError, match=r"set RAY_TMPDIR or TMPDIR to such a folder"), ray_folder():
        pass
    assert not list(base.iterdir())
