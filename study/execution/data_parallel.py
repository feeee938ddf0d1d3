"""A trial that several workers train together: Ray Train inside a Tune trial.

The trial's own process trains nothing. It hands each row of the first worker to Tune, and Tune's answer back: the
workers wait for it, so no epoch is begun that a verdict forbids.
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

_SECONDS_BETWEEN_LOOKS = 0.5


class Stopped(BaseException):
    """The trial is to stop; nothing went wrong."""


def train_data_parallel(
    work: Callable[..., None],
    job: tuple[Any, ...],
    config: TrialConfig,
    run_config: dict[str, Any],
    tell: Callable[[Row], None],
) -> None:
    """Run `work(*job, tell, team)` in each worker of a trial, and `tell` here what the first one tells there."""
    rows, answers = (Queue(actor_options={"num_cpus": 0}) for _ in range(2))
    on_gpu = config.device == "cuda"
    trainer = TorchTrainer(
        _member,
        train_loop_config={"work": work, "job": job, "queues": (rows, answers)},
        torch_config=TorchConfig(backend="nccl" if on_gpu else "gloo"),
        scaling_config=train.ScalingConfig(
            num_workers=config.workers,
            use_gpu=on_gpu,
            resources_per_worker={"CPU": config.threads, **({"GPU": 1} if on_gpu else {})},
        ),
        run_config=train.RunConfig(**run_config),
    )
    with ThreadPoolExecutor(max_workers=1) as beside:
        fitting = beside.submit(trainer.fit)
        try:
            while not fitting.done():
                try:
                    said = rows.get(timeout=_SECONDS_BETWEEN_LOOKS)
                except Empty:
                    continue
                if isinstance(said, Exception):
                    raise said
                tell(said)
                answers.put(True)
        finally:
            if not fitting.done():
                answers.put(False)
        fitting.result()


def _member(given: dict[str, Any]) -> None:
    """What each worker runs."""
    import torch
    from torch import distributed

    context, (rows, answers) = train.get_context(), given["queues"]
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
        given["work"](*given["job"], tell, team)
    except Stopped:
        pass
    except Exception as problem:
        rows.put(problem)
        raise
