"""Where trials run: on a Ray of our own, or on a cluster that is joined."""

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
from study.execution.cluster import cluster_size, joined, on_nodes, on_workers, starting
from study.messages import log
from study.persistence import storage
from study.persistence.nodes import check_nodes
from trainables.nets.arithmetic import computes_bfloat16


@dataclass(frozen=True)
class Machines:
    """The resources of each trial, a function that waits until Ray runs, and whether a device there has bfloat16."""

    resources: Resources
    wait_for_ray: Callable[[], None]
    has_bfloat16: Callable[[str], bool]


@contextmanager
def connected(flags: Flags, data: Path, out: Path) -> Iterator[Machines]:
    """Join the cluster of --address, or start Ray on this machine. It is left or ended with the block.

    A Ray of our own starts in the background, so that the caller can import what its workers import meanwhile. A dry
    run starts none.

    Raises:
        InputError: Ray cannot be reached or started, has too few resources, or a node does not see `data` or `out`.
    """
    if flags.address is not None:
        with joined(cluster_address(flags.address)):
            resources = _resources(flags, *cluster_size())
            if flags.dry_run:
                yield Machines(resources, _no_wait, computes_bfloat16)
                return
            check_nodes(storage.uri_of(out) or out, data, on_nodes)

            def has_bfloat16(device: str) -> bool:  # this machine may have another processor, and no GPU
                return next(on_workers(computes_bfloat16, [(device,)], resources))

            yield Machines(resources, _no_wait, has_bfloat16)
        return
    if flags.dry_run:
        yield Machines(_resources(flags, local_cpus(), local_gpus()), _no_wait, computes_bfloat16)
        return
    log.debug("Starting Ray")
    with starting(warm=_every_cpu_runs_a_trial(flags)) as wait_for_ray:
        yield Machines(_resources(flags, local_cpus(), local_gpus()), wait_for_ray, computes_bfloat16)


def _no_wait() -> None:
    pass


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
    """Whether a warm worker per CPU is of use: not where a trial takes several CPUs."""
    on_gpu = flags.gpus_per_trial != 0 and has_gpu_devices()
    alone = flags.workers_per_trial in (None, 1)
    return alone and not on_gpu and flags.cpus_per_trial in (None, 1) and flags.concurrent in (None, local_cpus())
