"""Download untrusted archives, verify their hashes, and unpack them with limits."""

import hashlib
import os
import shutil
import stat
import tarfile
import tempfile
import urllib.request
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from filelock import FileLock

from trainables.errors import InputError

# ImageNet-1k has 1.4 million files. A larger archive would exhaust the file system's inodes.
MAX_MEMBERS = 2_000_000

# Compression ratios: about 1 for photographs, 50 for bitmaps of drawings, 1,000 and more for zeros.
MAX_RATIO = 100
SMALL = 2**20  # bytes allowed in addition, because small text files may compress more

_CHUNK = 2**20

Algorithm = Literal["md5", "sha256"]  # the publisher or a known loader chose it

# Name in the archive, declared size, content (None for a folder).
_Member = tuple[str, int, IO[bytes] | None]


class _Refused(ValueError):
    """The archive violates a limit; the message is the reason."""


def extract(archive: Path, into: Path) -> None:
    """Unpack the regular files and folders of a zip or tar into a folder.

    Everything is unpacked into a temporary folder first. Then every top-level entry is renamed into place.

    Raises:
        InputError: The archive is corrupt or too large, holds links or devices, or has a path outside of the folder.
    """
    try:
        into.mkdir(parents=True, exist_ok=True)
        with FileLock(lock_file(archive)):
            part = into / f".{archive.name}.part"
            shutil.rmtree(part, ignore_errors=True)  # left from a killed run
            try:
                _unpack(archive, part)
                for entry in sorted(part.iterdir()):
                    os.replace(entry, into / entry.name)
            finally:
                shutil.rmtree(part, ignore_errors=True)
    except Exception as error:  # zipfile and tarfile pass on any error of their decompressors and parsers
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{archive} cannot be unpacked into {into} ({reason}): download it again.") from error


def extract_missing(data: Path, archive: str, brings: Sequence[str], md5: str | None = None) -> None:
    """Unpack an archive in the data folder, unless all entries that it `brings` exist already.

    Raises:
        InputError: The archive does not have the hash `md5`, or cannot be unpacked.
    """
    if (data / archive).is_file() and not all((data / name).exists() for name in brings):
        if md5:
            check_hash(data / archive, "md5", md5)
        extract(data / archive, data)


def lock_file(path: Path) -> Path:
    """Return a lock file outside of the data folder, because a rejected archive must leave nothing behind there."""
    name = hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"study-{name}.lock"


def check_hash(path: Path, algorithm: Algorithm, expected: str) -> None:
    """Check that a file is the one that was published.

    Raises:
        InputError: The file has a different hash.
    """
    with open(path, "rb") as stream:
        actual = hashlib.file_digest(stream, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
    if actual != expected:
        raise InputError(f"{path} must have the {algorithm.upper()} {expected}, but has {actual}: download it again.")


def fetch(url: str, target: Path, algorithm: Algorithm, expected: str) -> None:
    """Download to `target`, which appears only once its hash is verified; an existing file is not downloaded again.

    Raises:
        InputError: The download fails, or the file has the wrong hash.
    """
    if target.exists():
        return check_hash(target, algorithm, expected)
    part = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _open_url(url) as response, open(part, "wb") as stream:
            shutil.copyfileobj(response, stream, _CHUNK)
        check_hash(part, algorithm, expected)
        os.replace(part, target)
    except OSError as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{url} cannot be downloaded ({reason}): save it as {target} by hand.") from error
    finally:
        part.unlink(missing_ok=True)


def _open_url(url: str) -> IO[bytes]:
    if not url.startswith(("https://", "http://")):  # urllib would also open local files
        raise InputError(f"A URL must start with http:// or https://, but got {url!r}.")
    return urllib.request.urlopen(url, timeout=60)  # noqa: S310 (the scheme is checked above)


def _unpack(archive: Path, part: Path) -> None:
    allowance = archive.stat().st_size * MAX_RATIO + SMALL
    part.mkdir()
    members = _zip_members(archive) if zipfile.is_zipfile(archive) else _tar_members(archive)
    for count, (name, size, content) in enumerate(members, 1):
        if count > MAX_MEMBERS:
            raise _Refused(f"it holds more than {MAX_MEMBERS:,} members")
        target = part / _safe(name)
        if content is None:
            target.mkdir(parents=True, exist_ok=True)
            continue
        if size > allowance:
            raise _Refused(f"it would grow more than {MAX_RATIO}-fold")
        target.parent.mkdir(parents=True, exist_ok=True)
        with content, open(target, "wb") as stream:
            shutil.copyfileobj(content, stream, _CHUNK)  # zipfile and tarfile stop at the declared size, or raise
        allowance -= size


def _safe(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or ":" in name.split("/")[0]:
        raise _Refused(f"its member {name!r} would leave the folder")
    return path


def _zip_members(archive: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)  # 0 if the archive was not created on Unix
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _Refused(f"its member {info.filename!r} is a link or device")
            yield info.filename, info.file_size, None if info.is_dir() else opened.open(info)


def _tar_members(archive: Path) -> Iterator[_Member]:
    with tarfile.open(archive) as opened:
        for info in opened:
            if not (info.isreg() or info.isdir()):
                raise _Refused(f"its member {info.name!r} is a link or device")
            yield info.name, info.size, opened.extractfile(info) if info.isreg() else None
