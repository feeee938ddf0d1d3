"""What --dry-run prints."""

import math
import re
import tempfile
from pathlib import Path

import pytest

from study.estimates.costs import estimate, wall_seconds
from study.estimates.resolution import resolvable_effect
from study.persistence import ledger
from study.price import Price, money
from study.run import main
from study.setup import prepare as setup
from study.setup.data_lines import class_line, layout_lines, split_line
from study.setup.dry_run import describe
from tests.conftest import contents
from tests.tiny import STUDY_FILE, Prepare, make_pictures, write_study
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
        "budget: 16 search trials, at most 4 epochs, 2 refinement trials per level, 5 seeds",
        "factor    regularizer: none, dropout",
        "factor    augmentation: none, light",
        "nuisance  learning_rate: 0.001 to 0.1 on a log scale",
        "nuisance  dropout: 0.1 to 0.9  (only under regularizer=dropout)",
        "fixed     backbone: small_cnn",
        "30 images of 3 classes: 6 test, 6 common validation, 18 for training",
        "not in this estimate: refinement trials where a range widens or a better setting is found, and up to 15 seeds "
        "of settings in doubt",
        "4 different settings of the factors in 16 search trials, 4 of them audited (never stopped)",
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


@pytest.mark.parametrize(
    ("seeds", "line"),
    [
        (1, "With 1 seed nothing will be compared: a comparison takes 3 seeds, and a claim 5."),
        (2, "With 2 seeds nothing will be compared: a comparison takes 3 seeds, and a claim 5."),
        (3, "With 3 seeds nothing will be claimed: a claim takes 5 seeds."),
        (4, "With 4 seeds nothing will be claimed: a claim takes 5 seeds."),
        (5, ""),
    ],
)
def test_what_the_report_will_refuse_is_said_before(ready: Prepare, seeds: int, line: str) -> None:
    lines = describe(*ready("--seeds", seeds), Price(None)).splitlines()
    assert [text for text in lines if text.startswith("With ")] == ([line] if line else [])
    assert any("resolve differences" in text for text in lines) == (seeds >= 3)


def test_a_search_for_the_best_compares_nothing(ready: Prepare, tmp_path: Path) -> None:
    best = write_study(tmp_path, STUDY_FILE.replace("    budget=", '    goal="best",\n    budget='))
    lines = describe(*ready("--seeds", 5, study=best), Price(None)).splitlines()
    assert "budget: 16 search trials, at most 4 epochs, 5 seeds" in lines
    assert 'No levels will be compared: goal="best" looks for the best setting, not for a fair comparison.' in lines


def test_the_metric_that_selects_is_named(ready: Prepare, tmp_path: Path) -> None:
    images = "on the common validation images"
    assert f"selected by: the highest val_accuracy {images}; differences are in test accuracy" in described(ready)
    uneven = make_pictures(tmp_path / "uneven", 4, {"green": (90, 140, 100), "red": (150, 100, 90)})
    make_pictures(uneven, 30, {"blue": (90, 100, 150)})
    why = "because class sizes differ; differences are in test accuracy"
    prepared, resources = ready("--data", uneven)
    lines = describe(prepared, resources, Price(None)).splitlines()
    assert f"selected by: the highest val_balanced_accuracy {images}, {why}" in lines
    loss = write_study(tmp_path, STUDY_FILE.replace("    budget=", '    metric="val_log_loss",\n    budget='))
    assert any("the lowest val_log_loss" in line for line in described(ready, study=loss))


def described(ready: Prepare, *flags: object, **kept: object) -> list[str]:
    return describe(*ready(*flags, **kept), Price(None)).splitlines()


def test_a_small_test_fold_is_told_what_test_folds_would_resolve(ready: Prepare) -> None:
    (line,) = [line for line in described(ready) if line.startswith("small test fold")]
    fold, all_images = (f"{100 * resolvable_effect(*counts):.1f}" for counts in ((6, 3), (30, 15)))
    assert f"{fold} points are more than 5 times the margin of 1.0. --test-folds 5 tests on all 30 images" in line
    assert f"resolves about {all_images} points and takes about " in line
    for flags in (["--test-folds", 5], ["--seeds", 2]):
        assert not [line for line in described(ready, *flags) if line.startswith("small test fold")]


def test_a_test_fold_that_resolves_five_margins_is_not_small(ready: Prepare, tmp_path: Path) -> None:
    exactly = resolvable_effect(6, 3) / 5
    for margin, said in ((exactly * 0.999, 1), (exactly * 1.001, 0)):
        study = write_study(tmp_path, STUDY_FILE.replace("    control=", f"    margin={margin},\n    control="))
        assert sum(line.startswith("small test fold") for line in described(ready, study=study)) == said


def test_test_folds_of_the_flag_are_the_studys(ready: Prepare) -> None:
    assert ready("--test-folds", 3)[0].study.budget.test_folds == 3
    assert "5 rounds of 3 models and 30 test images" in "\n".join(described(ready, "--test-folds", 3, "--seeds", 5))


def test_money_stands_beside_time(ready: Prepare) -> None:
    prepared, resources = ready("--seeds", 5)
    costs = estimate(prepared.study, prepared.inputs)
    text = describe(prepared, resources, Price(3600 * 1000, nodes=2))  # 2,000 for a second on two nodes
    search = 2000 * costs[0].seconds / resources.concurrent
    assert re.search(rf"^search .* about .* \({re.escape(money(search))}\)$", text, re.MULTILINE)
    total = 2000 * wall_seconds(costs, resources.concurrent)
    assert re.search(rf"^about .* \({re.escape(money(total))}\) in total", text, re.MULTILINE)
    assert "costs are for 2 nodes at 3,600,000.00 per node and hour" in text
    assert [money(amount) for amount in (0, 0.0123, 0.5, 1234.5)] == ["0.00", "0.012", "0.50", "1,234.50"]


def test_what_is_left_of_a_study_is_read_from_its_ledger(
    begun: Path, shared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shared_flags = [shared / "tiny.py", "--data", shared / "pictures", "--cache", shared / "cache", "--out", begun]
    for trial in ledger.read_plan(begun)[:4]:
        ledger.write_setting(begun, trial, {"metric": "val_accuracy"})
        ledger.write_end(begun, trial.trial, "completed")
    before = contents(begun)
    flags = [*shared_flags, "--dry-run", "--resume", "--seeds", 5, "--price", 2]
    assert main(list(map(str, flags))) == 0
    text = capsys.readouterr().out
    assert text.startswith("Does a tiny study run?\n")
    assert "the study has run for 0 s (0.00)" in text
    assert re.search(r"^search +4 trials finished, +12 left, about ", text, re.MULTILINE)
    assert re.search(r"^confirm +0 trials finished, +15 left, about ", text, re.MULTILINE)  # as --seeds 5 extends it
    assert re.search(r"^test +0 models finished, +15 left, about ", text, re.MULTILINE)
    assert "costs are for 1 node at 2.00 per node and hour" in text
    assert contents(begun) == before
    assert main([*map(str, flags), "--epochs", "3"]) == 2  # as a resume refuses it
    assert "with --epochs 4, but got 3" in capsys.readouterr().err
