"""What a trial gets, and whether it can be had; without starting anything."""

import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from trainables.errors import InputError

_CONNECT_SECONDS = 3
# A trial on a GPU keeps this many cores busy with views.
_CPUS_BESIDE_GPU = 4


@dataclass(frozen=True)
class Resources:
    """CPUs and GPUs of a trial, `gpus` may be a fraction; `concurrent` is how many trials run at once."""

    cpus: int
    gpus: float
    concurrent: int
    workers: int = 1  # that train a trial together, and share what it has

    @property
    def threads(self) -> int:
        return self.cpus // self.workers


def plan_resources(
    cpus_per_trial: int | None,
    gpus_per_trial: float | None,
    concurrent: int | None,
    cpus: float,
    gpus: float,
    workers: int = 1,
    is_cluster: bool = False,
) -> Resources:
    """The resources of a trial on a machine or cluster with this many CPUs and GPUs in all.

    On a cluster `concurrent` is believed: one that scales starts machines only when a study asks for some, and does
    not tell how far it may grow.

    Raises:
        InputError: more is asked for than there is.
    """
    on_gpu = gpus_per_trial if gpus_per_trial is not None else float(gpus > 0) * workers
    grows = is_cluster and concurrent is not None
    most = _CPUS_BESIDE_GPU if grows else min(_CPUS_BESIDE_GPU, max(1, int(cpus) // workers))
    on_cpu = cpus_per_trial or (most if on_gpu else 1) * workers
    _check_shares(workers, on_cpu, on_gpu)
    if is_cluster and concurrent is not None:
        return Resources(on_cpu, on_gpu, concurrent, workers)
    if not cpus:
        raise InputError(
            "The cluster has no CPU for a trial yet: wait for its workers, or say by --concurrent, --gpus-per-trial "
            "and --cpus-per-trial what Ray is to start machines for."
        )
    if on_cpu > cpus:
        raise InputError(f"--cpus-per-trial must be at most the {cpus:g} CPUs there are, but got {on_cpu}.")
    if on_gpu > gpus:
        raise InputError(
            f"--gpus-per-trial must be at most the {gpus:g} GPUs there are, but got {on_gpu:g}: use 0 for none."
        )
    fits = int(cpus // on_cpu)
    if on_gpu:
        fits = min(fits, int(gpus) * int(1 / on_gpu + 1e-9) if on_gpu <= 1 else int(gpus // on_gpu))
    return Resources(on_cpu, on_gpu, max(1, min(concurrent or fits, fits)), workers)


def _check_shares(workers: int, cpus: int, gpus: float) -> None:
    if gpus > 1 and gpus != int(gpus):
        raise InputError(f"--gpus-per-trial must be a fraction of one GPU or a whole number, but got {gpus:g}.")
    if workers > 1 and (cpus % workers or gpus not in (0, workers)):
        raise InputError(
            f"The {workers} workers of a trial take equally many CPUs, and a GPU each or none, but got {cpus} CPUs "
            f"and {gpus:g} GPUs a trial: change --cpus-per-trial, --gpus-per-trial or --workers-per-trial."
        )


def local_cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def has_gpu_devices() -> bool:
    """Whether there is any sign of a GPU, told without importing torch."""
    return any(Path("/dev").glob("nvidia[0-9]*"))


def local_gpus() -> int:
    import torch

    return torch.cuda.device_count()


def cluster_address(address: str) -> str:
    """The host:port of a running cluster; a connection is tried before anything joins it.

    Raises:
        InputError: there is none, or nobody answers within three seconds.
    """
    if address == "auto":
        started = _current_cluster()
        found = os.environ.get("RAY_ADDRESS") or (started.read_text().strip() if started.exists() else "")
        if not found:
            raise InputError("--address auto needs a Ray cluster on this machine: start one, or leave the flag out.")
        address = found
    host, _, port = address.rpartition(":")
    if address.startswith("ray://") or not host or not port.isdecimal() or int(port) > 65535:
        raise InputError(f"--address must be auto or host:port of a cluster's head, but got {address!r}.")
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()
    except OSError as problem:
        raise InputError(
            f"No Ray cluster answers at {address} ({problem}): check --address, or leave it out to run here."
        ) from None
    return address


def _current_cluster() -> Path:
    """Where `ray start` leaves the address of this machine's cluster; Ray is not imported to find out."""
    places = [os.environ.get("RAY_TMPDIR"), os.environ.get("TMPDIR") if sys.platform == "linux" else None]
    return Path(next(filter(None, places), "/tmp"), "ray", "ray_current_cluster")  # noqa: S108  (Ray's own place)
