"""A cluster one of whose nodes does not see what the others do: a real one, in a mount namespace of its own."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import mkdtemp

import pytest

from study.persistence.nodes import blind_to, check_nodes
from study.persistence.remote import connect
from tests.object_store import server, uri
from tests.test_remote_study import SMALL
from tests.tiny import PATIENCE, make_pictures, run, write_study
from trainables.errors import InputError

RAY = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--object-store-memory=100000000"]


def on_this_node(*others: str | None) -> Callable[..., Iterator[str | None]]:
    """As if the cluster had this node and some that answer so."""

    def asked(function: Callable[[Sequence[str]], str | None], places: Sequence[str]) -> Iterator[str | None]:
        assert all(Path(place).exists() for place in places)
        yield function(places)
        yield from others

    return asked


def test_a_node_is_blind_to_what_it_does_not_see(tmp_path: Path) -> None:
    assert blind_to([str(tmp_path)]) is None
    assert f"does not see the driver's {tmp_path / 'gone'}: use a folder" in str(
        blind_to([str(tmp_path), str(tmp_path / "gone")])
    )
    assert str(blind_to(["s3://bucket/x?colour=red"])).startswith("On node ")


def test_nodes_are_asked_for_what_the_driver_sees_and_nothing_stays_behind(tmp_path: Path) -> None:
    out = tmp_path / "not" / "yet"
    check_nodes(out, tmp_path / "no images", on_this_node(None))
    with pytest.raises(InputError, match="blind"):
        check_nodes(out, tmp_path, on_this_node(None, "blind"))
    assert not list(tmp_path.iterdir())


@contextmanager
def ray_node(home: str, *options: str, around: Sequence[str] = ()) -> Iterator[None]:
    environment = os.environ | {"HOME": home, "RAY_TMPDIR": home, "RAY_AUTH_MODE": "disabled"}
    with open(f"{home}/log", "a") as log:
        process = subprocess.Popen(
            [*around, *RAY, *options], stdout=log, stderr=log, env=environment, start_new_session=True
        )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # all of it: `ray start` made a group of its own
        process.wait()


@pytest.fixture
def hidden(tmp_path: Path) -> Path:
    """A folder that the cluster's only worker sees empty."""
    (tmp_path / "hidden").mkdir()
    return tmp_path / "hidden"


@pytest.fixture
def cluster(hidden: Path) -> Iterator[str]:
    """The address of a head without trials and one worker, for which another file system hides `hidden`."""
    mount = 'mount -t tmpfs none "$0" && exec "$@"'
    hide = ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, str(hidden)]
    if shutil.which("unshare") is None or subprocess.run([*hide, "true"], check=False).returncode != 0:
        pytest.skip("it needs unshare, and the right to make user and mount namespaces")
    homes = [mkdtemp(prefix="rc") for _ in range(2)]
    try:
        with ExitStack() as nodes:
            ray = ["--head", "--port=0", "--num-cpus=0", "--include-dashboard=false", f"--temp-dir={homes[0]}/ray"]
            nodes.enter_context(ray_node(homes[0], *ray))
            current, deadline = Path(homes[0], "ray", "ray_current_cluster"), time.monotonic() + PATIENCE
            while not current.exists() and time.monotonic() < deadline:
                time.sleep(0.1)
            address = current.read_text().strip()
            nodes.enter_context(ray_node(homes[1], f"--address={address}", "--num-cpus=1", around=hide))
            wait_for_cpu(address)
            yield address
    finally:
        for home in homes:
            shutil.rmtree(home, ignore_errors=True)


def wait_for_cpu(address: str) -> None:
    code = "import ray, sys, time\nray.init(address=sys.argv[1], log_to_driver=False, logging_level='ERROR')\n"
    code += "while not ray.cluster_resources().get('CPU'): time.sleep(0.1)"
    environment = os.environ | {"RAY_AUTH_MODE": "disabled"}
    subprocess.run([sys.executable, "-c", code, address], check=True, timeout=PATIENCE, env=environment)


@pytest.mark.cluster
def test_a_folder_that_a_node_does_not_see_is_refused_and_an_address_serves(
    cluster: str, hidden: Path, tmp_path: Path
) -> None:
    pictures = make_pictures(tmp_path / "pictures", 10)
    there = [write_study(tmp_path, SMALL), "--address", cluster, "--cache", hidden / "cache", "--skip-preflight"]
    done = run(*there, "--data", pictures, "--out", hidden / "out", expect=2)
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("Every node must see --out and --data, but ")
    assert f"does not see the driver's {hidden}: use a folder that all nodes share, or s3://" in done.stderr
    assert not list(hidden.iterdir())
    make_pictures(hidden / "pictures", 10)
    done = run(*there, "--data", hidden / "pictures", "--out", tmp_path / "out", expect=2)
    assert f"does not see the driver's {hidden / 'pictures'}" in done.stderr
    assert not (tmp_path / "out").exists()
    with server() as endpoint:  # nothing of the driver's cache, nor of its mirror, is seen by the trials
        out = uri(endpoint, "cluster")
        run(*there, "--data", pictures, "--out", out)
        remote = connect(out)
        assert {"report.html", "best", "predictions.parquet"} <= remote.names()
        assert not remote.listing("checkpoints")
