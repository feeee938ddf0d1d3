"""Data-parallel training of one trial: Ray Train inside a Tune trial.

The trial's own process does not train. It passes each row of rank 0 to Tune and Tune's answer back. The workers wait
for the answer, so a stopped trial does not begin another epoch.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ray import train
from ray.train.torch import TorchConfig, TorchTrainer, get_device
from ray.util.queue import Empty, Queue

from study.persistence.ledger import Row
from trainables.config import TrialConfig
from trainables.learning.team import Team

_POLL_SECONDS = 0.5


class Stopped(BaseException):
    """The trial must stop. This is not an error."""


def train_data_parallel(
    work: Callable[..., None],
    job: tuple[Any, ...],
    config: TrialConfig,
    run_config: dict[str, Any],
    tell: Callable[[Row], None],
) -> None:
    """Run `work(*job, tell, team)` in each worker of a trial. Rows that rank 0 tells are passed to `tell` here.

    Raises:
        Exception: what a worker raised.
    """
    rows, answers = (Queue(actor_options={"num_cpus": 0}) for _ in range(2))
    on_gpu = config.device == "cuda"
    trainer = TorchTrainer(
        _train_as_member,
        train_loop_config={"work": work, "job": job, "queues": (rows, answers)},
        torch_config=TorchConfig(backend="nccl" if on_gpu else "gloo"),
        scaling_config=train.ScalingConfig(
            num_workers=config.workers,
            use_gpu=on_gpu,
            resources_per_worker={"CPU": config.threads, **({"GPU": 1} if on_gpu else {})},
        ),
        run_config=train.RunConfig(**run_config),
    )
    with ThreadPoolExecutor(max_workers=1) as executor:
        fitting = executor.submit(trainer.fit)
        try:
            while not fitting.done():
                try:
                    row_or_error = rows.get(timeout=_POLL_SECONDS)
                except Empty:
                    continue
                if isinstance(row_or_error, Exception):
                    raise row_or_error
                tell(row_or_error)
                answers.put(True)
        finally:
            if not fitting.done():
                answers.put(False)
        fitting.result()


def _train_as_member(loop_config: dict[str, Any]) -> None:
    """Run `work` in one worker. This is Ray Train's training loop."""
    import torch
    from torch import distributed

    context, (rows, answers) = train.get_context(), loop_config["queues"]
    team = Team(context.get_world_rank(), context.get_world_size())
    if get_device().type == "cuda":
        torch.cuda.set_device(get_device())

    def tell(row: Row) -> None:
        answer = [True]
        if team.rank == 0:
            rows.put(dict(row))
            answer = [answers.get()]
        distributed.broadcast_object_list(answer, device=get_device())
        if not answer[0]:
            raise Stopped

    try:
        loop_config["work"](*loop_config["job"], tell, team)
    except Stopped:
        pass
    except Exception as problem:
        rows.put(problem)
        raise
