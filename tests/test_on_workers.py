"""What is asked of the machines where trials run."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from study.arguments import parse
from study.design.load import load
from study.estimates.resources import local_gpus
from study.setup.prepare import prepare_study
from tests.tiny import PATIENCE, Prepare
from trainables.errors import InputError

# Twice the CPUs of this machine in all, so on one node there is room for a worker of a trial but not for the trial.
TEAM = """
from study.estimates.resources import Resources, local_cpus
from study.execution.cluster import on_workers, starting
from trainables.nets.arithmetic import computes_bfloat16

with starting(warm=False) as wait_for_ray:
    wait_for_ray()
    team = Resources(cpus=2 * local_cpus(), gpus=0, concurrent=1, workers=2)
    assert list(on_workers(computes_bfloat16, [("cpu",)] * 2, team)) == [computes_bfloat16("cpu")] * 2
"""


def test_workers_of_a_trial_may_be_on_several_nodes() -> None:
    done = subprocess.run(
        [sys.executable, "-c", TEAM], capture_output=True, text=True, env=os.environ.copy(), timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("there", [True, False])
def test_precision_is_that_of_where_trials_run(ready: Prepare, there: bool) -> None:
    before, resources = ready()
    chosen = parse([str(before.place.data.parent / "tiny.py"), "--data", str(before.place.data)])
    prepared = prepare_study(load(chosen.study), chosen, resources, before.out, lambda device: there)
    assert prepared.base.has_bfloat16 is there


def test_a_study_on_gpus_is_prepared_on_a_machine_that_has_none(ready: Prepare) -> None:
    before, resources = ready()
    chosen = parse([str(before.place.data.parent / "tiny.py"), "--data", str(before.place.data), "--dry-run"])
    on_gpus = replace(resources, gpus=1.0)
    prepared = prepare_study(load(chosen.study), chosen, on_gpus, before.out, lambda device: True)
    assert prepared.base.device == "cuda"
    assert not any(rates.measured for rates in prepared.inputs.rates.values()), "the estimate is from the table"


def test_a_gpu_whose_driver_is_too_old_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"^torch .* cannot use this machine's GPU.*CUDA_VISIBLE_DEVICES=.*$"):
        local_gpus()
