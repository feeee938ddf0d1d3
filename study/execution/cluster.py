"""Starting a Ray of our own, or joining one that runs."""

import logging
import os
import secrets
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

from study.estimates.resources import Resources, local_cpus
from study.execution.ray_folder import ray_folder
from trainables.errors import InputError

# Trials read images from a memory-mapped file and report a few numbers, so the object store stays small.
_OBJECT_STORE_BYTES = 128 * 2**20
_ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",  # the other reporter prints a box whatever the verbosity
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # our tables come from the ledger
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is ours
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",  # nothing of Tune's own state is ever read back
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # errors are in the ledger, the display and the report
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}


@contextmanager
def joined(address: str) -> Iterator[None]:
    """Within it this process is connected to the cluster at `address`."""
    _prepare_environment(address)
    restore_handler = _termination_handler()
    try:
        _connect(address=address)
    except (OSError, RuntimeError, ValueError) as problem:
        raise InputError(f"Ray at {address} cannot be used: {_first_line(problem)}") from problem
    restore_handler()
    try:
        yield
    finally:
        _shut_down()


@contextmanager
def starting(warm: bool) -> Iterator[Callable[[], None]]:
    """Start a Ray of our own in the background; what this gives waits until it is there. It ends with the block.

    `warm` workers, one a CPU, import what a trial needs while the images are read.

    Raises:
        InputError: Ray has no folder that it can use; what waits raises it where Ray cannot be started otherwise.
    """
    _prepare_environment(None)
    if warm:
        os.environ |= {"RAY_preload_python_modules": "study.execution.actor"}
    restore_handler = _termination_handler()
    problems: list[BaseException] = []
    there, over = Event(), Event()

    def start() -> None:
        try:
            _leave_out_dashboard()
            _connect(
                address="local",  # whatever RAY_ADDRESS says
                num_cpus=local_cpus(),
                include_dashboard=False,
                object_store_memory=_OBJECT_STORE_BYTES,
                _temp_dir=str(folder),
            )
            _use_started_workers()
        except BaseException as problem:  # Ray raises dozens of kinds; raised where it is waited for
            problems.append(problem)
        there.set()
        over.wait()  # Ray's processes end with the thread that started them

    def wait() -> None:
        there.wait()
        restore_handler()
        if problems:
            raise InputError(
                f"Ray cannot start in {folder} ({_first_line(problems[0])}): set RAY_TMPDIR to another folder of yours "
                "whose path is short."
            ) from problems[0]

    with ray_folder() as folder:
        Thread(target=start, daemon=True).start()
        try:
            yield wait
        finally:
            there.wait()
            _shut_down()
            over.set()


def _termination_handler() -> Callable[[], object]:
    """Return a function that restores the present handler of SIGTERM.

    Ray's own prints its stack and aborts the process three seconds later. Python sets handlers in the main thread only.
    """
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    before = signal.getsignal(signal.SIGTERM)
    return lambda: signal.signal(signal.SIGTERM, before)


def _connect(address: str, **ours: Any) -> None:
    import ray

    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **ours)


def _first_line(problem: BaseException) -> str:
    return str(problem).strip().partition("\n")[0]


def _leave_out_dashboard() -> None:
    """Where the dashboard's packages are installed, Ray waits seconds for its agent, shown or not.

    That it lacks them is the only way to say so; there is no public setting.
    """
    from ray._private import utils

    utils.get_dashboard_dependency_error = lambda: ImportError("a Ray of our own shows no dashboard")


def _shut_down() -> None:
    import ray

    ray.shutdown()


def _use_started_workers() -> None:
    """Without this Tune's actors get an environment of their own, which no worker that Ray has started matches.

    Each would be a new process, with all imports to do; there is no public setting. Workers of a Ray of our own
    inherit this process' environment.
    """
    from ray.tune.execution import class_cache

    class_cache.DEFAULT_ENV_VARS.clear()
    class_cache.ENV_VARS_TO_PROPAGATE.clear()


def cluster_size() -> tuple[float, float]:
    """All CPUs and GPUs of the Ray that is connected to."""
    import ray

    total = ray.cluster_resources()
    return total.get("CPU", 0.0), total.get("GPU", 0.0)


def on_nodes(function: Callable[..., Any], *arguments: Any) -> Iterator[Any]:
    """What `function` gives on each node that has CPUs for trials."""
    import ray
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    remote = ray.remote(num_cpus=0, max_retries=0)(function)
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    pinned = [remote.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)) for node in nodes]
    for waiting in [each.remote(*arguments) for each in pinned]:
        try:
            yield ray.get(waiting)
        except RayError as problem:
            first = str(problem).strip().rpartition("\n")[2]
            raise InputError(f"A node of the cluster cannot run this project: {first}") from problem


def on_workers(function: Callable[..., Any], calls: Sequence[tuple], resources: Resources) -> Iterator[Any]:
    """What `function` gives for each of `calls`, in their order; as many run at once as trials may.

    Each runs with the resources of a trial, or of one of its workers, which may be on several nodes. What one raises
    is raised here.
    """
    import ray
    from ray.exceptions import RayTaskError

    cpus, gpus = resources.cpus / resources.workers, resources.gpus / resources.workers
    remote = ray.remote(num_cpus=cpus, num_gpus=gpus)(function)
    for first in range(0, len(calls), resources.concurrent):
        for waiting in [remote.remote(*call) for call in calls[first : first + resources.concurrent]]:
            try:
                yield ray.get(waiting)
            except RayTaskError as problem:
                raise problem.cause from None


def _prepare_environment(address: str | None) -> None:
    """Must happen before Ray is imported. Authentication is explicit: its default differs between versions.

    A Ray of our own gets a token for this run alone; a cluster is joined with the user's token, where there is one.
    """
    os.environ.update(_ENVIRONMENT)
    if os.path.expanduser("~") == "~":
        os.environ["HOME"] = "/"  # as Docker says of a user without one: Ray Train asks for it when it is imported
    if address is None:
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    elif "RAY_AUTH_MODE" not in os.environ:
        has_token = "RAY_AUTH_TOKEN" in os.environ or os.path.exists(os.path.expanduser("~/.ray/auth_token"))
        os.environ["RAY_AUTH_MODE"] = "token" if has_token else "disabled"
