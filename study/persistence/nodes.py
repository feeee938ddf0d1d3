"""Check that every node of a cluster sees --out and --data, or reaches the remote that the study is written to."""

import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from study.persistence.remote import connect, is_uri
from trainables.errors import InputError

_SEEN = ".seen-"
# Calls a function on each node that may get a trial and yields the results.
OnNodes = Callable[[Callable[[Sequence[str]], str | None], Sequence[str]], Iterator[str | None]]


def blind_to(places: Sequence[str]) -> str | None:
    """Return an error message about the first of these files, folders or addresses that this node does not see."""
    for place in places:
        if is_uri(place):
            try:
                connect(place).names()
            except InputError as problem:
                return f"On node {socket.gethostname()}: {problem}"
        elif not Path(place).exists():
            shown = Path(place).parent if Path(place).name.startswith(_SEEN) else place
            return (
                f"Every node must see --out and --data, but {socket.gethostname()} does not see the driver's {shown}: "
                "use a folder that all nodes share, or s3://BUCKET/PATH as --out."
            )
    return None


def check_nodes(out: Path | str, data: Path, on_nodes: OnNodes) -> None:
    """Refuse a cluster whose nodes do not see the folders of this study.

    A node that joins later is checked by its first trial.

    Raises:
        InputError: a node does not see `data`, although this node does, or a folder that this node creates near `out`.
    """
    with _something_in(out) as seen:
        for problem in on_nodes(blind_to, [seen, *needed(data)]):
            if problem is not None:
                raise InputError(problem)


def needed(data: Path) -> list[str]:
    """Return the data folder if it exists here. Digits come with a package, so no node needs a folder for them."""
    return [str(data.absolute())] if data.exists() else []


@contextmanager
def _something_in(out: Path | str) -> Iterator[str]:
    """Create a new folder for the duration of the block, in `out` or in its nearest existing parent."""
    if isinstance(out, str):
        yield out
        return
    above = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.exists())
    with tempfile.TemporaryDirectory(prefix=_SEEN, dir=above) as seen:
        yield seen
