"""The machines that trials run on: this machine, or a Ray cluster."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import starmap
from pathlib import Path
from typing import Any

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
from trainables.nets.arithmetic import computes_bfloat16, torch_threads

RunEach = Callable[[Callable[..., Any], Sequence[tuple]], Iterator[Any]]


def run_here(function: Callable[..., Any], calls: Sequence[tuple]) -> Iterator[Any]:
    """Yield the result of `function(*call)` for each of `calls`, in this process."""
    with torch_threads():
        yield from starmap(function, calls)


@dataclass(frozen=True)
class Machines:
    """What a study needs to know about the machines that it runs on."""

    resources: Resources  # of each trial
    wait_for_ray: Callable[[], None]  # returns when Ray runs
    has_bfloat16: Callable[[str], bool]  # whether a device of these machines computes in bfloat16
    run_each: RunEach = run_here  # calls a function with each of several arguments where trials run
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
                yield Machines(resources, _no_wait, computes_bfloat16, count_nodes=node_count)
                return
            check_nodes(storage.uri_of(out) or out, data, on_nodes)

            def has_bfloat16(device: str) -> bool:  # this machine may have a different CPU and no GPU
                return next(on_workers(computes_bfloat16, [(device,)], resources))

            run_each = partial(on_workers, resources=resources)
            yield Machines(resources, _no_wait, has_bfloat16, run_each, node_count)
        return
    if flags.dry_run:
        yield Machines(_resources(flags, local_cpus(), _local_gpus(flags)), _no_wait, computes_bfloat16)
        return
    log.debug("Starting Ray")
    with starting(warm=_every_cpu_runs_a_trial(flags)) as wait_for_ray:
        resources = _resources(flags, local_cpus(), _local_gpus(flags))

        def on_gpu(function: Callable[..., Any], calls: Sequence[tuple]) -> Iterator[Any]:
            wait_for_ray()
            return on_workers(function, calls, resources)

        # On the CPUs of this machine this process is as good as a worker, and it has imported everything already. Ray
        # runs no trial in a worker that has run anything else, so the trials would need new ones.
        yield Machines(resources, wait_for_ray, computes_bfloat16, on_gpu if resources.gpus else run_here)


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
