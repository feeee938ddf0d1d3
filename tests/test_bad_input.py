"""Bad input: exit status 2, one line that names the value and the way out, nothing written, no Ray."""

import hashlib
import importlib.util
import os
import re
import socket
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from study.arguments import parse
from study.design.load import load
from study.estimates.resources import Resources
from study.execution import machines
from study.run import main
from study.setup.prepare import prepare_study
from study.setup.study_json import begin_study
from tests.tiny import STUDY_FILE, make_pictures, write_study
from trainables.data.sources import stanford_dogs

Fails = Callable[..., None]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    make_pictures(folder / "pictures", 5)
    write_study(folder)
    return folder


@pytest.fixture(scope="module")
def begun(shared: Path) -> Path:
    """A study that was interrupted before its first trial."""
    out = shared / "begun"
    chosen = parse([str(shared / "tiny.py"), "--data", str(shared / "pictures"), "--cache", str(shared / "cache")])
    resources = Resources(cpus=1, gpus=0, concurrent=1)
    begin_study(prepare_study(load(chosen.study), chosen, resources, out), resources, "python -m study.run", None)
    return out


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in sorted(folder.rglob("*"))}


@pytest.fixture
def fails(shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Fails:
    """Runs the tiny study with other arguments, and checks how it fails: its line must match the pattern."""

    def no_ray(*_: Any) -> None:
        raise AssertionError("something was to run")

    monkeypatch.setattr(machines, "joined", no_ray)
    monkeypatch.setattr(machines, "starting", lambda warm: nullcontext(no_ray))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)  # as on most machines, whatever this one's settings

    def check(pattern: str, *flags: object, study: object = None, **places: Path) -> None:
        given = {"data": shared / "pictures", "out": tmp_path / "out", "cache": tmp_path / "cache"} | places
        arguments = [str(study or shared / "tiny.py")]
        arguments += [text for name, path in given.items() for text in (f"--{name}", str(path))]
        before = contents(tmp_path), contents(shared)
        assert main([*arguments, *map(str, flags)]) == 2
        shown = capsys.readouterr()
        assert re.search(pattern, shown.err), shown.err
        assert shown.err.count("\n") == 1
        assert "Traceback" not in shown.err
        assert shown.out == ""
        assert (contents(tmp_path), contents(shared)) == before

    return check


def test_a_good_line_is_accepted(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(shared / "tiny.py"), "--data", str(shared / "pictures"), "--dry-run"]) == 0
    assert capsys.readouterr().err == ""


def test_unknown_studies(fails: Fails) -> None:
    fails("No study named 'dgos'.*digits, .*dogs, folder.*Did you mean 'dogs'", study="dgos")
    fails("No study named '../study/run'", study="../study/run")
    fails("No study file 'nowhere/mine.py'.*--new NAME", study="nowhere/mine.py")


def test_no_study_at_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "pattern"),
    [
        (["--trails", "3"], "--trails 3.*--help. Did you mean '--trials'"),
        (["--trial", "3"], "--trial 3"),  # no abbreviations
        (["--trials"], "--trials: expected one argument"),
        (["extra"], "extra"),
        *[
            ([f"--{name}", value], f"--{name}: must be .* but got '{re.escape(value)}'")
            for name in ("trials", "epochs", "seeds", "cpus-per-trial", "concurrent")
            for value in ("0", "-1", "1.5", "many", "", "9" * 400)
        ],
        *[
            ([f"--{name}", value], f"--{name}: must be .* but got '{value}'")
            for name in ("hours", "cache-gib")
            for value in ("0", "-1", "nan", "inf", "many")
        ],
        (["--gpus-per-trial", "-0.5"], "--gpus-per-trial: must be .* at least 0, but got '-0.5'"),
        (["--seed", "-1"], "--seed: must be .* at least 0, but got '-1'"),
    ],
)
def test_flags_that_make_no_sense(fails: Fails, flags: list[str], pattern: str) -> None:
    fails(pattern, *flags)


