"""Remote storage at an address that pyarrow's file systems support, such as s3://BUCKET/dogs.

Objects are written whole and never appended to or renamed. Every node takes its credentials from where the remote's own
tools look; for S3 these are AWS_ACCESS_KEY_ID and related variables, ~/.aws and the instance's role. An address that
contains credentials is refused. An upload interrupted by a kill stays invisible, but is billed until a lifecycle rule
of the bucket aborts it.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from trainables.errors import InputError, Unavailable
from trainables.storage_errors import gave_out, writing

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_LOGIN = re.compile(r"://[^/:@]*:(?!\d+(/|$))[^@]*@")  # name:password@, but not a port
_SECRETS = re.compile(r"key|secret|token|password|credential", re.IGNORECASE)
_S3_OPTIONS = {"region", "scheme", "endpoint_override"}
# Attempts for one S3 request. The SDK doubles the wait between attempts, up to 20 s.
_ATTEMPTS_AT_FIRST = 2  # reports a wrong address within seconds
_ATTEMPTS = 9  # survives an outage of a minute


class RemoteError(Unavailable):
    """A remote that cannot be reached, read or written."""


def is_uri(place: object) -> bool:
    return _SCHEME.match(str(place)) is not None


def parse_place(text: str) -> Path | str:
    """Return a local folder, also one given as file://, as a path, and any other address unchanged.

    Raises:
        InputError: the address contains credentials. The message does not repeat them.
    """
    if not is_uri(text):
        return Path(text)
    parts = urlsplit(text)
    options = parse_qsl(parts.query, keep_blank_values=True)
    login = _LOGIN.search(text) or (parts.scheme == "s3" and "@" in parts.netloc)
    if login or any(_SECRETS.search(name) for name, _ in options):
        raise InputError(
            f"An address must not contain credentials, but this {parts.scheme}:// address does: pass them in the "
            "environment (such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), or use a role."
        )
    if parts.scheme == "file":
        return Path(parts.path)
    return text


class Remote:
    """The objects below an address. Every method raises RemoteError if the remote fails."""

    def __init__(self, uri: str, attempts: int = _ATTEMPTS) -> None:
        self.uri = uri
        self.files, self.root = _file_system(uri, attempts)
        self.pushed: dict[str, tuple[int, int]] = {}  # `state_of` each local file that equals its object

    def names(self) -> set[str]:
        """Return the names directly below the address."""
        return {PurePosixPath(info.path).name for info in self._select(self.root, recursive=False)}

    def listing(self, name: str = "") -> dict[str, Any]:
        """Return the object `name`, or all objects below it, by their names below the address."""
        from pyarrow.fs import FileType

        with self._naming("read"):
            info = self.files.get_file_info(self._key(name))
        if info.type == FileType.File:
            return {name: info}
        infos = self._select(self._key(name), recursive=True) if info.type == FileType.Directory else []
        below = {info.path.removeprefix(f"{self.root}/"): info for info in infos if info.type == FileType.File}
        return {name: info for name, info in below.items() if ".." not in PurePosixPath(name).parts}

    def read(self, name: str) -> bytes | None:
        """Return an object's content; None if there is no such object."""
        with self._naming("read"), suppress(FileNotFoundError), self.files.open_input_stream(self._key(name)) as stream:
            return stream.read()
        return None

    def write(self, name: str, content: bytes) -> None:
        with self._naming("written"), self.files.open_output_stream(self._key(name)) as stream:
            stream.write(content)

    def delete(self, name: str) -> None:
        with self._naming("written"), suppress(FileNotFoundError):
            self.files.delete_file(self._key(name))
        self.pushed.pop(name, None)

    def upload(self, file: Path, name: str) -> None:
        from pyarrow.fs import LocalFileSystem, copy_files

        state = state_of(file)
        with self._naming("written"):
            copy_files(str(file), self._key(name), LocalFileSystem(), self.files)
        self.pushed[name] = state

    def download(self, info: Any, name: str, file: Path) -> None:
        """Download an object to `file`. The file gets the object's time, which shows later whether it has changed."""
        from pyarrow.fs import LocalFileSystem, copy_files

        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f".{file.name}.{os.getpid()}.part")
        with writing(file, info.size), self._naming("read"):
            copy_files(info.path, str(part), self.files, LocalFileSystem())
        os.utime(part, ns=(info.mtime_ns, info.mtime_ns))
        os.replace(part, file)
        self.pushed[name] = state_of(file)

    def _select(self, key: str, recursive: bool) -> list[Any]:
        from pyarrow.fs import FileSelector

        with self._naming("read"):
            return self.files.get_file_info(FileSelector(key, allow_not_found=True, recursive=recursive))

    def _key(self, name: str) -> str:
        return f"{self.root}/{name}" if name else self.root

    @contextmanager
    def _naming(self, verb: str) -> Iterator[None]:
        """Turn a failure of the remote into a RemoteError that names it."""
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as problem:
            if gave_out(problem) is not None:  # a local disk, not the remote
                raise
            reason = " ".join(str(problem).split())[:300]
            raise RemoteError(
                f"{self.uri} cannot be {verb}: {reason}. Check the bucket, the credentials and the network."
            ) from problem


def state_of(file: Path) -> tuple[int, int]:
    """Return a file's size in bytes and its modification time, which change if the file does."""
    status = file.stat()
    return status.st_size, status.st_mtime_ns


def _file_system(uri: str, attempts: int) -> tuple[Any, str]:
    """Return pyarrow's file system for an address, and the path in it."""
    from pyarrow import ArrowException
    from pyarrow.fs import AwsStandardS3RetryStrategy, FileSystem, S3FileSystem, resolve_s3_region

    parts = urlsplit(uri)
    try:
        if parts.scheme != "s3":
            files, root = FileSystem.from_uri(uri)
            return files, root.rstrip("/")
        options = dict(parse_qsl(parts.query))
        if not parts.netloc or not set(options) <= _S3_OPTIONS:
            raise InputError(
                f"An S3 address must be s3://BUCKET/PATH with no other options than "
                f"{', '.join(sorted(_S3_OPTIONS))}, but got {uri!r}."
            )
        if not options and not {"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"} & set(os.environ):
            options["region"] = resolve_s3_region(parts.netloc)
        retries = AwsStandardS3RetryStrategy(max_attempts=attempts)
        files = S3FileSystem(**options, connect_timeout=5, allow_delayed_open=True, retry_strategy=retries)
    except (OSError, ArrowException) as problem:
        reason = " ".join(str(problem).split())[:300]
        raise RemoteError(f"{uri} cannot be used: {reason}. Check the address and the network.") from None
    return files, f"{parts.netloc}{parts.path}".rstrip("/")


def connect(uri: str) -> Remote:
    """Return a remote with few attempts per request, so that a wrong address is reported within seconds.

    Raises:
        InputError: it is not an S3 address that is supported.
        RemoteError: the address cannot be used.
    """
    return Remote(uri, _ATTEMPTS_AT_FIRST)
