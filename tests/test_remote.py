"""A study whose --out is an address: on a real S3 server."""

import json
import os
import re
import signal
import socket
import time
from pathlib import Path

import pytest

from study import fetch
from study.persistence import lease, ledger, storage
from study.persistence.lease import sole_remote_driver
from study.persistence.ledger import Verdict
from study.persistence.remote import connect, is_uri, parse_place
from study.run import main
from study.schedule.state import StudyState
from tests.courses import BONUS, SMALLEST, begin, drive, killed, row, small_study
from tests.object_store import uri
from tests.tiny import PATIENCE
from trainables.errors import InputError


@pytest.fixture
def address(endpoint: str, request: pytest.FixtureRequest) -> str:
    """An address where nothing lies yet."""
    return uri(endpoint, f"studies/{request.node.name.replace('[', '-').strip(']')}")


def fresh(address: str, folder: Path) -> Path:
    """The remote as a driver on a new machine finds it."""
    names = connect(address).names()
    storage.mirror(folder, address, names - {storage.CHECKPOINTS})
    return folder


def test_objects_are_listed_read_and_deleted_by_name(address: str) -> None:
    remote = connect(address)
    assert remote.listing() == {}
    assert remote.read("a/b.json") is None
    remote.write("a/b.json", b"1")
    remote.write("a/b.json", b"23")
    remote.write("c", b"")
    assert remote.names() == {"a", "c"}
    assert {name: info.size for name, info in remote.listing().items()} == {"a/b.json": 2, "c": 0}
    assert set(remote.listing("a")) == set(remote.listing("a/b.json")) == {"a/b.json"}
    remote.delete("c")
    remote.delete("c")
    assert remote.read("c") is None
    assert remote.read("a/b.json") == b"23"


