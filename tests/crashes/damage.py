"""What is done to a running study, or to what it left: each by a function of the study and its driver's process."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from study.persistence.ledger import LEDGER
from tests.crashes.study_under_test import PATIENCE, Tried

Damage = Callable[[Tried, subprocess.Popen[str]], None]
_RAYLET, _GCS = "raylet", "gcs_server"


def after_ends(tried: Tried, process: subprocess.Popen[str], count: int) -> bool:
    """Wait until so many trials have ended and a further one has a row; False where the study ended before."""
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        ended = {path.stem for path in (tried.out / LEDGER / "ends").glob("[!.]*.json")}
        begun = {path.parent.name for path in (tried.out / LEDGER / "reports").glob("*/[0-9]*.json")}
        if len(ended) >= count and begun - ended:
            return True
        time.sleep(0.02)
    return False


def killed_after(objects: int, seconds: float) -> Damage:
    """The driver, by a signal that nobody can catch: so long after the ledger has so many objects."""

    return _killed_when(lambda tried: ledger_objects(tried.out) >= objects, seconds)


def ledger_objects(out: Path) -> int:
    return sum(1 for _ in (out / LEDGER).rglob("[!.]*.json"))


def signalled(number: signal.Signals, ends: int) -> Damage:
    def send(tried: Tried, process: subprocess.Popen[str]) -> None:
        after_ends(tried, process, ends)
        process.send_signal(number)

    return send


def worker_killed(ends: int) -> Damage:
    """The process of the trial that is running."""

    def kill(tried: Tried, process: subprocess.Popen[str]) -> None:
        after_ends(tried, process, ends)
        for each in workers_of(process):
            each.kill()

    return kill


def raylet_killed(ends: int) -> Damage:
    return _kills(_RAYLET, ends)


def gcs_killed(ends: int) -> Damage:
    return _kills(_GCS, ends)


def killed_at(name: str, seconds: float = 0.0) -> Damage:
    """The driver is killed so long after the ledger has this object."""

    return _killed_when(lambda tried: (tried.out / LEDGER / name).exists(), seconds)


def _killed_when(happened: Callable[[Tried], bool], seconds: float) -> Damage:
    def kill(tried: Tried, process: subprocess.Popen[str]) -> None:
        while process.poll() is None and not happened(tried):
            time.sleep(0.01)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()

    return kill


def garbage(kind: str, seed: int, ends: int = 6) -> Damage:
    """The driver is killed, and then one file of a `kind` (a glob below OUT) is cut or overwritten."""

    def spoil(tried: Tried, process: subprocess.Popen[str]) -> None:
        after_ends(tried, process, ends)
        process.kill()
        process.wait()
        file = random.Random(seed).choice(sorted(tried.out.glob(kind)))
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 2] if seed % 2 else b"\0garbage" * 9)

    return spoil


def disk_filled(ends: int) -> Damage:
    """--out lies on a small disk of its own, which something else fills; it is freed once the study has ended."""

    def fill(tried: Tried, process: subprocess.Popen[str]) -> None:
        after_ends(tried, process, ends)
        ballast = tried.out.parent / "ballast"
        try:
            with ballast.open("wb", buffering=0) as file:
                while True:
                    file.write(b"\0" * 4096)
        except OSError:
            pass
        process.wait(PATIENCE)
        ballast.unlink()

    return fill


@contextmanager
def small_disk(folder: Path, mebibytes: int = 8) -> Iterator[Path]:
    """Needs the right to mount."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def end_orphans(home: Path) -> None:
    """A killed driver's Ray ends by itself, but not at once; what has this home is ours."""
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get("HOME") == str(home):
                process.kill()
        except psutil.Error:
            continue


def _kills(name: str, ends: int) -> Damage:
    def kill(tried: Tried, process: subprocess.Popen[str]) -> None:
        after_ends(tried, process, ends)
        found = [each for each in psutil.Process(process.pid).children(recursive=True) if each.name() == name]
        assert found, f"no {name} to kill"
        for each in found:
            each.kill()

    return kill


def workers_of(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The processes of the trials that a driver has running."""
    found = psutil.Process(process.pid).children(recursive=True)
    return [each for each in found if any(part.startswith("ray::ImplicitFunc") for part in _command_line(each))]


def _command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # it has ended meanwhile
        return []
