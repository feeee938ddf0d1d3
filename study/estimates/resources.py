"""The CPUs and GPUs of each trial, checked against the machine or cluster before Ray starts."""

import math
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from trainables.errors import InputError
from trainables.nets.arithmetic import is_cuda_usable

_CONNECT_SECONDS = 3
# A trial on a GPU of a cluster gets so many cores to make its views, because how many its nodes have is not known. On
# one machine, the trials share all cores.
_CPUS_BESIDE_GPU = 4


@dataclass(frozen=True)
class Resources:
    """The resources of each trial, and the number of trials that run at once."""

    cpus: int
    gpus: float  # may be a fraction
    concurrent: int
    workers: int = 1  # data-parallel processes, which share the trial's CPUs and GPUs

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
    """Return the resources of a trial on a machine or cluster.

    On a cluster `concurrent` is taken as given, because an autoscaling cluster starts machines only on request and does
    not say how far it may grow.

    Args:
        cpus: all CPUs of the machine or cluster.
        gpus: all its GPUs.

    Raises:
        InputError: the flags ask for more than there is, or workers cannot share it equally.
    """
    on_gpu = gpus_per_trial if gpus_per_trial is not None else float(gpus > 0) * workers
    grows = is_cluster and concurrent is not None
    on_cpu = cpus_per_trial or workers
    if on_gpu and cpus_per_trial is None:
        at_once = min(concurrent or math.inf, _fitting(on_gpu, gpus))
        fair = _CPUS_BESIDE_GPU * workers if is_cluster else cpus / max(1, at_once)
        on_cpu = max(1, int(fair if grows else min(fair, cpus)) // workers) * workers
    _check_shares(workers, on_cpu, on_gpu)
    if is_cluster and concurrent is not None:
        return Resources(on_cpu, on_gpu, concurrent, workers)
    if not cpus:
        raise InputError(
            "The cluster has no CPU for a trial yet: wait for its workers, or pass --concurrent, --gpus-per-trial and "
            "--cpus-per-trial, so that Ray starts machines for that."
        )
    if on_cpu > cpus:
        raise InputError(f"--cpus-per-trial must be at most the {cpus:g} available CPUs, but got {on_cpu}.")
    if on_gpu > gpus:
        raise InputError(
            f"--gpus-per-trial must be at most the {gpus:g} available GPUs, but got {on_gpu:g}: use 0 for none."
        )
    fits = int(cpus // on_cpu)
    if on_gpu:
        fits = min(fits, _fitting(on_gpu, gpus))
    return Resources(on_cpu, on_gpu, max(1, min(concurrent or fits, fits)), workers)


def _fitting(on_gpu: float, gpus: float) -> int:
    """Return how many trials fit on the GPUs at once; one of less than a GPU never lies on two."""
    return int(gpus) * int(1 / on_gpu + 1e-9) if on_gpu <= 1 else int(gpus // on_gpu)


def _check_shares(workers: int, cpus: int, gpus: float) -> None:
    if gpus > 1 and gpus != int(gpus):
        raise InputError(f"--gpus-per-trial must be a fraction of one GPU or a whole number, but got {gpus:g}.")
    if workers > 1 and (cpus % workers or gpus not in (0, workers)):
        raise InputError(
            f"The {workers} workers of a trial must have equally many CPUs, and one GPU each or none, but got {cpus} "
            f"CPUs and {gpus:g} GPUs per trial: change --cpus-per-trial, --gpus-per-trial or --workers-per-trial."
        )


def local_cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def has_gpu_devices() -> bool:
    """Return whether this machine seems to have an NVIDIA GPU, without importing torch."""
    return any(Path("/dev").glob("nvidia[0-9]*"))


def local_gpus() -> int:
    """Return the number of this machine's GPUs.

    Raises:
        InputError: torch cannot use them.
    """
    import torch

    count = torch.cuda.device_count()  # asks the driver, which may be too old for torch
    if count and not is_cuda_usable():
        raise InputError(
            f"torch {torch.__version__} cannot use this machine's GPU, probably because its driver is too old for CUDA "
            f"{torch.version.cuda}: install a newer one, or run on the CPU with CUDA_VISIBLE_DEVICES= set."
        )
    return count


def cluster_address(address: str) -> str:
    """Return the host:port of a running cluster, after checking that it accepts connections.

    Raises:
        InputError: there is no cluster, or it does not answer within three seconds.
    """
    if address == "auto":
        file = _current_cluster()
        current = os.environ.get("RAY_ADDRESS") or (file.read_text().strip() if file.exists() else "")
        if not current:
            raise InputError("--address auto needs a Ray cluster on this machine: start one, or leave the flag out.")
        address = current
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
    """Return the file in which `ray start` leaves the address of this machine's cluster, without importing Ray."""
    folders = [os.environ.get("RAY_TMPDIR"), os.environ.get("TMPDIR") if sys.platform == "linux" else None]
    return Path(next(filter(None, folders), "/tmp"), "ray", "ray_current_cluster")  # noqa: S108  (Ray's default)
