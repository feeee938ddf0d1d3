"""What is asked of the machines where trials run."""

import os
import subprocess
import sys

import pytest

from study.arguments import parse
from study.design.load import load
from study.setup.prepare import prepare_study
from tests.tiny import PATIENCE, Prepare

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
