"""The CPUs and GPUs of a trial: from flags, from the machine, and on a cluster that may grow."""

import pytest

from study.arguments import parse
from study.estimates.resources import Resources, plan_resources
from tests.tiny import Prepare
from trainables.errors import InputError


def test_resources_of_a_trial(ready: Prepare) -> None:
    prepared, resources = ready("--cpus-per-trial", 2)
    assert (prepared.base.threads, resources) == (2, Resources(cpus=2, gpus=0, concurrent=4))
    assert ready("--concurrent", 3)[1] == Resources(cpus=1, gpus=0, concurrent=3)
    assert ready("--concurrent", 99)[1].concurrent == 8
    assert ready("--gpus-per-trial", 0)[0].base.device == "cpu"


def test_workers_of_a_trial_share_what_it_has(ready: Prepare) -> None:
    prepared, resources = ready("--workers-per-trial", 2, "--cpus-per-trial", 4)
    assert (prepared.base.workers, prepared.base.threads) == (2, 2)
    assert resources == Resources(cpus=4, gpus=0, concurrent=2, workers=2)
    assert plan_resources(None, None, None, 16.0, 4.0, 2) == Resources(cpus=8, gpus=2.0, concurrent=2, workers=2)
    for cpus, gpus in ((3, 0.0), (4, 1.0), (4, 0.5)):
        with pytest.raises(
            InputError, match=r"The 2 workers of a trial must have equally many CPUs.*--workers-per-trial"
        ):
            plan_resources(cpus, gpus, None, 16.0, 4.0, 2)


@pytest.mark.parametrize(
    ("share", "gpus", "at_once"),
    [("0.2", 1, 5), ("0.1", 1, 10), ("0.3", 2, 6), ("1", 3, 3), ("2", 5, 2), ("0.34", 1, 2)],
)
def test_gpus_are_shared_by_as_many_trials_as_fit(share: str, gpus: int, at_once: int) -> None:
    chosen = parse(["dogs", "--gpus-per-trial", share, "--cpus-per-trial", "1"])
    resources = plan_resources(chosen.cpus_per_trial, chosen.gpus_per_trial, None, 64.0, float(gpus))
    assert resources == Resources(cpus=1, gpus=float(share), concurrent=at_once)


def test_gpus_are_used_where_there_are_any() -> None:
    assert plan_resources(None, None, None, 16.0, 2.0) == Resources(cpus=8, gpus=1.0, concurrent=2)
    assert plan_resources(None, 0.25, None, 16.0, 1.0) == Resources(cpus=4, gpus=0.25, concurrent=4)
    assert plan_resources(None, 0.25, 2, 16.0, 1.0) == Resources(cpus=8, gpus=0.25, concurrent=2)
    assert plan_resources(None, 0.1, None, 4.0, 1.0) == Resources(cpus=1, gpus=0.1, concurrent=4)
    assert plan_resources(None, 0.0, None, 16.0, 2.0) == Resources(cpus=1, gpus=0.0, concurrent=16)
    with pytest.raises(InputError, match=r"fraction of one GPU or a whole number, but got 1\.5"):
        plan_resources(None, 1.5, None, 16.0, 2.0)


def test_a_cluster_may_grow_to_what_is_asked_for() -> None:
    """cluster.yaml starts with no worker at all, and a study is what makes Ray start some."""
    assert plan_resources(None, 1.0, 8, 0.0, 0.0, is_cluster=True) == Resources(cpus=4, gpus=1.0, concurrent=8)
    assert plan_resources(None, None, None, 12.0, 1.0, is_cluster=True) == Resources(cpus=4, gpus=1.0, concurrent=1)
    assert plan_resources(2, None, 3, 0.0, 0.0, is_cluster=True) == Resources(cpus=2, gpus=0.0, concurrent=3)
    assert plan_resources(None, None, None, 2.0, 0.0, is_cluster=True) == Resources(cpus=1, gpus=0.0, concurrent=2)
    with pytest.raises(InputError, match="no CPU for a trial yet"):
        plan_resources(None, None, None, 0.0, 0.0, is_cluster=True)
    with pytest.raises(InputError, match="must be a fraction"):
        plan_resources(None, 1.5, 8, 0.0, 0.0, is_cluster=True)