def test_what_is_put_is_there_and_a_pull_makes_the_mirror_as_the_remote_is(address: str, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for folder in (ours, theirs):
        storage.mirror(folder, address)
    (theirs / "models").mkdir()
    (theirs / "models" / "stale").write_text("of a study that was deleted")
    (ours / "models" / "deep").mkdir(parents=True)
    for name in ("models/one", "models/deep/two"):
        (ours / name).write_text(name)
        storage.put(ours / name)
    storage.pull(theirs, "models", "nothing")
    found = {path.relative_to(theirs).as_posix(): path.read_text() for path in theirs.rglob("*") if path.is_file()}
    assert found == {"models/one": "models/one", "models/deep/two": "models/deep/two"}
    (ours / "models" / "one").write_text("models/1st")  # as many bytes
    time.sleep(1.1)  # S3 tells seconds
    storage.put(ours / "models" / "one")
    storage.drop(ours / "models" / "deep" / "two")
    storage.pull(theirs, "models")
    assert [path.read_text() for path in theirs.rglob("*") if path.is_file()] == ["models/1st"]


def test_a_push_brings_what_changed_and_deletes_what_is_gone(address: str, tmp_path: Path) -> None:
    storage.mirror(tmp_path, address)
    for name in ("report.md", "study.json", ".ray/state", "ledger/plan/000.json", "tensorboard/a", "tensorboard/b"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    storage.push(tmp_path)
    remote = connect(address)
    assert set(remote.listing()) == {"report.md", "study.json", "tensorboard/a", "tensorboard/b"}
    remote.write("report.md", b"somebody else's")
    (tmp_path / "tensorboard" / "a").unlink()
    (tmp_path / "tensorboard" / "b").write_text("longer than it was")
    storage.push(tmp_path)
    assert set(remote.listing()) == {"report.md", "study.json", "tensorboard/b"}
    assert remote.read("tensorboard/b") == b"longer than it was"
    assert remote.read("report.md") == b"somebody else's"  # it did not change here


def test_a_local_folder_is_no_mirror(tmp_path: Path) -> None:
    ledger.write_report(tmp_path, "t", 1, row(1, 0.5))
    storage.push(tmp_path)
    storage.pull(tmp_path, "ledger")
    storage.drop(tmp_path / "ledger" / "reports" / "t" / "0001-01.json")
    assert ledger.read_reports(tmp_path, "t") == ({}, 0)
    assert storage.uri_of(tmp_path) is None


def test_the_ledger_is_read_on_another_machine_as_it_was_written(address: str, tmp_path: Path) -> None:
    here = fresh(address, tmp_path / "here")
    ledger.write_report(here, "search-0001", 1, row(1, 0.5))
    ledger.write_report(here, "search-0001", 2, row(2, 0.25))
    ledger.write_verdict(here, 0, Verdict("search-0001", 2, 0.25, False))
    ledger.write_end(here, "search-0001", "stopped")
    ledger.write_opening(here, {"confirm-1": "abc"})
    there = fresh(address, tmp_path / "there")
    assert ledger.read_reports(there, "search-0001") == ({1: row(1, 0.5), 2: row(2, 0.25)}, 2)
    assert ledger.read_verdicts(there) == [Verdict("search-0001", 2, 0.25, False)]
    assert ledger.read_end(there, "search-0001") == ("stopped", "")
    assert ledger.read_openings(there) == [{"confirm-1": "abc"}]


def rows_of(course: StudyState) -> dict[str, object]:
    return {trial: (record.status, record.rows) for trial, record in course.records.items()}


@pytest.mark.parametrize("lives", [33, 90])
def test_killed_anywhere_and_gone_on_with_on_an_empty_machine(lives: int, address: str, tmp_path: Path) -> None:
    study = small_study(budget=SMALLEST)
    undisturbed = begin(tmp_path / "undisturbed", study)
    drive(undisturbed, BONUS)
    assert killed(begin(fresh(address, tmp_path / "first"), study), BONUS, lives)
    again = begin(fresh(address, tmp_path / "second"), study)
    drive(again, BONUS)
    assert rows_of(again) == rows_of(undisturbed)
    assert rows_of(begin(fresh(address, tmp_path / "third"), study)) == rows_of(undisturbed)
    assert len(ledger.read_openings(tmp_path / "third")) == 1


def test_a_trial_brings_its_things_to_a_node_and_leaves_none_there(address: str, tmp_path: Path) -> None:
    remote = connect(address)
    remote.write("manifest.parquet", b"pictures")
    remote.write("checkpoints/a", b"epoch 3")
    remote.write("checkpoints/b", b"of another trial")
    node = storage.home(address, tmp_path) / "node"
    (node / "checkpoints").mkdir(parents=True)
    (node / "checkpoints" / "a").write_text("epoch 2")
    with storage.on_node(address, tmp_path, "manifest.parquet", "checkpoints/a", "models/a") as folder:
        assert folder == node
        assert (folder / "checkpoints" / "a").read_text() == "epoch 3"
        assert not (folder / "checkpoints" / "b").exists()
        (folder / "models").mkdir()
        (folder / "models" / "a").write_text("learned")
        storage.put(folder / "models" / "a")
    assert [path.name for path in node.rglob("*") if path.is_file()] == ["manifest.parquet"]
    assert remote.read("models/a") == b"learned"
    with storage.on_node(str(tmp_path), tmp_path, "manifest.parquet", "kept") as folder:
        (folder / "kept").write_text("of a folder that all nodes see")
    assert (tmp_path / "kept").exists()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "BEAT", 0.1)
    monkeypatch.setattr(lease, "SILENT", 1.0)


@pytest.mark.usefixtures("quick")
def test_who_comes_later_is_refused_while_a_driver_lives(address: str) -> None:
    message = f"is in use: process {os.getpid()} on {socket.gethostname()} runs its study"
    with sole_remote_driver(connect(address), "one"):
        with pytest.raises(InputError, match=message), sole_remote_driver(connect(address), "two"):
            pass
        assert set(connect(address).listing(lease.DRIVERS)) == {"drivers/one.json"}
    with sole_remote_driver(connect(address), "two"):
        pass
    assert connect(address).listing() == {}


@pytest.mark.usefixtures("quick")
def test_a_driver_that_died_is_waited_for_and_buried(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    remote = connect(address)
    remote.write("drivers/dead.json", json.dumps({"host": "gone", "pid": 1, "beat": 7}).encode())
    with sole_remote_driver(remote, "heir"):
        assert set(remote.listing(lease.DRIVERS)) == {"drivers/heir.json"}
    assert "waiting 1 s for it to renew its lease" in capsys.readouterr().err


@pytest.mark.usefixtures("quick")
def test_the_same_machine_waits_for_nobody(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    remote = connect(address)
    remote.write("drivers/me.json", b"{}")  # killed, and begun again under the lock of the file system
    monkeypatch.setattr(lease, "SILENT", 1e9)
    with sole_remote_driver(remote, "me"):
        pass


@pytest.mark.usefixtures("quick")
def test_a_driver_that_was_taken_over_ends_itself(address: str) -> None:
    heard = []
    before = signal.signal(signal.SIGTERM, lambda *_: heard.append("end"))
    try:
        with sole_remote_driver(connect(address), "sleeper"):
            connect(address).delete("drivers/sleeper.json")
            deadline = time.monotonic() + PATIENCE
            while not heard and time.monotonic() < deadline:
                time.sleep(0.05)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == ["end"]


def test_addresses_are_told_from_folders_and_carry_no_credentials() -> None:
    assert parse_place("runs/dogs") == Path("runs/dogs")
    assert parse_place("file:///shared/dogs") == Path("/shared/dogs")
    for good in ("s3://bucket/a:b@c", "gs://bucket/dogs", "hdfs://host:9000/a@b", "s3://b/x?region=eu-west-1"):
        assert parse_place(good) == good
        assert is_uri(good)
    for bad in ("s3://KEY:SECRET@b/x", "s3://KEY:SEC/RET@b/x", "s3://KEY:@b/x", "s3://b/x?secret_key=SECRET@"):
        with pytest.raises(InputError, match="must not contain credentials") as error:
            parse_place(bad)
        assert "KEY:" not in str(error.value)
        assert "SECRET@" not in str(error.value)


def error_of(shared: Path, out: str, capsys: pytest.CaptureFixture[str], *flags: object) -> str:
    """The one line that is said of this --out."""
    arguments = [shared / "tiny.py", "--data", shared / "pictures", "--cache", shared / "cache", "--out", out, *flags]
    assert main(list(map(str, arguments))) == 2
    shown = capsys.readouterr()
    assert shown.err.count("\n") == 1
    return shown.err


def test_places_where_no_study_can_be_written(
    endpoint: str, shared: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
    began = time.monotonic()
    assert "cannot be read" in error_of(shared, uri(nobody, "x"), capsys)
    assert time.monotonic() - began < 20
    assert "bucket does not exist" in error_of(shared, uri(endpoint, "x", "nowhere"), capsys)
    assert "with no other options than" in error_of(shared, "s3://bucket/x?colour=red", capsys)
    assert "cannot be used" in error_of(shared, "gopher://hole/x", capsys)
    assert "must not contain credentials" in error_of(shared, "s3://KEY:SECRET@bucket/x", capsys)
    assert "--data: must be a local folder" in error_of(
        shared, uri(endpoint, "x"), capsys, "--data", "s3://bucket/pictures"
    )
    (shared / "file").write_text("")
    assert "--cache" in error_of(shared, uri(endpoint, "x"), capsys, "--cache", shared / "file")
    connect(uri(endpoint, "taken")).write("letter.txt", b"mine")
    assert "holds other files" in error_of(shared, uri(endpoint, "taken"), capsys, "--resume")
    connect(uri(endpoint, "begun")).write("study.json", b"{}")
    assert "already holds a study" in error_of(shared, uri(endpoint, "begun"), capsys)


def test_without_credentials(endpoint: str, shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.delenv(name)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setattr("moto.settings.INITIAL_NO_AUTH_ACTION_COUNT", 0)  # from here on it asks who one is
        said = error_of(shared, uri(endpoint, "x"), capsys)
    assert "ACCESS_DENIED" in said or "credentials" in said.lower()


def test_fetch_brings_a_study_into_a_folder(address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    remote = connect(address)
    for name in ("study.json", "best/model.safetensors", "models/a.safetensors", "drivers/me.json"):
        remote.write(name, name.encode())
    folder = tmp_path / "here"
    for _ in range(2):
        assert fetch.main([address, str(folder)]) == 0
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == {"study.json", "best/model.safetensors"}
    capsys.readouterr()
    (tmp_path / "mine").write_text("letter")
    for arguments, said in (
        ([address.replace("?", "x?"), folder], "holds no study"),
        ([address, tmp_path], "holds other files"),
        ([folder, folder], "must be the address"),
    ):
        assert fetch.main(list(map(str, arguments))) == 2
        assert said in capsys.readouterr().err


def test_a_dry_run_reads_what_is_left_of_a_remote_study_and_writes_nothing(
    endpoint: str, shared: Path, begun: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, flags = uri(endpoint, "left"), ["--data", shared / "pictures", "--cache", shared / "cache"]
    arguments = list(map(str, [shared / "tiny.py", *flags, "--out", out, "--dry-run", "--resume"]))
    assert main(arguments) == 0  # nothing there yet: the whole study
    assert "16 search trials" in capsys.readouterr().out
    remote = connect(out)
    for file in begun.rglob("*"):
        if file.is_file():
            remote.upload(file, file.relative_to(begun).as_posix())
    remote.write("models/confirm-1.predictions.parquet", b"")
    before = remote.listing().keys()
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert re.search(r"^search +0 trials finished, +16 left", text, re.MULTILINE)
    assert re.search(r"^test +1 models finished, +8 left", text, re.MULTILINE)
    assert remote.listing().keys() == before
