"""The machines that trials run on: this machine, or a Ray cluster."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from study.arguments import Flags
from study.estimates.resources import (
    Resources,
    cluster_address,
    has_gpu_devices,
    local_cpus,
    local_gpus,
    plan_resources,
)
from study.execution.cluster import cluster_size, joined, node_count, on_nodes, on_workers, starting
from study.messages import log
from study.persistence import storage
from study.persistence.nodes import check_nodes
from trainables.nets.arithmetic import computes_bfloat16


@dataclass(frozen=True)
class Machines:
    """What a study needs to know about the machines that it runs on."""

    resources: Resources  # of each trial
    wait_for_ray: Callable[[], None]  # returns when Ray runs
    has_bfloat16: Callable[[str], bool]  # whether a device of these machines computes in bfloat16
    count_nodes: Callable[[], int] = lambda: 1  # machines that can run trials now; an autoscaling cluster changes them


@contextmanager
def connected(flags: Flags, data: Path, out: Path) -> Iterator[Machines]:
    """Join the cluster of --address, or start Ray on this machine. The block's end disconnects or shuts down Ray.

    A local Ray starts in the background, so that this process can import torch meanwhile. A dry run starts no Ray.

    Raises:
        InputError: Ray cannot be reached or started, has too few resources, or a node does not see `data` or `out`.
    """
    if flags.address is not None:
        with joined(cluster_address(flags.address)):
            resources = _resources(flags, *cluster_size())
            if flags.dry_run:
                yield Machines(resources, _no_wait, computes_bfloat16, node_count)
                return
            check_nodes(storage.uri_of(out) or out, data, on_nodes)

            def has_bfloat16(device: str) -> bool:  # this machine may have a different CPU and no GPU
                return next(on_workers(computes_bfloat16, [(device,)], resources))

            yield Machines(resources, _no_wait, has_bfloat16, node_count)
        return
    if flags.dry_run:
        yield Machines(_resources(flags, local_cpus(), _local_gpus(flags)), _no_wait, computes_bfloat16)
        return
    log.debug("Starting Ray")
    with starting(warm=_every_cpu_runs_a_trial(flags)) as wait_for_ray:
        yield Machines(_resources(flags, local_cpus(), _local_gpus(flags)), wait_for_ray, computes_bfloat16)


def _no_wait() -> None:
    pass


def _local_gpus(flags: Flags) -> int:
    return 0 if flags.gpus_per_trial == 0 else local_gpus()


def _resources(flags: Flags, cpus: float, gpus: float) -> Resources:
    return plan_resources(
        flags.cpus_per_trial,
        flags.gpus_per_trial,
        flags.concurrent,
        cpus,
        gpus,
        workers=flags.workers_per_trial or 1,
        is_cluster=flags.address is not None,
    )


def _every_cpu_runs_a_trial(flags: Flags) -> bool:
    """Return whether every trial uses exactly one CPU, so that one warm worker per CPU is useful."""
    on_gpu = flags.gpus_per_trial != 0 and has_gpu_devices()
    alone = flags.workers_per_trial in (None, 1)
    return alone and not on_gpu and flags.cpus_per_trial in (None, 1) and flags.concurrent in (None, local_cpus())
