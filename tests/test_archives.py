import contextlib
import functools
import hashlib
import http.server
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import trainables.data.archives
from tests.trees import make_tar, make_zip
from trainables.data.archives import Algorithm, check_hash, extract, fetch
from trainables.errors import InputError


def tree(folder: Path) -> dict[str, bytes]:
    files = (file for file in folder.rglob("*") if file.is_file() and not file.name.endswith(".lock"))
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


Make = Callable[[Path, dict[str, bytes]], Path]
MEMBERS = {"Images/a/1.jpg": b"one", "Images/b/2.jpg": b"two", "list.mat": b""}


@pytest.mark.parametrize(("name", "make"), [("x.zip", make_zip), ("x.tar", make_tar), ("x.tar.gz", make_tar)])
def test_members_land_in_the_folder_beside_what_is_there(tmp_path: Path, name: str, make: Make) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/other").write_bytes(b"stays")
    extract(make(tmp_path / name, MEMBERS), tmp_path / "data")
    assert tree(tmp_path / "data") == {**MEMBERS, "other": b"stays"}


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x", "a\\..\\x", "C:/x", ".."])
def test_members_that_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    for archive in (
        make_zip(tmp_path / "x.zip", {"good": b"", name: b""}),
        make_tar(tmp_path / "x.tar", {name: b""}),
    ):
        with pytest.raises(InputError, match=r"cannot be unpacked .*would leave the folder\): download it again"):
            extract(archive, tmp_path / "data")
        assert tree(tmp_path / "data") == {}, "nothing of it stays"


@given(names=st.lists(st.one_of(st.text(max_size=8), st.text("./ab\\", max_size=8)), max_size=4))
@settings(max_examples=60)
def test_no_name_writes_outside(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        archive = root / "x.tar"
        try:
            make_tar(archive, dict.fromkeys(names, b"x"))
        except UnicodeEncodeError:
            return
        with contextlib.suppress(InputError):
            extract(archive, root / "data")
        assert {file.name for file in root.iterdir()} == {"x.tar", "data"}
        assert not list((root / "data").glob("*.part"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    archive = make_tar(tmp_path / "x.tar", {"link": b""}, type=kind, linkname="/etc/passwd")
    with pytest.raises(InputError, match="'link' is a link or device"):
        extract(archive, tmp_path / "data")


def test_links_in_a_zip_are_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("link")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(InputError, match="'link' is a link or device"):
        extract(tmp_path / "x.zip", tmp_path / "data")


@pytest.mark.parametrize(("name", "make"), [("x.zip", make_zip), ("x.tar.gz", make_tar)])
def test_a_bomb_is_refused(tmp_path: Path, name: str, make: Make) -> None:
    archive = make(tmp_path / name, {"zeros": bytes(8 * 2**20)})
    assert archive.stat().st_size < 2**15
    with pytest.raises(InputError, match="would grow more than 100-fold"):
        extract(archive, tmp_path / "data")


def test_more_members_than_a_file_system_likes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainables.data.archives, "MAX_MEMBERS", 2)
    with pytest.raises(InputError, match="holds more than 2 members"):
        extract(make_tar(tmp_path / "x.tar", MEMBERS), tmp_path / "data")


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_what_cannot_be_read_is_an_input_error(tmp_path: Path, make: Make) -> None:
    archive = make(tmp_path / "x", {"a": bytes(range(256)) * 64})
    archive.write_bytes(archive.read_bytes()[: 200 if make is make_zip else 9000])
    for file in (archive, tmp_path / "missing.tar"):
        with pytest.raises(InputError, match=f"{file.name} cannot be unpacked into .*: download it again"):
            extract(file, tmp_path / "data")
    assert tree(tmp_path / "data") == {}


def test_rests_of_a_killed_run_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "data/.x.zip.part/Images").mkdir(parents=True)
    (tmp_path / "data/.x.zip.part/rest").write_bytes(b"old")
    extract(make_zip(tmp_path / "x.zip", MEMBERS), tmp_path / "data")
    assert tree(tmp_path / "data") == MEMBERS


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "site").mkdir()
    (tmp_path / "site/x.tar").write_bytes(b"content")
    handler = functools.partial(Quiet, directory=str(tmp_path / "site"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


MD5 = hashlib.md5(b"content").hexdigest()


def test_a_file_is_fetched_once_and_only_whole(site: str, tmp_path: Path) -> None:
    target = tmp_path / "data/x.tar"
    fetch(f"{site}/x.tar", target, "md5", MD5)
    assert target.read_bytes() == b"content"
    fetch("http://127.0.0.1:9/x.tar", target, "md5", MD5)  # it is there: nobody is asked
    target.write_bytes(b"other")
    with pytest.raises(InputError, match=f"must have the MD5 {MD5}, but has "):
        fetch(f"{site}/x.tar", target, "md5", MD5)


def test_a_wrong_hash_leaves_nothing(site: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"must have the MD5 {'0' * 32}, but has {MD5}"):
        fetch(f"{site}/x.tar", tmp_path / "x.tar", "md5", "0" * 32)
    assert [file.name for file in tmp_path.iterdir()] == ["site"]


def test_a_failed_download_names_the_address_and_the_place(site: str, tmp_path: Path) -> None:
    for url in (f"{site}/gone.tar", "http://127.0.0.1:9/x.tar"):
        with pytest.raises(InputError, match=f"^{url} cannot be downloaded .*: save it as {tmp_path}/x.tar by hand.$"):
            fetch(url, tmp_path / "x.tar", "md5", MD5)
    with pytest.raises(InputError, match="must start with http:// or https://, but got 'file:///etc/passwd'"):
        fetch("file:///etc/passwd", tmp_path / "x.tar", "md5", MD5)


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_the_hash_of_a_file(tmp_path: Path, algorithm: Algorithm) -> None:
    (tmp_path / "x").write_bytes(b"content")
    right = hashlib.new(algorithm, b"content").hexdigest()
    check_hash(tmp_path / "x", algorithm, right)
    with pytest.raises(
        InputError, match=f"x must have the {algorithm.upper()} ffff, but has {right}: download it again"
    ):
        check_hash(tmp_path / "x", algorithm, "ffff")