@pytest.mark.parametrize(
    ("old", "new", "pattern"),
    [
        ("STUDY =", "OTHER =", "must define STUDY = "),
        ("from study.spec", "import sys; sys.exit(0)\nfrom study.spec", "SystemExit"),
        ('dataset="folder"', 'dataset="foo"', "Unknown dataset 'foo'; known: digits, folder"),
        ('"none", "dropout"', '"none", "dropuot"', "Unknown regularizer 'dropuot'; known: none, dropout"),
        ('"none", "dropout"', '"none"', "at least two different levels"),
        ('"augmentation":', '"augmentatoin":', "Unknown factor 'augmentatoin'; known: .*augmentation"),
        ('"size": 16, ', "", "must say the images' `size`"),
        ('"size": 16', '"size": "big"', "`size` must be a whole number above 0, but got 'big'"),
        ('"batch_size": 8', '"batch_size": 0', "`batch_size` must be a whole number above 0, but got 0"),
        ('"backbone": "small_cnn"', '"backbone": 5', "`backbone` must be a text, but got 5"),
        ('"backbone": "small_cnn", ', "", "must name its `backbone`"),
        ('"backbone": "small_cnn"', '"backbone": "small_cmm"', "Unknown backbone 'small_cmm'"),
        ('"unfreeze": "all"', '"unfreeze": "al"', "Unknown unfreeze depth 'al'"),
        ('"unfreeze": "all"', '"unfreeze": "last 99 stages"', "'last 99 stages'"),
        ('"split": "60-20-20"', '"split": "60-20"', "'60-20'"),
        ('"split": "60-20-20"', '"learning_rate": 0.1', "'learning_rate' is two of them"),
        ("seeds=3", "seeds=0", "--seeds must be a whole number of at least 1, but got 0"),
        ("    budget=", '    goal="bst",\n    budget=', "Unknown goal 'bst'; known: factors, best"),
        ('strength_of("dropout")', 'strength_of("dropout", "l2")', "regularizer=l2"),
        ("adaptive(1e-3, 1e-1)", "adaptive(1e-1, 1e-3)", "`low < high` must hold"),
        ("STUDY =", "1 / 0\nSTUDY =", r"tiny\.py, line 9: cannot be read as a study \(ZeroDivisionError"),
        ("Study(\n", "Study((\n", r"tiny\.py, line \d+: .*SyntaxError"),
        ("optimizers.adaptive", "optimizers.adaptve", "AttributeError: .*'adaptve'.*Did you mean 'adaptive'"),
        ("budget=Budget", "budget=Budgt", "NameError: name 'Budgt'.*Did you mean 'Budget'"),
        ("factors=", "factor=", "argument 'factor'; known: .*Did you mean 'factors'"),
        ("trials=16", "trial=16", "argument 'trial'; known: .*Did you mean 'trials'"),
        ('"folder"', '"foldr"', "Unknown dataset 'foldr'; known: .*Did you mean 'folder'"),
        ('"none", "light"', '"none", "ligth"', "Unknown augmentation 'ligth'; known: .*Did you mean 'light'"),
        ('"small_cnn"', '"ResNet19"', r"Unknown backbone 'ResNet19': use .*Did you mean 'resnet1\d"),
        ('"small_cnn"', '"vit_tiny_patch16_224"', "accepts only images of 224 px, but `size` is 16"),
        (
            '"augmentation": ["none", "light"]',
            '"augmentation": "light"',
            "must be a list of its levels, but got 'light'",
        ),
        ("optimizers.adaptive(1e-3, 1e-1)", '{"learning_rate": 0.1}', "must be a Range, but 'learning_rate' is 0.1"),
        ("control=False", 'control="no"', "`control` must be True or False, but got 'no'"),
        ("trials=16", "trials=True", "--trials must be a whole number of at least 1, but got True"),
        ('"size": 16', '"size": 0', "`size` must be a whole number above 0, but got 0"),
        (
            '"size": 16',
            '"size": 16, "label_smoothing": 1.5',
            "`label_smoothing` must be at least 0 and below 1, but got 1.5",
        ),
        ('"size": 16', '"size": 16, "optimizer": "sgd", "momentum": 2', "`momentum` must be at least 0 and below 1"),
        ('"size": 16', '"size": 16, "layer_decay": 0', "`0 < layer_decay <= 1` must hold, but got 0"),
        ('"size": 16', '"size": 16, "clip_norm": -1', "`clip_norm > 0` must hold, but got -1"),
        ('"size": 16', '"size": 16, "ema_decay": 1', "`ema_decay` must be at least 0 and below 1, but got 1"),
        (
            '"size": 16',
            '"size": 16, "weight_decay": float("inf")',
            "`weight_decay` must be a finite number, but got inf",
        ),
        ('"size": 16', '"size": 16, "patience": 4', "patience 4 ends no trial of 4 epochs"),
        (
            '"size": 16',
            '"size": 16, "region": "box"',
            "'box' needs images with boxes, but these have none: leave it out",
        ),
        ('"60-20-20"', '"50-50"', "A split is train-val-test in percent.*but got '50-50'"),
        ("adaptive(1e-3, 1e-1)", "adaptive(-1e-3, 1e-1)", "`low > 0` must hold on a log scale"),
        (
            "optimizers.adaptive(1e-3, 1e-1)",
            '{"label_smoothing": regularizers.Range(low=0.0, high=1.5)}',
            "Nuisance 'label_smoothing', from 0 to 1.5: `label_smoothing` must be",
        ),
    ],
)
def test_study_files_that_make_no_sense(fails: Fails, tmp_path: Path, old: str, new: str, pattern: str) -> None:
    assert old in STUDY_FILE
    fails(pattern, study=write_study(tmp_path, STUDY_FILE.replace(old, new, 1)))


