"""The Tune function that a worker's actor runs."""

from typing import Any

from ray import get_runtime_context, tune

from study.execution.worker import JobConfig, do_job, limit_gpu_memory


def work(job: JobConfig) -> None:
    """Do one job on the node of this process."""
    context = get_runtime_context()
    limit_gpu_memory(context.get_assigned_resources().get("GPU", 0.0))
    do_job(job, context.get_node_id(), tune.report, _train_data_parallel)


def _train_data_parallel(*job: Any, **named: Any) -> None:
    # Imported here, because Ray Train takes a second and most trials have one worker.
    from study.execution.data_parallel import train_data_parallel

    train_data_parallel(*job, **named)
