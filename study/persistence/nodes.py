"""What every node of a cluster must see: the study's folder and its images, or the remote it is written to."""

import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from study.persistence.remote import connect, is_uri
from trainables.errors import InputError

_SEEN = ".seen-"
# Runs a function on each node that may get a trial; gives each node's answer.
OnNodes = Callable[[Callable[[Sequence[str]], str | None], Sequence[str]], Iterator[str | None]]


def blind_to(places: Sequence[str]) -> str | None:
    """The first of these files, folders or addresses that this node does not see, as a sentence about it."""
    for place in places:
        if is_uri(place):
            try:
                connect(place).names()
            except InputError as problem:
                return f"On node {socket.gethostname()}: {problem}"
        elif not Path(place).exists():
            shown = Path(place).parent if Path(place).name.startswith(_SEEN) else place
            return (
                f"Every node must see --out and --data, but {socket.gethostname()} does not see {shown} as it is: "
                "give a folder that all nodes share, or s3://BUCKET/PATH as --out."
            )
    return None


def check_nodes(out: Path | str, data: Path, on_nodes: OnNodes) -> None:
    """Refuse a cluster on which a trial would look in vain for what the driver sees.

    A node that joins later is checked by its first trial.

    Raises:
        InputError: a node does not see `data` (where this one does), or what is written where `out` is to be.
    """
    with _something_in(out) as seen:
        for problem in on_nodes(blind_to, [seen, *needed(data)]):
            if problem is not None:
                raise InputError(problem)


def needed(data: Path) -> list[str]:
    """Digits come with a package: where this node has no folder of images, no other needs one."""
    return [str(data.absolute())] if data.exists() else []


@contextmanager
def _something_in(out: Path | str) -> Iterator[str]:
    """A folder that was not there before, for the time of the block; beside `out`, which may not exist yet."""
    if isinstance(out, str):
        yield out
        return
    above = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.exists())
    with tempfile.TemporaryDirectory(prefix=_SEEN, dir=above) as seen:
        yield seen
