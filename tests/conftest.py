"""Every test gets a HOME and a temporary folder of its own; nothing of the user's is read or written."""

import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from study.arguments import parse
from study.design.load import load
from study.estimates.resources import Resources, plan_resources
from study.execution import machines
from study.run import main
from study.setup.prepare import Prepared, prepare_study
from study.setup.study_json import begin_study
from tests.tiny import MACHINE, Fails, Prepare, make_pictures, write_study

if TYPE_CHECKING:
    from tests.finished import Finished
from trainables.place import Place

# Machines are shared: how long an example takes says nothing of the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

# Files that run whole studies: first, the longest before the others, so that the two processes end together.
SLOW = (
    "test_studies.py",
    "test_readme.py",
    "test_study_run.py",
    "test_study_kinds.py",
    "test_interruptions.py",
    "test_benchmarks.py",
    "test_preflight.py",
    "test_kfold_run.py",
    "test_sharing.py",
    "test_address.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: SLOW.index(item.path.name) if item.path.name in SLOW else len(SLOW))


@pytest.fixture(scope="session", autouse=True)
def isolated() -> Iterator[Path]:
    # Short, because Ray puts sockets below it and a socket's path may have 107 characters.
    home = Path(tempfile.mkdtemp(prefix="st"))
    changed = {"HOME": str(home), "RAY_TMPDIR": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed, HF_HUB_OFFLINE="1")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets what it starts with & ignore Ctrl-C
    yield home
    for name, value in before.items():
        os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Small nets on a shared machine wait for each other's threads otherwise."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def restored_threads() -> Iterator[None]:
    """Restore PyTorch's number of threads, which a trial sets."""
    import torch

    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> "Finished":
    """A finished study, made once for each file of tests."""
    from tests.finished import finish

    return finish(tmp_path_factory.mktemp("finished"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Noisy images for a trial, with a cache that the tests of a module share."""
    from tests.images import make_place

    return make_place(tmp_path_factory.mktemp("study"))


@pytest.fixture
def fresh_place(tmp_path: Path) -> Place:
    """Noisy images for a trial, with an empty cache."""
    from tests.images import make_place

    return make_place(tmp_path)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """The address of an S3 server on loopback."""
    from tests.object_store import server

    with server() as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flags")
    make_pictures(folder / "pictures", 10)
    write_study(folder)
    return folder


@pytest.fixture
def ready(shared: Path, tmp_path: Path) -> Prepare:
    """The tiny study as these flags make it."""

    def prepared(*flags: object, study: object = None) -> tuple[Prepared, Resources]:
        chosen = parse([str(study or shared / "tiny.py"), "--data", str(shared / "pictures"), *map(str, flags)])
        asked = chosen.cpus_per_trial, chosen.gpus_per_trial, chosen.concurrent
        resources = plan_resources(*asked, *MACHINE, workers=chosen.workers_per_trial or 1)
        return prepare_study(load(chosen.study), chosen, resources, tmp_path / "out"), resources

    return prepared


@pytest.fixture(scope="module")
def begun(shared: Path) -> Path:
    """A study that was interrupted before its first trial."""
    out = shared / "begun"
    chosen = parse([str(shared / "tiny.py"), "--data", str(shared / "pictures"), "--cache", str(shared / "cache")])
    resources = Resources(cpus=1, gpus=0, concurrent=1)
    begin_study(prepare_study(load(chosen.study), chosen, resources, out), resources, "python -m study.run", None)
    return out


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in sorted(folder.rglob("*"))}


@pytest.fixture
def fails(shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Fails:
    """Run the tiny study with other arguments. It must fail with one matching line and write nothing."""

    def no_ray(*_: Any) -> None:
        raise AssertionError("something was to run")

    monkeypatch.setattr(machines, "joined", no_ray)
    monkeypatch.setattr(machines, "starting", lambda warm: nullcontext(no_ray))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)  # as on most machines, whatever this one's settings

    def check(pattern: str, *flags: object, study: object = None, **places: Path) -> None:
        given = {"data": shared / "pictures", "out": tmp_path / "out", "cache": tmp_path / "cache"} | places
        arguments = [str(study or shared / "tiny.py")]
        arguments += [text for name, path in given.items() for text in (f"--{name}", str(path))]
        before = contents(tmp_path), contents(shared)
        assert main([*arguments, *map(str, flags)]) == 2
        shown = capsys.readouterr()
        assert re.search(pattern, shown.err), shown.err
        assert shown.err.count("\n") == 1
        assert "Traceback" not in shown.err
        assert re.fullmatch(r"(Starting study .*|Resuming study .*)?\n?", shown.out)
        assert (contents(tmp_path), contents(shared)) == before

    return check
