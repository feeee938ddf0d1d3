"""Who drives a study whose --out is remote: object stores lock nothing, so a driver says again and again that it lives.

Each writes an object of its own below OUT/drivers, and only then looks for others: of two that begin at once at least
one sees the other. Another one that is heard of again is alive, and refused is who came later; one that is silent for
SILENT seconds is dead. No clocks are compared. A driver that was suspended for longer than that while another took
over ends itself at its next beat; what it writes until then (BEAT seconds at most) reaches the study. On one machine,
that is in one --cache, a lock of the file system decides at once.
"""

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

from study.persistence.remote import Remote, RemoteError
from trainables.errors import InputError

DRIVERS = "drivers"
BEAT, SILENT = 5.0, 30.0


@contextmanager
def sole_remote_driver(remote: Remote, driver: str) -> Iterator[None]:
    """Within it no other process drives the study in the remote; `driver` names this one, and what ran here before.

    Raises:
        InputError: another one does, or nothing can be written there.
    """
    mine = f"{DRIVERS}/{driver}.json"
    about = {"host": socket.gethostname(), "pid": os.getpid()}
    over = Event()
    remote.write(mine, _beat(about, 0))
    heart = Thread(target=_live, args=(remote, mine, about, over), daemon=True)
    heart.start()
    try:
        _outlive_others(remote, mine)
        yield
    finally:
        over.set()
        heart.join()
        with suppress(RemoteError):  # then it is silent, and dies of that
            remote.delete(mine)


def _beat(about: dict[str, object], count: int) -> bytes:
    return json.dumps(about | {"beat": count}).encode()


def _live(remote: Remote, mine: str, about: dict[str, object], over: Event) -> None:
    count = 0
    while not over.wait(BEAT):
        count += 1
        with suppress(RemoteError):  # an outage: what the study itself writes tells whether it can go on
            if remote.read(mine) is None:
                print(f"Another process took over {remote.uri} while this one was suspended.", file=sys.stderr)
                os.kill(os.getpid(), signal.SIGTERM)
                return
            remote.write(mine, _beat(about, count))


def _outlive_others(remote: Remote, mine: str) -> None:
    """Wait until every other driver is dead; refuse where one is not."""
    others = _others(remote, mine)
    if others:
        print(f"{remote.uri} was being driven; waiting {SILENT:.0f} s for a sign of life.", file=sys.stderr)
    deadline = time.monotonic() + SILENT
    while others and time.monotonic() < deadline:
        time.sleep(min(1.0, BEAT))
        now = _others(remote, mine)
        alive = [beat for name, beat in now.items() if beat != others.get(name)]
        if alive:
            about = json.loads(alive[0])
            raise InputError(
                f"--out {remote.uri} is in use: process {about['pid']} on {about['host']} runs its study. "
                "Wait for it, or end it."
            )
        others = now
    for name in others:
        remote.delete(name)


def _others(remote: Remote, mine: str) -> dict[str, bytes]:
    beats = {name: remote.read(name) for name in remote.listing(DRIVERS) if name != mine}
    return {name: beat for name, beat in beats.items() if beat is not None}
