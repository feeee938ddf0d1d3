"""Every flag there is, and what it does to a study; real clusters included."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from study.arguments import parse, parser
from study.budget import Budget
from study.design.load import load, names
from study.persistence.output_dir import check_out
from study.price import Price
from study.run import main
from study.setup import prepare as setup
from study.setup.dry_run import describe
from study.setup.preflight import nets_of, preflight
from tests.tiny import STUDY_FILE, Prepare, make_pictures, write_study
from trainables.data.datasets import DATASETS
from trainables.errors import InputError


def dry(capsys: pytest.CaptureFixture[str], *flags: object) -> str:
    assert main([*map(str, flags), "--dry-run"]) == 0
    return capsys.readouterr().out


def test_every_flag_of_the_parser_is_tested() -> None:
    files = ("test_arguments.py", "test_resume_flags.py", "test_address.py", "test_published.py", "test_trackers.py")
    files += ("test_completion.py", "test_terminal.py", "test_resources.py")
    text = "".join(Path(__file__).with_name(file).read_text() for file in files)
    known = {flag for action in parser()._actions for flag in action.option_strings if flag.startswith("--")}
    assert len(known) >= 29
    assert sorted(flag for flag in known - {"--help"} if f'"{flag}"' not in text) == []


def test_list_names_every_study_with_its_question(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == names()
    assert {"digits", "dogs", "folder"} <= set(names())
    assert all(line.endswith(load(line.split()[0]).study.question) for line in lines)


@pytest.mark.parametrize("name", names())
def test_new_copies_a_study_that_loads_and_says_its_own_command(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--new", name, str(tmp_path / "mine.py")]) == 0
    assert "mine.py" in capsys.readouterr().out
    mine = load(str(tmp_path / "mine.py"))
    assert mine.name == "mine"
    assert mine.study == load(name).study
    assert "study.run mine.py" in (tmp_path / "mine.py").read_text()
    assert f"study.run {name} " not in (tmp_path / "mine.py").read_text()


def test_places_default_to_the_studys_name(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_pictures(tmp_path / "data" / "tiny", 4)
    monkeypatch.chdir(tmp_path)
    assert "12 images of 3 classes" in dry(capsys, shared / "tiny.py")
    assert "30 images of 3 classes" in dry(capsys, shared / "tiny.py", "--data", shared / "pictures")
    (tmp_path / "runs" / "tiny").mkdir(parents=True)
    (tmp_path / "runs" / "tiny" / "study.json").write_text("{}")
    assert main([str(shared / "tiny.py")]) == 2
    assert "--out runs/tiny already holds a study" in capsys.readouterr().err


def test_dry_run_writes_nothing(shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(shared.rglob("*"))
    dry(capsys, shared / "tiny.py", "--data", shared / "pictures", "--out", tmp_path / "o", "--cache", tmp_path / "c")
    assert list(tmp_path.iterdir()) == []
    assert sorted(shared.rglob("*")) == before


def test_out_takes_relative_absolute_and_strange_paths(ready: Prepare, tmp_path: Path) -> None:
    for out in (Path("runs/x"), tmp_path / "out", tmp_path / "with space [ü]"):
        assert parse(["digits", "--out", str(out)]).out == out
        assert check_out(tmp_path / out, resume=False) is False
    prepared, _ = ready("--out", "ignored")
    assert prepared.place.manifest.is_absolute()


def test_flags_replace_the_studys_own_budget(ready: Prepare) -> None:
    assert ready()[0].study.budget == Budget(trials=16, epochs=4, refine=2, seeds=3)
    budget = ready("--trials", 7, "--epochs", 1, "--refine", 5, "--seeds", 9)[0].study.budget
    assert budget == Budget(trials=7, epochs=1, refine=5, seeds=9)
    assert ready("--most-seeds", 8)[0].study.budget == Budget(trials=16, epochs=4, refine=2, seeds=3, most_seeds=8)
    assert ready("--seeds", 5, "--most-seeds", 5)[0].study.budget.seeds_at_most == 5


def test_seeds_at_most_are_three_times_those_of_a_study_that_can_claim() -> None:
    budgets = [Budget(trials=1, epochs=1, **more) for more in ({}, {"seeds": 20}, {"seeds": 4}, {"most_seeds": 7})]
    assert [budget.seeds_at_most for budget in budgets] == [15, 60, 4, 7]
    in_folds = [Budget(trials=1, epochs=1, seeds=6, **folds) for folds in ({"folds": 3}, {"test_folds": 3})]
    assert [budget.seeds_at_most for budget in in_folds] == [6, 6]
    with pytest.raises(InputError, match="--most-seeds must be at least --seeds, but got 4 and 5"):
        Budget(trials=1, epochs=1, most_seeds=4)


def test_hours_fit_the_study(ready: Prepare) -> None:
    budget = ready("--hours", 1)[0].study.budget
    # More than four times its own trials are not run; five seeds, because nothing is claimed with its own three.
    assert (budget.trials, budget.epochs, budget.seeds) == (4 * 16, 4, 5)


def test_seed_changes_folds_and_plan(ready: Prepare) -> None:
    zero, one = ready()[0], ready("--seed", 1)[0]
    assert ready("--seed", 0)[0].base == zero.base
    assert (zero.base.study_seed, one.base.study_seed) == (0, 1)
    assert list(zero.manifest["fold"]) != list(one.manifest["fold"])
    assert zero.base.manifest == one.base.manifest  # the data is the same


def test_test_images_of_ones_own_are_the_test_fold(ready: Prepare, tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    for name in ("blue", "green", "red"):
        (tmp_path / "mine" / name).mkdir(parents=True)
        for i in range(2):
            pixels = random.integers(0, 255, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "mine" / name / f"{i}.png")
    manifest = ready("--test", tmp_path / "mine")[0].manifest
    test = manifest[manifest["fold"] == "test"]
    assert len(test) == 6
    assert all(path.startswith(str(tmp_path / "mine")) for path in test["path"])
    assert (ready()[0].manifest["fold"] == "test").sum() == 6  # without: a fifth of thirty


def test_weights_from_a_folder_or_none(ready: Prepare, tmp_path: Path) -> None:
    study = write_study(tmp_path, STUDY_FILE.replace('"small_cnn"', '"resnet18"'))
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "resnet18.safetensors").write_bytes(b"tensors")
    prepared, _ = ready("--weights", tmp_path / "weights", study=study)
    sha256 = "e4fca4aa3a1cdf8e7d8ee9ac1a1f4b1e"
    assert prepared.place.weights == tmp_path / "weights"
    assert prepared.base.weights == "pretrained"
    assert len(prepared.base.weights_hashes["resnet18"]) == 2 * len(sha256)
    none, _ = ready("--weights", "none", study=study)
    assert (none.place.weights, none.base.weights, none.base.weights_hashes) == (None, "none", {})


CONDITIONAL = """
from search_spaces import optimizers
from search_spaces.distributions import Conditional
from study.spec import Budget, Study

