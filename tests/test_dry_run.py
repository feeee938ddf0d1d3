"""What --dry-run prints."""

import math
import re
import tempfile
from pathlib import Path

import pytest

from study.estimates.resolution import resolvable_effect
from study.run import main
from study.setup import prepare as setup
from study.setup.data_lines import class_line, layout_lines, split_line
from tests.tiny import STUDY_FILE, make_pictures, write_study
from tests.trees import encoded, pixels, put, table
from trainables.data.manifest import Source


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pictures(tmp_path_factory.mktemp("dry") / "pictures", 10)


def printed(capsys: pytest.CaptureFixture[str], study: Path, pictures: Path, *flags: object) -> str:
    assert main([str(study), "--data", str(pictures), "--dry-run", *map(str, flags)]) == 0
    return capsys.readouterr().out


def test_resolvable_effect_by_hand() -> None:
    # Variance 0.1 / 1000 + 2 * 0.005^2 / 5 = 1.1e-4; times the two normal quantiles 1.960 + 0.842.
    assert resolvable_effect(1000, 5) == pytest.approx(2.802 * math.sqrt(1.1e-4))
    assert resolvable_effect(10**12, 2) == pytest.approx(2.802 * 0.005)  # seeds remain
    assert resolvable_effect(1000, 10**12) == pytest.approx(2.802 * 0.01)  # images remain


def test_everything_that_is_planned(capsys: pytest.CaptureFixture[str], tmp_path: Path, pictures: Path) -> None:
    text = printed(capsys, write_study(tmp_path), pictures, "--seeds", 5, "--concurrent", 1)
    lines = text.splitlines()
    assert lines[0] == "Does a tiny study run?"
    for line in [
        "factor    regularizer: none, dropout",
        "factor    augmentation: none, light",
        "nuisance  learning_rate: 0.001 to 0.1 on a log scale",
        "nuisance  dropout: 0.1 to 0.9  (only under regularizer=dropout)",
        "fixed     backbone: small_cnn",
        "30 images of 3 classes: 6 test, 6 common validation, 18 for training",
        "4 different settings of the factors in 16 search trials, 8 of them audited (never stopped)",
    ]:
        assert line in lines
    assert re.search(r"^search +16 trials, +\d+ epochs, about ", text, re.MULTILINE)
    assert re.search(r"^refine +6 trials, +24 epochs, about ", text, re.MULTILINE)
    assert re.search(r"^confirm +15 trials, +60 epochs, about ", text, re.MULTILINE)
    assert re.search(r"^test +15 models, +0 epochs, about ", text, re.MULTILINE)
    effect = f"{100 * resolvable_effect(6, 5):.1f}"
    assert f"5 seeds and 6 test images resolve differences of about {effect} points" in text
    assert "in total with 1 trials at once on cpu, estimated" in text


def test_conditional_factors_splits_and_what_was_dropped(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pictures = make_pictures(tmp_path / "pictures", 20)
    (pictures / "red" / "broken.png").write_bytes(b"")
    text = STUDY_FILE.replace('"augmentation": ["none", "light"]', '"split": ["60-20-20", "40-40-20"]')
    text = text.replace(', "split": "60-20-20"', "")
    shown = printed(capsys, write_study(tmp_path, text), pictures)
    assert "60 images of 3 classes: 12 test, 12 common validation, 36 for training" in shown
    assert "training images by split: 60-20-20: 36, 40-40-20: 24; the official split is ignored" in shown
    assert "dropped: 1 file, empty file" in shown


def test_what_is_asked_is_said_before_the_images_are_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["cars", "--data", str(tmp_path / "none"), "--weights", "none", "--dry-run"]) == 2
    shown = capsys.readouterr()
    assert shown.out.count("\npublished ") == 9
    line = "published 1.3 ResNet-50, fine-tuned, augmented, dropout: accuracy 0.7378, weighted f1 0.7363"
    assert f"{line}, weighted precision 0.7818, log loss 0.9012 on test" in shown.out
    assert "unfreeze: head, last stage, all  (only under backbone=resnet50 or densenet121)" in shown.out
    assert len(shown.err.splitlines()) == 1


