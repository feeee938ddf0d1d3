"""`python -m study.train`: the setting of a finished study, trained again on its images and on others."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from study.predict import main as predict
from study.products.best import load_best
from study.results import EPOCHS_FILE, PREDICTIONS_FILE
from study.setup import again
from study.train import main
from tests.conftest import contents
from tests.finished import HEAD_ONLY, Finished, finish
from tests.test_architecture import loaded_by
from tests.tiny import make_pictures
from tests.whole import TIMING
from trainables.cache_layout import FROZEN

TWO = {"dark": (95, 95, 95), "light": (145, 145, 145)}
pytestmark = pytest.mark.usefixtures("restored_threads")


def train(study: Finished, to: Path, *flags: object, expect: int = 0) -> Path:
    assert main([str(study.out), "--cache", str(study.cache), "--to", str(to), *map(str, flags)]) == expect
    return to


def altered(finished: Finished, folder: Path, study: dict[str, Any] | None = None, **config: Any) -> Path:
    """What the command reads of the study, with some values changed."""
    out = folder / "out"
    (out / "best").mkdir(parents=True)
    shipped = json.loads((finished.out / "best" / "trial.json").read_text())
    (out / "best" / "trial.json").write_text(json.dumps(shipped | {"config": shipped["config"] | config}))
    recorded = json.loads((finished.out / "study.json").read_text())
    (out / "study.json").write_text(json.dumps(recorded | (study or {})))
    return out


def rows(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / EPOCHS_FILE)


def accuracy(folder: Path, trial: str) -> float:
    predicted = pd.read_parquet(folder / PREDICTIONS_FILE).query("fold == 'test' and trial == @trial")
    return float((predicted["label"] == predicted["predicted"]).mean())


def test_a_seed_of_the_confirmation_gives_its_rows_and_its_model_again(
    finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = train(finished, tmp_path / "again")
    assert "a seed that confirmed this setting gives the same rows again" in capsys.readouterr().err
    expected = pd.DataFrame(finished.record.rows.values()).drop(columns=TIMING)
    mine = rows(trained)
    assert set(mine["trial"]) == {"seed-1"}
    pd.testing.assert_frame_equal(mine[expected.columns], expected, check_exact=True)
    model = Path("best", "model.safetensors")
    assert (trained / model).read_bytes() == (finished.out / model).read_bytes()
    before, now = (pd.read_parquet(folder / PREDICTIONS_FILE) for folder in (finished.out, trained))
    assert np.array_equal(np.stack(before["logits"].to_list()), np.stack(now["logits"].to_list()))


def test_so_does_one_whose_frozen_part_is_read_from_the_cache(tmp_path: Path) -> None:
    done = finish(tmp_path, HEAD_ONLY)
    cache = tmp_path / "another"
    expected = pd.DataFrame(done.record.rows.values()).drop(columns=TIMING)
    for name in ("computed", "read"):
        mine = rows(train(done, tmp_path / name, "--cache", cache))
        pd.testing.assert_frame_equal(mine[expected.columns], expected, check_exact=True)
        assert any((cache / FROZEN).iterdir())


def test_other_images_of_other_classes_with_several_seeds(
    finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = make_pictures(tmp_path / "pictures", colours=TWO)
    trained = train(finished, tmp_path / "a" / "new", "--data", data, "--seeds", 2, "--seed", 4, "--epochs", 2)
    said = capsys.readouterr()
    assert load_best(trained).names == ["dark", "light"]
    mine = rows(trained)
    assert mine[["trial", "epoch"]].to_numpy().tolist() == [[f"seed-{s}", e] for s in (4, 5) for e in (1, 2)]
    # Selected by the metric of the study; the first of equal epochs.
    best = mine.sort_values("val_metric", ascending=False, kind="stable").drop_duplicates("trial")
    shipped = json.loads((trained / "best" / "trial.json").read_text())
    assert best["val_metric"].is_unique  # or this test would show nothing
    assert shipped["trial"] == best["trial"].iloc[0]
    assert (shipped["config"]["epochs"], shipped["config"]["learning_rate"]) == (2, finished.config.learning_rate)
    by_seed = best.set_index("trial")["val_accuracy"].astype(float)
    pairs = [(by_seed[seed], accuracy(trained, seed)) for seed in ("seed-4", "seed-5")]
    lines = [f"seed {4 + i}: validation {100 * val:.1f}% at epoch" for i, (val, _) in enumerate(pairs)]
    mean = [100 * sum(values) / 2 for values in zip(*pairs, strict=True)]
    assert all(line in said.out for line in lines)
    assert f"mean of 2 seeds: validation {mean[0]:.1f}%, test {mean[1]:.1f}%" in said.out
    assert "30 images of 2 classes: 6 test, 6 common validation, 18 for training" in said.err
    assert "these are the images of the study" not in said.err
    assert predict([str(trained), str(data / "dark" / "00.png")]) == 0
    assert f"python -m study.predict {trained}" in said.out
    assert sorted(path.name for path in trained.parent.iterdir()) == ["new"]  # no temporary folder is left


def test_other_images_may_have_any_layout_of_a_folder_study(finished: Finished, tmp_path: Path) -> None:
    data = make_pictures(tmp_path / "pictures", each=10, colours=TWO)
    files = sorted(path.relative_to(data) for path in data.rglob("*.png"))
    table = data / "labels.csv"
    table.write_text("\n".join(["path,label", *(f"{file},{'ab'[file.parent.name == 'light']}" for file in files)]))
    out = altered(finished, tmp_path, {"dataset": "digits"})  # whose own layout has 1,797 images
    assert main([str(out), "--cache", str(finished.cache), "--data", str(table), "--epochs", "1"]) == 0
    assert load_best(tmp_path / "out-trained").names == ["a", "b"]


def test_a_model_that_was_retrained_is_trained_as_its_seeds_were(finished: Finished, tmp_path: Path) -> None:
    out = altered(finished, tmp_path, trains_on="train+val", epochs=1)
    assert main([str(out), "--cache", str(finished.cache)]) == 0
    expected = pd.DataFrame(finished.record.rows.values()).drop(columns=TIMING)
    pd.testing.assert_frame_equal(rows(tmp_path / "out-trained")[expected.columns], expected, check_exact=True)


def test_without_its_gpu_a_setting_is_trained_on_the_cpu_and_says_so(
    finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(again, "local_gpus", lambda: 0)
    out = altered(finished, tmp_path, device="cuda", workers=2, batch_size=8)
    assert main([str(out), "--cache", str(finished.cache), "--epochs", "1"]) == 0
    said = capsys.readouterr().err
    assert "The study ran on a GPU, and this machine has none" in said
    assert "The study trained with 2 workers" in said
    assert "gives the same rows again" not in said
    shipped = json.loads((tmp_path / "out-trained" / "best" / "trial.json").read_text())["config"]
    assert (shipped["device"], shipped["workers"]) == ("cpu", 1)


def test_a_seed_that_diverges_is_left_out_and_without_any_nothing_is_written(
    finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from study import training
    from trainables.trial import Diverged, run_trial

    def sometimes(config, place):
        if config.seed in failing:
            raise Diverged("The loss is not finite after epoch 1 at learning rate 1.")
        yield from run_trial(config, place)

    monkeypatch.setattr(training, "run_trial", sometimes)
    failing = {1}
    trained = train(finished, tmp_path / "one", "--seeds", 2, "--epochs", 1)
    assert set(rows(trained)["trial"]) == {"seed-2"}
    assert "seed 1: failed. The loss is not finite" in capsys.readouterr().err
    failing = {1, 2}
    train(finished, tmp_path / "none", "--seeds", 2, expect=1)
    assert not (tmp_path / "none").exists()


def without(name: str) -> Callable[[Path], object]:
    return lambda out: (out / name).rename(out.parent / "moved")


def damaged(out: Path) -> None:
    (out / "best" / "trial.json").write_text('{"trial": "confirm-0001", "config": {"epochs": 3}}')


@pytest.mark.parametrize(
    ("change", "flags", "says"),
    [
        (None, ["--data", "missing"], "missing does not exist: give --data"),
        (None, ["--data", "empty"], "empty is empty: give --data"),
        (None, ["--data", "s3://bucket/images"], "--data: must be a local folder"),
        (None, ["--data", "pictures/red"], "one subfolder with images per class"),
        (None, ["--to", "pictures"], "--to must be a new folder, but 'pictures' exists"),
        (None, ["--seeds", "0"], "at least 1"),
        (None, ["--seed", "-1"], "at least 0"),
        (None, ["--epochs", "x"], "whole number"),
        (None, ["--epoch", "3"], "Did you mean '--epochs'"),
        (None, ["--weights", "missing"], "--weights must be a folder of weight files"),
        (without("study.json"), [], "has no study.json"),
        (without("best"), [], "has no best/: let it finish, with --resume"),
        (without("best/trial.json"), [], "trial.json' cannot be read"),
        (damaged, [], "OUT must be a finished study.*KeyError"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    change: Callable[[Path], object] | None,
    flags: list[str],
    says: str,
    finished: Finished,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = altered(finished, tmp_path)
    (tmp_path / "pictures").symlink_to(finished.pictures)
    (tmp_path / "empty").mkdir()
    if change is not None:
        change(out)
    monkeypatch.chdir(tmp_path)
    before = contents(tmp_path)
    assert main(["out", "--cache", "cache", *flags]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert re.search(says, said), said
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"size": -3}, "OUT must be a finished study.*`size >= 1` must hold, but got -3"),
        ({"epochs": "three"}, "OUT must be a finished study.*TypeError"),
        ({"backbone": "nope"}, "Unknown backbone 'nope'"),
        (
            {"backbone": "tf_efficientnet_lite0", "weights": "pretrained", "weights_hash": "1a7e"},
            "weights of tf_efficientnet_lite0 have changed since the study",
        ),
        ({"loss": "binary_cross_entropy"}, "needs two classes, but there are 3"),
        ({"region": "box"}, "needs images with boxes"),
    ],
)
def test_a_setting_that_cannot_be_trained_here_is_one_line(
    config: dict[str, Any], says: str, finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = altered(finished, tmp_path, **config)
    before = contents(tmp_path)
    assert main([str(out), "--cache", str(tmp_path / "cache")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert re.search(says, said), said
    assert contents(tmp_path) == before


def test_arguments_are_checked_without_torch(tmp_path: Path) -> None:
    code = "from study.train import main\nassert [main(['none']), main(['none', '--seeds', '0'])] == [2, 2]"
    assert loaded_by(code, tmp_path) == set()
