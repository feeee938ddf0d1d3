"""Starting a Ray of our own, or joining one that runs."""

import os
import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from study.resources import local_cpus
from trainables.errors import InputError

# Trials read pictures from a memory-mapped file and report a few numbers, so the object store stays small.
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
def connected(address: str | None, gpus: int) -> Iterator[None]:
    """Within it Ray runs: the cluster at `address`, or one of our own that ends with it."""
    _prepare_environment(address)
    import ray

    on_termination = signal.getsignal(signal.SIGTERM)

    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address is not None:
            ray.init(address=address, **quiet)
        else:
            ray.init(
                address="local",  # whatever RAY_ADDRESS says
                num_cpus=local_cpus(),
                num_gpus=gpus,
                include_dashboard=False,
                object_store_memory=_OBJECT_STORE_BYTES,
                **quiet,
            )
    except (OSError, RuntimeError, ValueError) as problem:
        first = str(problem).strip().partition("\n")[0]
        raise InputError(f"Ray at {address or 'this machine'} cannot be used: {first}") from problem
    signal.signal(signal.SIGTERM, on_termination)  # ray.init put one of its own in its place
    try:
        yield
    finally:
        ray.shutdown()


def cluster_size() -> tuple[float, float]:
    """All CPUs and GPUs of the Ray that is connected to."""
    import ray

    total = ray.cluster_resources()
    return total.get("CPU", 0.0), total.get("GPU", 0.0)


def _prepare_environment(address: str | None) -> None:
    """Must happen before Ray is imported. Authentication is explicit: its default differs between versions.

    A Ray of our own gets a token for this run alone; a cluster is joined with the user's token, where there is one.
    """
    os.environ.update(_ENVIRONMENT)
    if address is None:
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    elif "RAY_AUTH_MODE" not in os.environ:
        has_token = "RAY_AUTH_TOKEN" in os.environ or Path("~/.ray/auth_token").expanduser().exists()
        os.environ["RAY_AUTH_MODE"] = "token" if has_token else "disabled"
