"""The gates in front of a study: what is asked of which net, what study.json keeps, and what a failure leaves."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from study.execution.machines import run_here
from study.setup import preflight as wiring
from study.setup.preflight import nets_of, preflight
from study.setup.study_json import begin_study
from tests.tiny import STUDY_FILE, Prepare, run, write_study
from tests.trees import class_folders
from trainables.errors import InputError
from trainables.preflight import Findings
from trainables.screening.gates import Gate


def not_run(*_: Any) -> Iterator[Any]:
    raise AssertionError("nothing was to run")


def test_every_backbone_with_every_start_is_asked_once(ready: Prepare, tmp_path: Path) -> None:
    text = STUDY_FILE.replace('"regularizer": ["none", "dropout"]', '"weights": ["pretrained", "none"]')
    text = text.replace('| regularizers.strength_of("dropout")', "").replace(", regularizers", "")
    text = text.replace('"augmentation": [', '"size": [32, 48], "unfreeze": ["head", "all"], "augmentation": [')
    text = text.replace('"unfreeze": "all", "size": 16', '"stub": 0').replace('"stub": 0, ', "")
    study = write_study(tmp_path, text.replace('"small_cnn"', '"tf_efficientnet_lite0"'))
    prepared, _ = ready(study=study)
    nets = nets_of(prepared.study, prepared.base)
    assert [net.name for net in nets] == ["tf_efficientnet_lite0 none", "tf_efficientnet_lite0"]
    assert [net.config.weights for net in nets] == ["none", "pretrained"]
    assert {net.config.size for net in nets} == {48}
    assert {net.depths for net in nets} == {("all", "head")}
    alone, _ = ready("--weights", "none", "--trials", 1, study=study)
    assert [net.name for net in nets_of(alone.study, alone.base)] == ["tf_efficientnet_lite0"]


def test_a_study_keeps_what_its_gates_found(ready: Prepare, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepared, resources = ready("--cache", tmp_path / "cache")
    found = preflight(prepared, resources, run_here, skip=False)
    assert isinstance(found, dict)
    assert list(found) == ["small_cnn"]
    assert set(found["small_cnn"]) == {"probe_accuracy", "chance", "pictures", "gates"}
    assert all(gate["passed"] for gate in found["small_cnn"]["gates"])
    accuracy = f"{found['small_cnn']['probe_accuracy']:.0%}"
    assert capsys.readouterr().err == f"preflight small_cnn: ok, linear probe {accuracy}, most frequent class 33%\n"
    assert not (tmp_path / "out").exists()
    assert list((tmp_path / "cache").glob("*.pixels"))  # decoded for the trials, too
    begin_study(prepared, resources, "python -m study.run", None, found)
    assert json.loads((tmp_path / "out" / "study.json").read_text())["preflight"] == found


def test_skipping_is_recorded(ready: Prepare, tmp_path: Path) -> None:
    prepared, resources = ready()
    begin_study(prepared, resources, "python -m study.run", None, preflight(prepared, resources, not_run, skip=True))
    assert json.loads((tmp_path / "out" / "study.json").read_text())["preflight"] == "skipped"


def test_a_gate_that_fails_is_one_line_with_the_way_out(ready: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate("first loss", False, "the loss before training must be ln 3 = 1.0986, but is 7.0000")
    monkeypatch.setattr(wiring, "examine", lambda *_: Findings((Gate("other", True, ""), gate), 0.5, 0.3, 9))
    with pytest.raises(InputError) as failure:
        preflight(*ready(), run_here, skip=False)
    assert str(failure.value) == (
        "Preflight of small_cnn, first loss: the loss before training must be ln 3 = 1.0986, but is 7.0000; "
        "fix that, or skip the checks with --skip-preflight."
    )


def test_a_trial_that_needs_more_than_its_part_of_a_gpu_is_refused_with_the_part_that_it_needs(
    ready: Prepare, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(wiring, "examine", lambda *_: Findings((), 0.5, 0.3, 9, gpu_share=0.313))
    prepared, resources = ready()
    with pytest.raises(InputError) as failure:
        preflight(prepared, replace(resources, gpus=0.25), run_here, skip=False)
    assert str(failure.value) == (
        "A trial of small_cnn needs 31% of a GPU, but --gpus-per-trial 0.25 gives it 25%: pass 0.32 or more, or "
        "declare a smaller batch_size or micro_batch."
    )
    preflight(prepared, replace(resources, gpus=0.5), run_here, skip=False)
    assert capsys.readouterr().err.endswith("a trial needs 31% of a GPU's memory\n")


@pytest.mark.parametrize("problem", [MemoryError("of 3 GiB\nhere"), RuntimeError("of 3 GiB")])
def test_gates_that_cannot_be_tried_are_one_line(
    ready: Prepare, monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    def break_off(*_: Any) -> None:
        raise problem

    monkeypatch.setattr(wiring, "examine", break_off)
    kind = type(problem).__name__
    line = rf"^Preflight of small_cnn must finish, .*\({kind}: of 3 GiB\); fix that, .*--skip-preflight.$"
    with pytest.raises(InputError, match=line):
        preflight(*ready(), run_here, skip=False)


def test_bad_input_of_a_worker_is_said_as_it_is(ready: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise InputError("Image 'a' changed.")

    monkeypatch.setattr(wiring, "examine", refuse)
    with pytest.raises(InputError, match=r"^Image 'a' changed.$"):
        preflight(*ready(), run_here, skip=False)


# -- on a real Ray

BEASTS = """
from search_spaces import optimizers
from study.spec import Budget, Study

STUDY = Study(
    dataset="folder",
    question="Do weights of random numbers know a beagle?",
    factors={"unfreeze": ["head", "last stage"]},
    nuisances=optimizers.adaptive(1e-3, 1e-1),
    fixed={"backbone": "test_resnet", "size": 80, "batch_size": 8},
    budget=Budget(trials=2, epochs=1, refine=1, seeds=1),
)
"""


def test_a_failing_gate_stops_the_study_before_anything_is_written(tmp_path: Path) -> None:
    class_folders(tmp_path / "pictures", {"beagle": 20, "tabby": 20})
    (tmp_path / "weights").mkdir()
    torch.manual_seed(3)
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "weights" / "test_resnet.safetensors")
    study = write_study(tmp_path, BEASTS)
    flags = [study, "--data", tmp_path / "pictures", "--weights", tmp_path / "weights", "--cache", tmp_path / "cache"]
    done = run(*flags, "--out", tmp_path / "out", expect=2)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("Preflight of test_resnet, zero-shot identity: pretrained weights must recognize images of ")
    assert last.endswith("skip the checks with --skip-preflight.")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_study_that_passes_its_gates_runs_and_a_resume_asks_no_more(shared: Path, tmp_path: Path) -> None:
    flags = [shared / "tiny.py", "--data", shared / "pictures", "--cache", tmp_path / "cache", "--out", tmp_path / "o"]
    small = ["--trials", 2, "--seeds", 1]
    done = run(*flags, *small, "--epochs", 1)
    assert done.stderr.count("preflight small_cnn: ok, linear probe ") == 1
    before = json.loads((tmp_path / "o" / "study.json").read_text())["preflight"]
    assert 0 <= before["small_cnn"]["probe_accuracy"] <= 1
    done = run(*flags, "--resume", "--trials", 3)
    assert "preflight" not in done.stderr
    assert json.loads((tmp_path / "o" / "study.json").read_text())["preflight"] == before
