"""Bad input: exit status 2, one line that names the value and the way out, nothing written, no Ray."""

import hashlib
import importlib.util
import re
import socket
from pathlib import Path

import pytest
from PIL import Image

from study.run import main
from tests.tiny import STUDY_FILE, Fails, make_pictures, write_study
from trainables.data.sources import stanford_dogs


def test_a_good_line_is_accepted(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(shared / "tiny.py"), "--data", str(shared / "pictures"), "--dry-run"]) == 0
    assert capsys.readouterr().err == ""


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
    fails("images.tar must have the MD5 1bb1f2a5.*download it again", "--weights", "none", study="dogs", data=data)
    monkeypatch.setitem(stanford_dogs.MD5, "images.tar", hashlib.md5(b"no archive").hexdigest())
    fails("images.tar cannot be unpacked.*download it again", "--weights", "none", study="dogs", data=data)
    (data / "images.tar").unlink()
    fails("must have Images/ or images.tar.*--download", "--weights", "none", study="dogs", data=data)


def test_what_cannot_be_downloaded(fails: Fails) -> None:
    fails("--download does not support .*: download it yourself and put it into .*", "--download")


def test_an_out_that_is_taken(fails: Fails, begun: Path, tmp_path: Path) -> None:
    fails("already holds a study: continue it with --resume", out=begun)
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
    fails(r"--cpus-per-trial must be at most the \d+ available CPUs, but got 4096", "--cpus-per-trial", 4096)
    fails(r"--gpus-per-trial must be at most the \d+ available GPUs, but got 64: use 0", "--gpus-per-trial", 64)


def test_a_cache_that_is_too_small_for_the_images(fails: Fails) -> None:
    fails("need .* GiB, but the cache is limited to 1e-06 GiB: allow more with --cache-gib", "--cache-gib", 1e-6)


def test_hours_and_what_they_fit(fails: Fails) -> None:
    fails("--hours chooses the trials, epochs and seeds: leave", "--hours", 1, "--trials", 8)


def test_a_published_configuration_is_not_refined(fails: Fails) -> None:
    pattern = "--published runs .* as it is: leave --trials, --refine, --test-folds and --hours out"
    fails(pattern, "--published", "--refine", 1)
    fails(pattern, "--published", "--test-folds", 5)


def test_a_price_is_a_number(fails: Fails) -> None:
    for wrong in ("cheap", "-1", "nan", "inf", "2,5"):
        fails(f"--price: must be a number of at least 0, but got '{wrong}'", f"--price={wrong}")


def test_what_test_folds_do_not_go_with(fails: Fails, tmp_path: Path) -> None:
    for wrong in ("1", "2.5", "five"):
        fails(f"--test-folds: must be a whole number of at least 2, but got '{wrong}'", "--test-folds", wrong)
    fails("31 test folds need at least as many different images, but got 30", "--test-folds", 31)
    fails("every image is tested once, but got --test", "--test-folds", 3, "--test", tmp_path)
    for part in ('goal="best"', "retrain=True"):
        study = write_study(tmp_path, STUDY_FILE.replace("    budget=", f"    {part},\n    budget="))
        fails('goal="best" and `retrain` are not supported', "--test-folds", 3, study=study)


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
