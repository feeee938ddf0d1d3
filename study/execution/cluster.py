"""Start Ray on this machine, or join a running cluster."""

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
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # we handle Ctrl-C
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",  # Tune's own state is never read back
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # errors are in the ledger, the display and the report
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}


@contextmanager
def joined(address: str) -> Iterator[None]:
    """Connect this process to the cluster at `address` for the duration of the block.

    Raises:
        InputError: Ray cannot connect to it.
    """
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
    """Start Ray on this machine in the background, and shut it down at the end of the block.

    Args:
        warm: whether Ray's workers, one per CPU, import what a trial needs while the images are read.

    Yields:
        A function that waits until Ray runs. It raises InputError if Ray cannot start.

    Raises:
        InputError: there is no folder that Ray can use.
    """
    _prepare_environment(None)
    if warm:
        os.environ |= {"RAY_preload_python_modules": "study.execution.actor"}
    restore_handler = _termination_handler()
    problems: list[BaseException] = []
    started, over = Event(), Event()

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
        except BaseException as problem:  # Ray raises dozens of types; `wait` raises them again
            problems.append(problem)
        started.set()
        over.wait()  # Ray's processes end with the thread that started them

    def wait() -> None:
        started.wait()
        restore_handler()
        if problems:
            raise InputError(
                f"Ray cannot start in {folder} ({_first_line(problems[0])}): set RAY_TMPDIR to another folder with a "
                "short path that you can write to."
            ) from problems[0]

    with ray_folder() as folder:
        Thread(target=start, daemon=True).start()
        try:
            yield wait
        finally:
            started.wait()
            _shut_down()
            over.set()


def _termination_handler() -> Callable[[], object]:
    """Return a function that restores the current SIGTERM handler.

    Ray installs a handler that prints its stack and aborts the process three seconds later. Python can set handlers
    only in the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    before = signal.getsignal(signal.SIGTERM)
    return lambda: signal.signal(signal.SIGTERM, before)


def _connect(address: str, **options: Any) -> None:
    import ray

    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **options)


def _first_line(problem: BaseException) -> str:
    return str(problem).strip().partition("\n")[0]


def _leave_out_dashboard() -> None:
    """Pretend that the dashboard's packages are missing, because Ray has no public setting for this.

    If they are installed, Ray waits seconds for the dashboard's agent, even without a dashboard.
    """
    from ray._private import utils

    utils.get_dashboard_dependency_error = lambda: ImportError("a local Ray runs without a dashboard")


def _shut_down() -> None:
    import ray

    ray.shutdown()


def _use_started_workers() -> None:
    """Let Tune's actors run in the workers that Ray has already started.

    Tune gives its actors their own environment variables, which no idle worker matches, so every actor would be a new
    process and import everything again. There is no public setting. Workers of a local Ray inherit the environment of
    this process anyway.
    """
    from ray.tune.execution import class_cache

    class_cache.DEFAULT_ENV_VARS.clear()
    class_cache.ENV_VARS_TO_PROPAGATE.clear()


def cluster_size() -> tuple[float, float]:
    """Return the total CPUs and GPUs of the connected Ray cluster."""
    import ray

    total = ray.cluster_resources()
    return total.get("CPU", 0.0), total.get("GPU", 0.0)


def node_count() -> int:
    """Return the number of machines of the connected Ray cluster that can run trials, at least 1."""
    import ray

    return max(1, sum(bool(node["Alive"] and node["Resources"].get("CPU")) for node in ray.nodes()))


def on_nodes(function: Callable[..., Any], *arguments: Any) -> Iterator[Any]:
    """Yield the result of `function(*arguments)` from each node that has CPUs for trials.

    Raises:
        InputError: a node cannot run it.
    """
    import ray
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    remote = ray.remote(num_cpus=0, max_retries=0)(function)
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    pinned = [remote.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)) for node in nodes]
    for reference in [on_node.remote(*arguments) for on_node in pinned]:
        try:
            yield ray.get(reference)
        except RayError as problem:
            last = str(problem).strip().rpartition("\n")[2]
            raise InputError(f"A node of the cluster cannot run this project: {last}") from problem


def on_workers(function: Callable[..., Any], calls: Sequence[tuple], resources: Resources) -> Iterator[Any]:
    """Yield the result of `function(*call)` for each of `calls`, in order. As many run at once as trials do.

    Each call runs with the resources of one trial, or of one worker of a data-parallel trial.

    Raises:
        Exception: the exception of a call.
    """
    import ray
    from ray.exceptions import RayTaskError

    cpus, gpus = resources.cpus / resources.workers, resources.gpus / resources.workers
    remote = ray.remote(num_cpus=cpus, num_gpus=gpus)(function)
    for first in range(0, len(calls), resources.concurrent):
        for reference in [remote.remote(*call) for call in calls[first : first + resources.concurrent]]:
            try:
                yield ray.get(reference)
            except RayTaskError as problem:
                raise problem.cause from None


def _prepare_environment(address: str | None) -> None:
    """Set the environment variables that Ray reads when it is imported.

    Authentication is explicit, because its default differs between versions of Ray. A local Ray gets a token for this
    run only. A cluster is joined with the user's token, if there is one.
    """
    os.environ.update(_ENVIRONMENT)
    if os.path.expanduser("~") == "~":
        os.environ["HOME"] = "/"  # as in Docker for a user without a home; Ray Train needs it on import
    if address is None:
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    elif "RAY_AUTH_MODE" not in os.environ:
        has_token = "RAY_AUTH_TOKEN" in os.environ or os.path.exists(os.path.expanduser("~/.ray/auth_token"))
        os.environ["RAY_AUTH_MODE"] = "token" if has_token else "disabled"