STUDY = Study(
    dataset="folder",
    question="Does a start from ImageNet help?",
    factors={
        "backbone": ["resnet18", "resnet34"],
        "weights": Conditional(levels=["pretrained", "none"], when={"backbone": "resnet18"}, otherwise="none"),
        "size": [32, 64],
    },
    nuisances=optimizers.adaptive(1e-3, 1e-1),
    fixed={"batch_size": 8, "split": "60-20-20"},
    budget=Budget(trials=1, epochs=4, refine=2, seeds=3),
)
"""


def test_weights_are_asked_for_where_some_trial_starts_from_them(ready: Prepare, tmp_path: Path) -> None:
    study = write_study(tmp_path, CONDITIONAL)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "resnet18.safetensors").write_bytes(b"tensors")
    prepared, _ = ready("--weights", tmp_path / "weights", study=study)
    assert list(prepared.base.weights_hashes) == ["resnet18"]
    nets = nets_of(prepared.study, prepared.base)  # of one trial there are three nets to come: its levels are refined
    assert [(net.name, net.config.weights, net.depths, net.config.size) for net in nets] == [
        ("resnet18 none", "none", ("all",), 64),
        ("resnet18", "pretrained", ("head",), 64),
        ("resnet34", "none", ("all",), 64),
    ]
    assert set(prepared.inputs.rates) == {"resnet18", "resnet34"}


def test_weights_none_is_what_is_fixed_then(ready: Prepare, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepared, _ = ready("--weights", "none", study=write_study(tmp_path, CONDITIONAL))
    assert prepared.study.fixed["weights"] == "none"
    assert list(prepared.study.factors) == ["backbone", "size"]
    assert {net.depths for net in nets_of(prepared.study, prepared.base)} == {("all",)}
    pretrained = STUDY_FILE.replace('"small_cnn", "unfreeze": "all"', '"resnet18", "weights": "pretrained"')
    prepared, _ = ready("--weights", "none", study=write_study(tmp_path, pretrained))
    assert {net.config.weights for net in nets_of(prepared.study, prepared.base)} == {"none"}
    assert capsys.readouterr().err == "Changed by the flags: weights none instead of pretrained.\n"


def test_fewer_epochs_say_what_they_leave_out(
    ready: Prepare, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = STUDY_FILE.replace('"size": 16', '"size": 16, "warmup_epochs": 2, "patience": 3')
    study = write_study(tmp_path, text)
    assert ready(study=study)[0].study.fixed["warmup_epochs"] == 2
    assert capsys.readouterr().err == ""
    assert ready("--epochs", 2, study=study)[0].study.fixed["warmup_epochs"] == 1
    assert capsys.readouterr().err.splitlines() == [
        "Changed by the flags: warmup_epochs 1 instead of 2.",
        "Changed by the flags: patience 3 stops no trial within 2 epochs.",
    ]
    factor = STUDY_FILE.replace('"augmentation": ["none", "light"]', '"frozen_epochs": [0, 3]')
    with pytest.raises(InputError, match="--epochs 3: `frozen_epochs` must be below the 3 epochs, but got 3"):
        ready("--epochs", 3, study=write_study(tmp_path, factor))


def test_workers_share_a_batch_before_anything_is_read(ready: Prepare, tmp_path: Path) -> None:
    study = write_study(tmp_path, STUDY_FILE.replace('"batch_size": 8', '"batch_size": 9'))
    with pytest.raises(InputError, match="`batch_size` must be a multiple of the 2 workers per trial, but got 9"):
        ready("--workers-per-trial", 2, "--cpus-per-trial", 2, "--data", tmp_path / "nowhere", study=study)


def test_download_asks_the_dataset_first(ready: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[Path] = []
    folder = DATASETS["folder"]
    monkeypatch.setitem(setup.DATASETS, "folder", replace(folder, download=fetched.append))
    prepared, _ = ready("--download")
    assert fetched == [prepared.place.data]
    ready()
    assert len(fetched) == 1


def test_no_sharing_stores_nothing(ready: Prepare) -> None:
    prepared, resources = ready("--trials", "8")
    assert prepared.place.stored == {("small_cnn", "all")}
    assert "\nstored: views of small_cnn, for 4 trials" in describe(prepared, resources, Price(None))
    prepared, resources = ready("--trials", "8", "--no-sharing")
    assert prepared.place.stored == frozenset()
    assert "\ncomputed: views of small_cnn, for 4 trials" in describe(prepared, resources, Price(None))
    assert ready("--trials", "8", "--cache-gib", "0.00005")[0].place.stored == frozenset()  # no room


def test_skip_preflight_leaves_out_the_gates(ready: Prepare) -> None:
    def no_gate(*_: Any) -> Iterator[Any]:
        raise AssertionError("a gate was to run")

    chosen = parse(["tiny.py", "--skip-preflight"])
    assert preflight(*ready("--skip-preflight"), no_gate, chosen.skip_preflight) == "skipped"
    with pytest.raises(AssertionError, match="a gate was to run"):
        preflight(*ready(), no_gate, parse(["tiny.py"]).skip_preflight)


def test_cache_and_its_bound(ready: Prepare, tmp_path: Path) -> None:
    place = ready("--cache", tmp_path / "c", "--cache-gib", "1.5")[0].place
    assert (place.cache, place.cache_gib) == (tmp_path / "c", 1.5)
    assert ready()[0].place.cache_gib is None
    assert ready()[0].place.cache.name == "study"
