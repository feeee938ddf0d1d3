"""The winner in use: the predictions, the images and the files that `python -m study.predict` makes."""

import errno
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from study.predict import in_table, main
from study.products.best import Best, load_best, logits, prepared, probabilities, views
from study.writing import printable
from tests.finished import TRIAL, Finished
from tests.tiny import PATIENCE
from trainables.data.images import decode
from trainables.data.trial_data import open_trial_data
from trainables.errors import InputError
from trainables.learning.checkpoints import load_tensors
from trainables.trial import predict


@pytest.fixture(scope="module")
def best(finished: Finished) -> Best:
    return load_best(finished.out)


def test_the_files_give_the_logits_of_the_studys_own_test(finished: Finished, best: Best) -> None:
    kept = finished.manifest.set_index("item")
    items = open_trial_data(finished.config, finished.place).test
    trained = load_tensors(finished.out / "models" / f"{TRIAL}.safetensors")
    expected = predict(finished.config, finished.place, trained, items)
    files = [finished.pictures / kept.loc[item, "path"] for item in items]
    pictures = [prepared(best, decode(file.read_bytes()).pixels) for file in files]
    assert max(min(picture.shape[:2]) for picture in pictures) == finished.config.stored_side  # they were larger
    found = logits(best, views(best, pictures))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    recorded = pd.read_parquet(finished.out / "predictions.parquet").query("fold == 'test'").set_index("item")
    np.testing.assert_array_equal(found.argmax(axis=1), recorded.loc[items, "predicted"])


def test_confidences_are_scaled_by_what_fits_the_validation_fold(finished: Finished, best: Best) -> None:
    fitted = json.loads((finished.out / "best" / "temperature.json").read_text())
    assert fitted["pictures"] == 9
    assert fitted["cross_entropy_scaled"] <= fitted["cross_entropy"]
    assert best.temperature == fitted["temperature"]
    scores = np.array([[0.0, best.temperature * np.log(3.0)]])
    np.testing.assert_allclose(probabilities(best, scores), [[0.25, 0.75]])


