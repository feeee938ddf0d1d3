"""The Tune function that a worker's actor runs."""

from ray import get_runtime_context, tune

from study.execution.data_parallel import train_data_parallel
from study.execution.worker import JobConfig, do_job


def work(job: JobConfig) -> None:
    """Do one job on the node of this process."""
    do_job(job, get_runtime_context().get_node_id(), tune.report, train_data_parallel)