def test_folders_without_the_images_of_a_study(fails: Fails, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    fails("empty has none.*subfolders", data=tmp_path / "empty")
    fails("nowhere does not exist: give --data", data=tmp_path / "nowhere")
    make_pictures(tmp_path / "few", 2)
    fails("Class 'blue' needs at least 3 different images.*has 2.*add images", data=tmp_path / "few")
    make_pictures(tmp_path / "one", 5)
    for name in ("green", "red"):
        for file in (tmp_path / "one" / name).iterdir():
            file.unlink()
        (tmp_path / "one" / name).rmdir()
    fails("At least two classes are needed, but got only 'blue'", data=tmp_path / "one")
    (tmp_path / "text" / "a").mkdir(parents=True)
    (tmp_path / "text" / "a" / "x.jpg").write_text("no image")
    fails("None of the 1 files can be decoded", data=tmp_path / "text")


def test_test_images_that_do_not_fit(fails: Fails, tmp_path: Path) -> None:
    fails("nowhere is not a folder: correct the path", "--test", tmp_path / "nowhere")
    (tmp_path / "other" / "yellow").mkdir(parents=True)
    Image.new("RGB", (20, 20)).save(tmp_path / "other" / "yellow" / "1.png")
    fails("'yellow'.*has none", "--test", tmp_path / "other")


def test_archives_that_are_not_the_published_ones(
    fails: Fails, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "dogs"
    data.mkdir()
    (data / "images.tar").write_bytes(b"no archive")
    fails("images.tar must have the MD5 1bb1f2a5.*get it again", "--weights", "none", study="dogs", data=data)
    monkeypatch.setitem(stanford_dogs.MD5, "images.tar", hashlib.md5(b"no archive").hexdigest())
    fails("images.tar cannot be unpacked.*get it again", "--weights", "none", study="dogs", data=data)
    (data / "images.tar").unlink()
    fails("must have Images/ or images.tar.*--download", "--weights", "none", study="dogs", data=data)


def test_what_cannot_be_downloaded(fails: Fails) -> None:
    fails("--download does not support .*: download it yourself and put it into .*", "--download")


def test_an_out_that_is_taken(fails: Fails, begun: Path, tmp_path: Path) -> None:
    fails("already holds a study: go on with it by --resume", out=begun)
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "letter.txt").write_text("mine")
    fails("is in use: it holds other files", out=tmp_path / "used")
    fails("is in use: it holds other files", "--resume", out=tmp_path / "used")
    fails("must be a folder, but .* is a file", out=tmp_path / "used" / "letter.txt")


def test_places_that_cannot_be(fails: Fails, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    fails("--cache .*file cannot be written", cache=tmp_path / "file")
    fails("--weights must be a folder .* but got .*nowhere", "--weights", tmp_path / "nowhere")


def test_addresses_where_nobody_answers(fails: Fails, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    fails(f"No Ray cluster answers at 127.0.0.1:{port}.*leave it out", "--address", f"127.0.0.1:{port}")
    for wrong in ("nonsense", "ray://127.0.0.1:10001", "host:99999", "host:port", ":6379", "host:\u00b2"):
        fails(f"--address must be auto or host:port .* but got '{wrong}'", "--address", wrong)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    fails("--address auto needs a Ray cluster on this machine", "--address", "auto")


def test_resources_that_are_not_there(fails: Fails) -> None:
    fails(r"--cpus-per-trial must be at most the \d+ CPUs there are, but got 4096", "--cpus-per-trial", 4096)
    fails(r"--gpus-per-trial must be at most the \d+ GPUs .* but got 64: use 0", "--gpus-per-trial", 64)


def test_a_cache_that_is_too_small_for_the_images(fails: Fails) -> None:
    fails("need .* GiB, but the cache is limited to 1e-06 GiB: allow more with --cache-gib", "--cache-gib", 1e-6)


def test_hours_and_what_they_fit(fails: Fails) -> None:
    fails("--hours chooses the trials, epochs and seeds: leave", "--hours", 1, "--trials", 8)


def test_too_few_hours(fails: Fails) -> None:
    fails("--hours 1e-06 is too little: .* needs about", "--hours", 0.000001)


def test_missing_weights(fails: Fails, tmp_path: Path) -> None:
    study = write_study(tmp_path, STUDY_FILE.replace('"small_cnn"', '"resnet18"'))
    (tmp_path / "weights").mkdir()
    fails("No pretrained weights for backbone 'resnet18'.*--weights none", study=study)
    fails("resnet18.*looked in .*weights .*resnet18.safetensors", "--weights", tmp_path / "weights", study=study)


def test_digits_without_the_weights_extra(fails: Fails, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if "lite0" in name else find_spec(name, *rest)
    )
    fails("tf_efficientnet_lite0.*extra 'weights', not installed", study="digits", data=tmp_path / "digits")


@pytest.mark.parametrize(
    ("flags", "pattern"),
    [
        (["--epochs", "5"], "with --epochs 4, but got 5: leave it out"),
        (["--seed", "1"], "with --seed 0, but got 1"),
        (["--hours", "1"], "with --hours None, but got 1"),
        (["--weights", "none"], "with --weights pretrained, but got none"),
        (["--cpus-per-trial", "2"], "with --cpus-per-trial 1, but got 2|CPUs there are"),
        (["--test", "elsewhere"], "with --test None, but got .*elsewhere"),
        (["--trials", "15"], "--trials can only grow: the study has 16, but got 15"),
        (["--seeds", "2"], "--seeds can only grow: the study has 3, but got 2"),
    ],
)
def test_a_resume_with_other_flags(fails: Fails, begun: Path, flags: list[str], pattern: str) -> None:
    fails(pattern, "--resume", *flags, out=begun)


def test_a_resume_of_another_study(fails: Fails, begun: Path, tmp_path: Path) -> None:
    for old, new, part in [
        ("Does a", "Will a", "question of 'tiny'.*was Does a tiny study run. and is Will a tiny study run."),
        (
            '"none", "light"',
            '"none", "light", "medium"',
            "factor 'augmentation' of 'tiny'.*was none, light and is none, light, medium",
        ),
        ("1e-3, 1e-1", "1e-3, 1e-2", r"nuisance 'learning_rate' of 'tiny'.*was {.high.: 0.1} and is {.high.: 0.01}"),
        ('"size": 16', '"size": 24', "fixed 'size' of 'tiny'.*was 16 and is 24"),
        ('"size": 16', '"size": 16, "views": 3', "fixed 'views' of 'tiny'.*was not there and is 3"),
        ("refine=2", "refine=3", "budget's 'refine' of 'tiny'.*was 2 and is 3"),
        ("trials=16", "trials=17", "budget's 'trials' of 'tiny'.*was 16 and is 17"),
        (
            "    budget=",
            '    metric="val_macro_f1",\n    budget=',
            "metric of 'tiny'.*val_accuracy and is val_macro_f1",
        ),
        ("control=False", "control=True", "control of 'tiny'.*was false and is true"),
        (
            'factors={"regularizer": ["none", "dropout"], "augmentation": ["none", "light"]}',
            'factors={"augmentation": ["none", "light"], "regularizer": ["none", "dropout"]}',
            "order of factors of 'tiny'.*was regularizer, augmentation and is augmentation, regularizer",
        ),
    ]:
        assert old in STUDY_FILE
        study = write_study(tmp_path, STUDY_FILE.replace(old, new))
        fails(f"the {part}", "--resume", out=begun, study=study)


def test_a_resume_without_its_images_or_its_memory(fails: Fails, begun: Path, tmp_path: Path) -> None:
    make_pictures(tmp_path / "fewer", 4)
    fails("04.png is missing or has changed.*pass --data", "--resume", out=begun, data=tmp_path / "fewer")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "study.json").write_text('{"name": "x"}')
    fails(
        "study.json does not describe a study that can be resumed.*choose another --out",
        "--resume",
        out=tmp_path / "other",
    )


def test_new_studies_that_cannot_be_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "taken.py").write_text("")
    for name, target, pattern in [
        ("dgos", "mine.py", "No study named 'dgos' to copy"),
        ("digits", "taken.py", "exists already"),
        ("digits", "mine.txt", "named like my_study.py, but got 'mine.txt'"),
        ("digits", "my study.py", "named like my_study.py"),
        ("digits", "nowhere/mine.py", "is no folder: make it first"),
    ]:
        assert main(["--new", name, str(tmp_path / target)]) == 2
        assert re.search(pattern, capsys.readouterr().err)
    assert os.listdir(tmp_path) == ["taken.py"]
