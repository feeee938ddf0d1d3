"""A lease on a study whose --out is remote: object stores have no locks, so its driver renews an object regularly.

Each driver writes its own object below OUT/drivers and only then looks for others, so if two drivers start together, at
least one sees the other. If another driver's object changes, that driver is alive, and the later driver is refused. If
it does not change for SILENT seconds, its lease has expired. No clocks are compared. If a driver is suspended for
longer and another driver takes over, the first one ends itself at its next renewal. Until then, for at most BEAT
seconds, its writes still reach the study. On one machine with one --cache, a file lock decides at once.
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
    """Hold the lease: no other process drives the study in the remote within the block.

    Args:
        driver: the name of this driver. A restarted driver has the same name.

    Raises:
        InputError: another process drives it, or nothing can be written there.
    """
    own_object = f"{DRIVERS}/{driver}.json"
    about = {"host": socket.gethostname(), "pid": os.getpid()}
    done = Event()
    remote.write(own_object, _beat(about, 0))
    renewing = Thread(target=_renew, args=(remote, own_object, about, done), daemon=True)
    renewing.start()
    try:
        _wait_for_others(remote, own_object)
        yield
    finally:
        done.set()
        renewing.join()
        with suppress(RemoteError):  # its lease expires
            remote.delete(own_object)


def _beat(about: dict[str, object], count: int) -> bytes:
    return json.dumps(about | {"beat": count}).encode()


def _renew(remote: Remote, own_object: str, about: dict[str, object], done: Event) -> None:
    count = 0
    while not done.wait(BEAT):
        count += 1
        with suppress(RemoteError):  # an outage; the study's own writes tell whether it can continue
            if remote.read(own_object) is None:
                print(f"Another process took over {remote.uri} while this one was suspended.", file=sys.stderr)
                os.kill(os.getpid(), signal.SIGTERM)
                return
            remote.write(own_object, _beat(about, count))


def _wait_for_others(remote: Remote, own_object: str) -> None:
    """Wait until the leases of all other drivers have expired, or refuse if one is renewed."""
    others = _others(remote, own_object)
    if others:
        print(f"{remote.uri} has another driver; waiting {SILENT:.0f} s for it to renew its lease.", file=sys.stderr)
    deadline = time.monotonic() + SILENT
    while others and time.monotonic() < deadline:
        time.sleep(min(1.0, BEAT))
        now = _others(remote, own_object)
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


def _others(remote: Remote, own_object: str) -> dict[str, bytes]:
    beats = {name: remote.read(name) for name in remote.listing(DRIVERS) if name != own_object}
    return {name: beat for name, beat in beats.items() if beat is not None}
