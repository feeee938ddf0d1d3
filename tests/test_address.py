"""--address: a study on a Ray that somebody else started."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

from tests.tiny import PATIENCE, STUDY_FILE, run, write_study


@pytest.fixture
def cluster() -> Iterator[str]:
    """A Ray that somebody else started, with a home of its own; its address."""
    home = mkdtemp(prefix="rc")
    start = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--port=0", "--num-cpus=2", "--block"]
    options = ["--include-dashboard=false", "--object-store-memory=100000000", f"--temp-dir={home}/ray"]
    environment = os.environ | {"HOME": home, "RAY_TMPDIR": home, "RAY_AUTH_MODE": "disabled"}
    with open(f"{home}/log", "w") as log:
        process = subprocess.Popen([*start, *options], stdout=log, stderr=log, env=environment, start_new_session=True)
    try:
        current = Path(home, "ray", "ray_current_cluster")
        deadline = time.monotonic() + PATIENCE
        while not current.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        assert current.exists(), Path(home, "log").read_text()
        yield current.read_text().strip()
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # all of it: `ray start` made a group of its own
        process.wait()
        print(Path(home, "log").read_text())  # why it ended, if it did before its time
        shutil.rmtree(home, ignore_errors=True)


def test_address_joins_a_cluster_and_leaves_it_running(
    cluster: str, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = write_study(tmp_path, STUDY_FILE.replace("refine=2", "refine=1"))
    here = [small, "--data", shared / "pictures", "--cache", tmp_path / "cache", "--trials", 2, "--epochs", 1]
    monkeypatch.setenv("RAY_ADDRESS", cluster)
    done = run(*here, "--seeds", 1, "--address", "auto", "--out", tmp_path / "joined")
    assert "report.html" in done.stdout
    assert (tmp_path / "joined" / "best" / "model.safetensors").exists()
    monkeypatch.delenv("RAY_ADDRESS")
    done = run(*here, "--address", cluster, "--cpus-per-trial", 3, "--out", tmp_path / "no", expect=2)
    assert done.stderr == "--cpus-per-trial must be at most the 2 available CPUs, but got 3.\n"
    assert not (tmp_path / "no").exists()