def test_goal_best_has_no_refinement(capsys: pytest.CaptureFixture[str], tmp_path: Path, pictures: Path) -> None:
    best = write_study(tmp_path, STUDY_FILE.replace("    budget=", '    goal="best",\n    budget='))
    shown = printed(capsys, best, pictures)
    assert re.search(r"^refine +0 trials", shown, re.MULTILINE)
    assert re.search(r"^confirm +9 trials", shown, re.MULTILINE)


def test_what_was_found_in_the_data_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pictures = make_pictures(tmp_path / "pictures" / "Training", 8)
    for name in ("blue", "green", "red"):
        put(tmp_path / "pictures" / "Testing" / name / "0.png", encoded(pixels(len(name))))
    (pictures / "red" / "broken.png").symlink_to("nowhere.png")
    (pictures / "yellow").mkdir()
    (tmp_path / "pictures" / "notes.csv").write_text("date,weather\n")
    lines = printed(capsys, write_study(tmp_path), tmp_path / "pictures").splitlines()
    start = next(number for number, line in enumerate(lines) if "images of 3 classes" in line)
    assert lines[start : start + 7] == [
        "27 images of 3 classes: 3 test, 6 common validation, 18 for training",
        "read as: one folder per class within each fold: Training/ (train), Testing/ (test)",
        "left out: 'Training/yellow/': class folders without images",
        "left out: 'notes.csv', its columns are date, weather (no known name of an image column)",
        "classes: 'blue' 9, 'green' 9, 'red' 9",
        "folds: the data's own (train 24, test 3); validation is drawn",
        "dropped: 1 file, broken link",
    ]


def test_of_many_classes_some_are_named() -> None:
    manifest = table({f"class {number:02}": [1] * (number + 1) for number in range(50)})
    assert class_line(manifest) == (
        "classes: 'class 00' 1, 'class 01' 2, 'class 02' 3, 'class 03' 4, 'class 04' 5, 'class 05' 6, 'class 06' 7, "
        "'class 07' 8, 'class 08' 9, 'class 09' 10 ... 'class 47' 48, 'class 48' 49, 'class 49' 50; "
        "from 1 to 50 images each"
    )
    assert split_line(manifest, official=True) == "folds: drawn, because the data has none"
    official = table({"a": [1, 1, 1], "b": [1, 1, 1]}, {0: "test", 1: "val", 3: "test", 4: "val"})
    assert split_line(official, official=True) == "folds: the data's own (val 2, test 2)"
    assert split_line(official, official=False) == "folds: drawn; the data's own (val 2, test 2) are not used"


def test_a_name_cannot_command_a_terminal() -> None:
    source = Source([], layout="x", notes=["left out: \x1b[31m\u202e'a\nb'", *map(str, range(30))])
    shown = layout_lines(source)
    assert shown[:2] == ["read as: x", r"left out: \x1b[31m\u202e'a\nb'"]
    assert (len(shown), shown[-1]) == (22, "and 11 more lines like these")


@pytest.mark.parametrize("there", [False, True])
def test_images_that_come_along_are_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], there: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(setup, "measured", lambda scale, *_: scale)
    (tmp_path / "tmp").mkdir()
    if there:
        (tmp_path / "data" / "digits").mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    budget = ["--trials", "4", "--epochs", "1", "--seeds", "1", "--weights", "none"]
    assert main(["digits", "--dry-run", "--cache", str(tmp_path / "cache"), *budget]) == 0
    assert "1797 images of 10 classes" in capsys.readouterr().out
    assert [path for path in sorted(tmp_path.rglob("*")) if path.relative_to(tmp_path).parts[0] != "cache"] == before