def test_every_image_gets_its_classes(finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "new"
    shutil.copytree(finished.pictures / "red", folder / "deep")
    shutil.copy(finished.pictures / "blue" / "00.png", folder / "one.png")
    assert main([str(finished.out), str(folder), "--top", "2", "--csv", str(tmp_path / "said.csv")]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert len(shown.out.splitlines()) == 16
    assert re.search(r"one\.png: (blue|green|red) \d+\.\d%, (blue|green|red) \d+\.\d%", shown.out)
    said = pd.read_csv(tmp_path / "said.csv")
    assert list(said.columns) == ["file", "rank", "label", "confidence"]
    assert said["rank"].tolist() == [1, 2] * 16
    assert said["file"].nunique() == 16
    first, second = (said[said["rank"] == rank]["confidence"].to_numpy() for rank in (1, 2))
    assert (first >= second).all()
    assert (first + second <= 1).all()


def test_files_that_are_no_images_are_named_one_a_line(
    finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(finished.pictures / "red" / "00.png", tmp_path / "good.png")
    (tmp_path / "Thumbs.db").write_bytes(b"\0\1")
    (tmp_path / "\x1b[2Jbad.png").write_bytes(b"")
    assert main([str(finished.out), str(tmp_path)]) == 0
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 1
    assert len(shown.err.splitlines()) == 2
    assert "\\x1b[2Jbad.png: empty file" in shown.err
    assert "\x1b" not in shown.err
    (tmp_path / "good.png").unlink()
    assert main([str(finished.out), str(tmp_path)]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("None of the 2 files")


def test_names_are_safe_on_a_terminal() -> None:
    assert printable("a\x1b]0;b\u202ec\udc80\n") == "a\\x1b]0;b\\u202ec\\udc80\\n"
    assert printable("Bär 犬") == "Bär 犬"


def test_what_speaks_for_the_first_class_is_drawn(finished: Finished, tmp_path: Path) -> None:
    Image.new("RGB", (90, 60), "red").save(tmp_path / "a.png")
    (tmp_path / "deep").mkdir()
    Image.new("RGB", (60, 90), "blue").save(tmp_path / "deep" / "a.png")
    assert main([str(finished.out), str(tmp_path), "--explain", str(tmp_path / "drawn")]) == 0
    sides = {file.name: Image.open(file).size for file in (tmp_path / "drawn").iterdir()}
    stored = finished.config.stored_side
    assert sides == {"a.png": (stored * 3 // 2, stored), "a-2.png": (stored, stored * 3 // 2)}
    assert main([str(finished.out), str(tmp_path / "a.png"), "--explain"]) == 0
    assert (finished.out / "explained" / "a.png").exists()


def path_of(cell: str) -> bytes:
    """What `file` of the table says, as any program may read it."""
    return re.sub(rb"\\x([0-9a-f]{2})", lambda found: bytes([int(found[1], 16)]), cell.encode())


ODD = [
    "caf\udce9.png",
    "caf\\xe9.png",
    "a,b.png",
    'a"b.png',
    "a\nb.png",
    "a\rb.png",
    "a b.png",
    "=1+1.png",
    "犬\x1b\x9b.png",
]


def test_every_name_has_a_row_that_can_be_turned_back(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    for name in ODD:
        shutil.copy(finished.pictures / "blue" / "00.png", folder / name)
    monkeypatch.chdir(folder)  # so that each name also begins a cell
    table = tmp_path / "said.csv"
    for named in ([str(folder)], ODD):
        assert (
            main([str(finished.out), *named, "--csv", str(table), "--top", "1", "--explain", str(tmp_path / "e")]) == 0
        )
        cells = pd.read_csv(table)["file"]
        given = [f"{folder}/{name}" for name in ODD] if named != ODD else ODD
        assert sorted(map(path_of, cells)) == sorted(map(os.fsencode, given))
        assert not any(cell.startswith(("=", "+", "-", "@")) for cell in cells)
    assert {file.stem for file in (tmp_path / "e").iterdir()} == {name.removesuffix(".png") for name in ODD}


@given(st.binary(min_size=1).filter(lambda name: b"\0" not in name))
def test_any_name_can_be_turned_back(name: bytes) -> None:
    cell = in_table(Path(os.fsdecode(b"x" + name)))
    assert path_of(cell) == os.fsencode(Path(os.fsdecode(b"x" + name)))
    cell.encode()


def test_heat_maps_that_cannot_be_drawn_cost_no_table(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    folder, table = finished.pictures / "red", tmp_path / "said.csv"
    assert main([str(finished.out), str(folder), "--csv", str(table), "--explain", str(tmp_path / "e")]) == 2
    assert "--explain" in capsys.readouterr().err
    assert pd.read_csv(table)["file"].nunique() == 15


def test_two_images_never_share_a_heat_map(finished: Finished, tmp_path: Path) -> None:
    names = ["b/a.png", "a-2.png", "a.png", "x" * 250 + ".png"]
    for name in names:
        (tmp_path / "new" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(finished.pictures / "blue" / "00.png", tmp_path / "new" / name)
    given = [str(tmp_path / "new" / name) for name in names]
    assert main([str(finished.out), *given, "--explain", str(tmp_path / "drawn")]) == 0
    assert len(list((tmp_path / "drawn").iterdir())) == 4


def test_what_is_read_no_further_is_written_all_the_same(finished: Finished, tmp_path: Path) -> None:
    table = tmp_path / "said.csv"
    words = [sys.executable, "-m", "study.predict", str(finished.out), str(finished.pictures), "--csv", str(table)]
    line = f"{shlex.join(words)} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (0, "")
    assert pd.read_csv(table)["file"].nunique() == 45


@pytest.mark.parametrize(
    ("pattern", "arguments"),
    [
        ("cannot be written", ["OUT", "PICTURES", "--explain", "PICTURE/below"]),
        ("required: PICTURE", ["OUT"]),
        ("neither", ["OUT", "gone.jpg"]),
        ("is empty", ["OUT", "EMPTY"]),
        ("at least 1", ["OUT", "PICTURES", "--top", "0"]),
        ("must be a .csv", ["OUT", "PICTURES", "--csv", "table.txt"]),
        ("must be a .csv", ["OUT", "PICTURES", "--csv", "gone/table.csv"]),
        ("needs --sample", ["OUT", "PICTURES", "--submission", "s.csv"]),
        ("sample_submission.csv, but got", ["OUT", "PICTURES", "--submission", "s.csv", "--sample", "gone.csv"]),
        ("has no best/", ["PICTURES", "PICTURES"]),
        ("see python -m study.predict --help", ["OUT", "PICTURES", "--tops", "3"]),
        ("must be a folder", ["OUT", "PICTURES", "--explain", "PICTURE"]),
    ],
)
def test_bad_input_is_one_line(
    finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str], pattern: str, arguments: list[str]
) -> None:
    (tmp_path / "empty").mkdir()
    places = {"OUT": finished.out, "PICTURES": finished.pictures, "EMPTY": tmp_path / "empty"}
    places["PICTURE"] = finished.pictures / "red" / "00.png"
    given = [str(places.get(first := each.partition("/")[0], first)) + each[len(first) :] for each in arguments]
    assert main(given) == 2
    shown = capsys.readouterr()
    assert re.search(pattern, shown.err), shown.err
    assert shown.err.count("\n") == 1


@pytest.mark.parametrize("broken", ["model.safetensors", "labels.json", "preprocessing.json", "config.json"])
def test_a_winner_that_is_not_whole_is_refused(finished: Finished, tmp_path: Path, broken: str) -> None:
    shutil.copytree(finished.out / "best", tmp_path / "best")
    (tmp_path / "best" / broken).write_text("{")
    with pytest.raises(InputError, match="--resume"):
        load_best(tmp_path)


def test_prediction_needs_no_ray(finished: Finished) -> None:
    arguments = [str(finished.out), str(finished.pictures / "red" / "00.png")]
    code = (
        f"import sys\nfrom study.predict import main\nassert main({arguments!r}) == 0\nassert 'ray' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=PATIENCE)
